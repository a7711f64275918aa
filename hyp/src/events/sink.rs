//! Sink: what the hypervisor keeps to itself about a vCPU's events, and the bounded update of words that a guest may hammer.

use strato_abi::event_area::EVENT_WORDS;

use crate::arch::attempt::{self, FlagPair};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Tries of an update of a guest's word before the private word is used instead: a sibling vCPU that hammers the word
/// can make each exclusive store fail (DDI 0487, load-exclusive/store-exclusive).
const TRIES: usize = 32;

/// What the hypervisor keeps to itself about a vCPU's events.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Sink {
    // The line, and whether something stands in `overflow` or the selector could not be set.
    flags: FlagPair,
    /// Whether it was kicked, and the selector could not be set.
    pub(super) kicked: AtomicBool,
    /// Pending bits that did not fit into the guest's words in time.
    pub(super) overflow: [AtomicU64; EVENT_WORDS],
}

impl Sink {
    /// Returns the line: an unmasked event came and was not acknowledged.
    #[inline(always)]
    #[must_use]
    pub const fn line(&self) -> &AtomicBool {
        &self.flags.first
    }

    /// Returns whether something stands in `overflow`, or the selector could not be set.
    #[inline(always)]
    pub(super) const fn overflowed(&self) -> &AtomicBool {
        &self.flags.second
    }

    /// Returns whether there is nothing for the vCPU to take.
    #[inline(always)]
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.flags.is_any_set()
    }

    /// Keeps a pending bit that did not fit into the guest's word in time.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&self, index: usize, bit: u64) {
        if let Some(word) = self.overflow.get(index) {
            word.fetch_or(bit, Ordering::Release);
            self.overflowed().store(true, Ordering::Release);
        }
    }
}

/// ORs `bits` into a word that a guest may hammer; returns whether it succeeded within [`TRIES`].
#[inline(always)]
pub(super) fn or_bounded(word: &AtomicU64, bits: u64) -> bool {
    // Release: what the sender did before is seen by whoever takes the bit.
    attempt::or(word, bits).is_some() || or_contended(word, bits)
}

#[cold]
#[inline(never)]
fn or_contended(word: &AtomicU64, bits: u64) -> bool {
    update(word, |now| Some(now | bits)).is_some()
}

/// Changes a word that a guest may hammer to what `change` makes of it. Returns what it held, or `None` when `change`
/// declined or [`TRIES`] were in vain.
#[inline(never)]
pub(super) fn update(word: &AtomicU64, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    let mut now = word.load(Ordering::Relaxed);
    for _ in 0..TRIES {
        match word.compare_exchange_weak(now, change(now)?, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(taken) => return Some(taken),
            Err(seen) => now = seen,
        }
    }
    None
}
