//! Mail: which vCPUs at home on a core others want it to look at. Whoever sees no letter is interrupted when there is one.
//!
//! Written by every core, emptied by its own. `hyp/models` runs this file under loom.

use super::VM_PLACES;
use crate::scheduler::VcpuRef;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Words of letters, each with a bit for 64 vCPUs.
const WORDS: usize = VM_PLACES / 8;
/// Set in `full` when the core is to look though there is no letter.
const REMINDER: u32 = 1 << 31;

const _: () = assert!(WORDS < 31);

/// A core's letter box, in cache lines of its own: others say here which vCPUs to look at, then send [`SGI_MAIL`](super::SGI_MAIL).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Mail {
    /// A bit for each word in which there may be letters, so that the core need not look at the others.
    full: AtomicU32,
    vcpus: [AtomicU64; WORDS],
    /// Letters that were taken out and not read yet, and the number of the word in which they lay. Touched by the core itself alone.
    taken: AtomicU64,
    word: AtomicU32,
}

impl Mail {
    /// Puts `vcpu` into the box. The caller sends the interrupt afterwards.
    #[inline]
    pub fn put(&self, vcpu: VcpuRef) {
        let index = vcpu.index() / 64;
        if let Some(word) = self.vcpus.get(index) {
            // AcqRel: the bit of `full` below comes after the clearing by the `take` that missed this one.
            word.fetch_or(1 << (vcpu.index() % 64), Ordering::AcqRel);
            self.full.fetch_or(1 << index, Ordering::Release);
        }
    }

    /// Makes the core itself look, though there is no letter.
    pub fn remind(&self) {
        self.full.fetch_or(REMINDER, Ordering::Relaxed);
    }

    /// Forgets that the core was reminded. Returns whether it was.
    #[inline]
    pub fn forget(&self) -> bool {
        // Only this core sets it.
        let is_set = self.full.load(Ordering::Relaxed) & REMINDER != 0;
        if is_set {
            self.full.fetch_and(!REMINDER, Ordering::Relaxed);
        }
        is_set
    }

    /// Returns whether there is something in the box.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire) != 0
    }

    /// Takes a letter out: the number of a vCPU. `None` when there is none.
    ///
    /// A word is read to its end before the next one is taken: whoever is written to again and again waits for all others.
    #[inline]
    pub fn next(&self) -> Option<u16> {
        let mut letters = self.taken.load(Ordering::Relaxed);
        while letters == 0 {
            letters = self.take()?;
        }
        self.taken.store(letters & (letters - 1), Ordering::Relaxed);
        let number = self.word.load(Ordering::Relaxed) << 6 | letters.trailing_zeros();
        u16::try_from(number).ok()
    }

    /// Takes the only letter out, as [`Mail::next`] does. `None` when there is none, or another one, or the core is to look for something else;
    /// the box is as it was then.
    #[inline(always)]
    pub fn take_only(&self) -> Option<u16> {
        let full = self.full.load(Ordering::Acquire);
        if full & full.wrapping_sub(1) != 0 || self.taken.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let number = full.trailing_zeros();
        let word = self.vcpus.get(number as usize)?; // there is none of an empty box, or of a reminder
        self.full.fetch_and(!full, Ordering::Relaxed);
        let letters = word.swap(0, Ordering::AcqRel); // as in `take`
        if !letters.is_power_of_two() {
            word.fetch_or(letters, Ordering::AcqRel); // as in `put`
            self.full.fetch_or(full, Ordering::Release);
            return None;
        }
        u16::try_from(number << 6 | letters.trailing_zeros()).ok()
    }

    /// Takes the letters of the first word behind the last one that has some. Returns a bit for each of its vCPUs.
    #[inline(always)]
    fn take(&self) -> Option<u64> {
        let full = self.full.load(Ordering::Relaxed) & !REMINDER;
        let behind = full & (u32::MAX - 1) << (self.word.load(Ordering::Relaxed) % 32);
        let number = if behind == 0 { full } else { behind }.trailing_zeros();
        let word = self.vcpus.get(number as usize)?;
        self.word.store(number, Ordering::Relaxed);
        self.full.fetch_and(!(1 << number), Ordering::Relaxed);
        // Acquire by the swap: what the senders wrote before is seen. A letter put in after the bit was cleared sets it again.
        Some(word.swap(0, Ordering::AcqRel))
    }

    /// Returns whether there are letters, taken out or not.
    #[inline]
    #[must_use]
    pub fn has_letters(&self) -> bool {
        self.taken.load(Ordering::Relaxed) != 0 || self.full.load(Ordering::Relaxed) & !REMINDER != 0
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn with(numbers: &[u16]) -> Mail {
        let mail = Mail::default();
        for number in numbers {
            mail.put(VcpuRef::from_number(*number).unwrap());
        }
        mail
    }

    fn rest(mail: &Mail) -> Vec<u16> {
        let mut numbers: Vec<u16> = core::iter::from_fn(|| mail.next()).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn the_only_letter_is_taken_and_none_beside_another_one_or_a_reminder() {
        let mail = with(&[70]);
        assert_eq!((mail.take_only(), mail.is_full(), mail.take_only()), (Some(70), false, None));
        for numbers in [[3, 5], [3, 70]] {
            let mail = with(&numbers);
            assert_eq!(mail.take_only(), None);
            assert_eq!(rest(&mail), numbers);
        }
        let mail = with(&[3]);
        mail.remind();
        assert_eq!((mail.take_only(), mail.forget(), mail.take_only()), (None, true, Some(3)));
        mail.remind();
        assert_eq!(mail.take_only(), None);
    }

    #[test]
    fn a_letter_that_was_taken_out_and_not_read_is_another_one() {
        let mail = with(&[3, 5]);
        assert_eq!(mail.next(), Some(3));
        mail.put(VcpuRef::from_number(9).unwrap());
        assert_eq!(mail.take_only(), None);
        assert_eq!(rest(&mail), [5, 9]);
    }
}
