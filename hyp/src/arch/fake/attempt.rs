//! Attempts on a PC: the same by the language's own means.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// ORs `bits` into `word`. Returns what it held, or `None` when another write came between.
pub fn or(word: &AtomicU64, bits: u64) -> Option<u64> {
    let now = word.load(Ordering::Relaxed);
    word.compare_exchange_weak(now, now | bits, Ordering::Release, Ordering::Relaxed).ok()
}

/// Sets `flag`. Returns whether it was set.
pub fn set(flag: &AtomicBool) -> bool {
    flag.swap(true, Ordering::AcqRel)
}

/// Clears `flag`.
pub fn clear(flag: &AtomicBool) {
    flag.swap(false, Ordering::AcqRel);
}
