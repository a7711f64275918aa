//! Where the words of a ring are (the table is in `ring/mod.rs`), and the header that says so. Called by both ends; decides
//! nothing about messages.

use ::core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{Memory, RingError};

/// `ST_RING1` in ASCII, first letter lowest.
const MAGIC: u64 = u64::from_le_bytes(*b"ST_RING1");
/// Version of the layout and of what its words mean.
const VERSION: u64 = 1;

const FORMAT: u64 = 8;
const SLOTS: u64 = 16;
/// What the producer has published.
pub(super) const TAIL: u64 = 128;
/// The head that the producer waits for.
pub(super) const WANTED_HEAD: u64 = 136;
/// What the consumer has given back.
pub(super) const HEAD: u64 = 256;
/// The tail that the consumer waits for.
pub(super) const WANTED_TAIL: u64 = 264;
const FIRST_SLOT: u64 = 512;

/// The slots, checked once: they lie in the memory, and there is a power of two of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    count: u64,
    message_bytes: u64,
}

impl Slots {
    /// Makes a ring that takes as much of the memory as a power of two of slots can; nothing is in it.
    pub(super) fn create<M: Memory, const WORDS: usize>(memory: &M) -> Result<Self, RingError> {
        let message_bytes = 8 * WORDS as u64;
        let room = memory.bytes().saturating_sub(FIRST_SLOT).checked_div(message_bytes);
        let count = 1 << room.and_then(u64::checked_ilog2).ok_or(RingError::TooSmall)?;
        for word in [0, TAIL, WANTED_HEAD, HEAD, WANTED_TAIL] {
            memory.store(word, 0, Relaxed)?;
        }
        memory.store(FORMAT, VERSION << 32 | WORDS as u64, Relaxed)?;
        memory.store(SLOTS, count, Relaxed)?;
        // Release: who finds the magic number finds the ring.
        memory.store(0, MAGIC, Release)?;
        Ok(Self { count, message_bytes })
    }

    /// Finds the ring that the far end has made. Its words are read once and believed only where they fit the memory.
    pub(super) fn attach<M: Memory, const WORDS: usize>(memory: &M) -> Result<Self, RingError> {
        let message_bytes = 8 * WORDS as u64;
        if memory.bytes() < FIRST_SLOT {
            return Err(RingError::TooSmall);
        }
        // Acquire: with the magic number everything that was written before it is there.
        match memory.load(0, Acquire)? {
            MAGIC => {}
            0 => return Err(RingError::NotMade),
            found => return Err(RingError::Corrupt { word: "magic", found }),
        }
        let format = memory.load(FORMAT, Relaxed)?;
        if format != VERSION << 32 | WORDS as u64 {
            return Err(RingError::Format { found: format });
        }
        let count = memory.load(SLOTS, Relaxed)?;
        let end = count.checked_mul(message_bytes).and_then(|bytes| bytes.checked_add(FIRST_SLOT));
        if !count.is_power_of_two() || end.is_none_or(|end| end > memory.bytes()) || WORDS == 0 {
            return Err(RingError::Corrupt { word: "slots", found: count });
        }
        Ok(Self { count, message_bytes })
    }

    pub(super) const fn count(self) -> u64 {
        self.count
    }

    /// Returns where message `number` is, and how many slots there are from there on without a gap.
    #[inline(always)]
    pub(super) const fn at(self, number: u64) -> (u64, u64) {
        let slot = number & (self.count - 1);
        (FIRST_SLOT + slot * self.message_bytes, self.count - slot)
    }
}

/// Returns whether a counter that went from `old` to `new` has reached `wanted` on the way.
///
/// A far end that lies about what it wants gets an event more or less, and nothing else.
#[inline(always)]
pub(super) const fn has_reached(old: u64, new: u64, wanted: u64) -> bool {
    new.wrapping_sub(wanted) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_number_is_reached_once_by_the_step_that_gets_there() {
        assert!(has_reached(4, 5, 5) && has_reached(4, 9, 5) && has_reached(4, 9, 9));
        assert!(!has_reached(4, 5, 4) && !has_reached(4, 9, 10) && !has_reached(5, 5, 5));
        assert!(has_reached(u64::MAX, 1, 0) && has_reached(u64::MAX, 1, 1) && !has_reached(u64::MAX, 1, u64::MAX));
    }
}
