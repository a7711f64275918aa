//! Retained: what stands in memory that a warm reset leaves as it is. Owns its layout and the [`Record`]; the lines of the log behind it are the
//! console's. Called by boot.
//!
//! After power-on such memory holds anything, and a reset may come in the midst of a write. So nothing is believed without a checksum,
//! which begins with the build: another image's memory is no more than noise.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::arch::retained::Words;

/// Bytes of it altogether.
pub const BYTES: u64 = 0x1_0000;
/// "STRATO", and the version of this layout.
const MAGIC: u64 = 0x0001_4f54_4152_5453;
/// Words of the head, which has pages of its own, and of each copy of the record: one of checksum and generation, and the bytes.
const HEAD_WORDS: usize = 512;
const COPY_WORDS: usize = 512;
/// Most bytes of a value in a [`Record`].
pub const RECORD_BYTES: usize = (COPY_WORDS - 1) * 8;

/// What stands there.
#[derive(Debug)]
pub struct Retained {
    /// Whether it was written by this build before a reset; if not, it was begun anew.
    pub is_warm: bool,
    /// The value that survives.
    pub record: Record,
    /// All behind that: the log's.
    pub lines: Words,
}

impl Retained {
    /// Returns what stands in `words`, which may hold anything, for the image with this `build`; `None` when there are too few.
    #[must_use]
    pub fn open(words: Words, build: u64) -> Option<Self> {
        let (head, rest) = words.split_at(HEAD_WORDS)?;
        let (first, rest) = rest.split_at(COPY_WORDS)?;
        let (second, lines) = rest.split_at(COPY_WORDS)?;
        let expected = [MAGIC, build, u64::from(checksum(build, [MAGIC]))];
        let is_warm = expected.iter().enumerate().all(|(at, word)| head.get(at) == *word);
        let mut record = Record { copies: [first, second], build };
        if !is_warm {
            record.clear();
            head.write(0, &expected);
        }
        Some(Self { is_warm, record, lines })
    }
}

/// Returns a checksum of `words` that begins with `seed`. Two runs of words that differ in one of them never come to the same state.
#[inline(always)]
pub fn checksum(seed: u64, words: impl IntoIterator<Item = u64>) -> u32 {
    // The multiplier is odd: each step is a bijection. It is that of Fibonacci hashing (Knuth, volume 3, 6.4).
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let sum = words.into_iter().fold(step(0, seed), step);
    high(sum) ^ high(sum << 32)
}

fn high(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap_or_default() // always fits
}

/// One value of a type of the caller's choice, at most [`RECORD_BYTES`] long, that survives a warm reset. It stands there twice, so that a
/// reset in the midst of a write leaves the value before.
#[derive(Debug)]
pub struct Record {
    copies: [Words; 2],
    build: u64,
}

impl Record {
    /// Returns the value that was written last; `None` after power-on, when none was written, or when that was by another build or of another size.
    #[must_use]
    pub fn read<T: FromBytes + IntoBytes>(&self) -> Option<T> {
        let (at, _) = self.newest(size_of::<T>())?;
        let copy = self.copies.get(at)?;
        let mut value = T::new_zeroed();
        let words: [u64; COPY_WORDS] = core::array::from_fn(|at| copy.get(at));
        let bytes = words.as_bytes().get(8..8 + size_of::<T>())?;
        value.as_mut_bytes().copy_from_slice(bytes);
        Some(value)
    }

    /// Writes `value`, which survives from the return on; a reset before then leaves the one before.
    pub fn write<T: IntoBytes + Immutable>(&mut self, value: &T) {
        const { assert!(size_of::<T>() <= RECORD_BYTES) };
        let (newest, generation) = self.newest(size_of::<T>()).unwrap_or_default();
        let Some(copy) = self.copies.get(newest ^ 1) else { return };
        // Word by word: a panic, which may write too, has a stack of 4 KiB.
        for (at, bytes) in value.as_bytes().chunks(8).enumerate() {
            let mut word = 0_u64;
            word.as_mut_bytes().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            copy.write(at + 1, &[word]);
        }
        let generation = generation.wrapping_add(1);
        let check = self.check(copy, generation, size_of::<T>());
        copy.write(0, &[u64::from(check) << 32 | u64::from(generation)]);
    }

    /// Forgets the value.
    pub fn clear(&mut self) {
        for copy in &self.copies {
            copy.write(0, &[0]);
        }
    }

    /// Returns which copy of a value of `bytes` bytes is whole, the later one of two, and its generation.
    fn newest(&self, bytes: usize) -> Option<(usize, u32)> {
        let generation = |copy: &Words| {
            let generation = high(copy.get(0) << 32);
            let is_whole = copy.get(0) != 0 && high(copy.get(0)) == self.check(copy, generation, bytes);
            is_whole.then_some(generation)
        };
        let [first, second] = self.copies.each_ref().map(generation);
        match (first, second) {
            (Some(first), Some(second)) if second == first.wrapping_add(1) => Some((1, second)),
            (Some(first), _) => Some((0, first)),
            (None, second) => second.map(|generation| (1, generation)),
        }
    }

    #[inline(never)]
    fn check(&self, copy: &Words, generation: u32, bytes: usize) -> u32 {
        let words = (1..=bytes.div_ceil(8)).map(|at| copy.get(at));
        checksum(self.build ^ bytes as u64, [generation.into()].into_iter().chain(words))
    }
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
