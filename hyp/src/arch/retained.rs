//! Retained: memory that keeps its contents over a warm reset, as words that whoever has them reads and writes. The layout keeps it from
//! everybody else; what stands there is `board::retained`'s and the console's business.
//!
//! A reset drops what the caches hold: what is to survive it is cleaned to the point of coherency (DDI 0487, DC CVAC).

use super::maintenance;
use crate::sync::{AtomicU64, Ordering};

/// Words of such memory. They are atomics, so that a panic may write while a core that it stopped is in the midst of it; relaxed
/// ones, as no order among them is relied on: what was torn is told by its checksum.
#[derive(Debug)]
pub struct Words(&'static [AtomicU64]);

impl Words {
    /// Returns `words`, which may hold anything.
    #[must_use]
    pub const fn of(words: &'static [AtomicU64]) -> Self {
        Self(words)
    }

    /// Returns the first `count` words and the rest, or `None` when there are fewer.
    #[must_use]
    pub fn split_at(self, count: usize) -> Option<(Self, Self)> {
        self.0.split_at_checked(count).map(|(first, rest)| (Self(first), Self(rest)))
    }

    /// Returns a word, 0 behind the last.
    #[must_use]
    pub fn get(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes `words` from word `first` on, or none where there are fewer; they survive a reset from the return on.
    #[inline]
    pub fn write(&self, first: usize, words: &[u64]) {
        let Some(places) = self.0.get(first..first.saturating_add(words.len())) else { return };
        for (place, word) in places.iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        maintenance::clean_to_poc(places.as_ptr().addr(), size_of_val(places));
    }
}
