//! Attempts on a PC: the same by the language's own means.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// ORs `bits` into `word`. Returns what it held, or `None` when another write came between.
pub fn or(word: &AtomicU64, bits: u64) -> Option<u64> {
    let now = word.load(Ordering::Relaxed);
    word.compare_exchange_weak(now, now | bits, Ordering::Release, Ordering::Relaxed).ok()
}

/// Takes all of `word`. Returns what it held, or `None` when another write came between.
pub fn take(word: &AtomicU64) -> Option<u64> {
    let now = word.load(Ordering::Relaxed);
    word.compare_exchange_weak(now, 0, Ordering::Acquire, Ordering::Relaxed).ok()
}

/// Returns words `AT` and the one behind it.
pub fn load_pair<const AT: usize, const N: usize>(words: &[AtomicU64; N]) -> (u64, u64) {
    let load = |at: usize| words.get(at).map_or(0, |word| word.load(Ordering::Relaxed));
    (load(AT), load(AT + 1))
}

/// Writes words `AT` and the one behind it.
pub fn store_pair<const AT: usize, const N: usize>(words: &[AtomicU64; N], (first, second): (u64, u64)) {
    for (word, value) in words.iter().skip(AT).zip([first, second]) {
        word.store(value, Ordering::Relaxed);
    }
}

/// Two flags that are looked at together.
#[derive(Debug, Default)]
pub struct FlagPair {
    /// The first.
    pub first: AtomicBool,
    /// The other one.
    pub second: AtomicBool,
}

impl FlagPair {
    /// Returns whether one of them is set.
    #[must_use]
    pub fn is_any_set(&self) -> bool {
        self.first.load(Ordering::Relaxed) || self.second.load(Ordering::Relaxed)
    }
}

/// Sets `flag`. Returns whether it was set.
pub fn set(flag: &AtomicBool) -> bool {
    flag.swap(true, Ordering::AcqRel)
}

/// Clears `flag`.
pub fn clear(flag: &AtomicBool) {
    flag.swap(false, Ordering::AcqRel);
}
