//! Frames: the chain of frame records that x29 begins (AAPCS64, "The frame pointer"), walked inside one stack for a report.

use ::core::ops::Range;

/// Most frames of a report.
const FRAMES_MAX: u8 = 32;

/// The return addresses on a stack, innermost first. Ends at the first record that is not one: outside of the stack, not
/// aligned, not above the one before.
#[derive(Debug)]
pub(crate) struct Frames {
    stack: Range<u64>,
    frame: u64,
    left: u8,
}

impl Frames {
    /// Returns the walk from the record at `frame`.
    ///
    /// # Safety
    /// `stack` is memory of one allocation that can be read, of which nothing is borrowed, and that no other vCPU writes while
    /// the walk lives; or it is empty.
    pub(super) const unsafe fn new(stack: Range<u64>, frame: u64) -> Self {
        Self { stack, frame, left: FRAMES_MAX }
    }

    /// Returns where the next record is: two words inside the stack.
    fn record(&self) -> Option<u64> {
        let is_inside = self.stack.start <= self.frame && self.frame.checked_add(16)? <= self.stack.end;
        (self.left > 0 && self.frame.is_multiple_of(8) && is_inside).then_some(self.frame)
    }
}

impl Iterator for Frames {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = usize::try_from(self.record()?).ok()?;
        let record = ::core::ptr::with_exposed_provenance::<[u64; 2]>(at);
        // SAFETY: `record` found two aligned words inside the stack, and `new` says what that is.
        let [caller, address] = unsafe { record.read_volatile() };
        self.left -= 1;
        // Callers lie above what they call; 0 is what `start.S` and `vectors.S` begin with, and ends the walk like any other.
        self.frame = if caller > self.frame { caller } else { 0 };
        (address != 0).then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[repr(align(16))]
    struct Memory([u64; 256]);

    impl Memory {
        /// Returns zeroes but for records, each by the index of its first word: the index of the caller's record and an address.
        fn new(records: &[(usize, u64, u64)]) -> std::boxed::Box<Self> {
            let mut memory = std::boxed::Box::new(Self([0; 256]));
            let base = memory.base();
            for &(at, caller, address) in records {
                memory.0[at] = base.wrapping_add(caller.wrapping_mul(8));
                memory.0[at + 1] = address;
            }
            memory
        }

        fn base(&self) -> u64 {
            (&raw const self.0).expose_provenance() as u64
        }

        /// Walks from the word `first` in the stack of the words `from` to `to`.
        fn walk(&self, from: u64, to: u64, first: u64) -> Vec<u64> {
            self.walk_at(from, to, self.base() + 8 * first)
        }

        fn walk_at(&self, from: u64, to: u64, frame: u64) -> Vec<u64> {
            // SAFETY: the words are of this box, which is borrowed for the walk and written by nobody.
            unsafe { Frames::new(self.base() + 8 * from..self.base() + 8 * to, frame) }.collect()
        }
    }

    #[test]
    fn the_callers_are_found_from_the_innermost_outwards() {
        let memory = Memory::new(&[(4, 10, 0x40), (10, 20, 0x41), (20, 0, 0x42)]);
        assert_eq!(memory.walk(0, 256, 4), [0x40, 0x41, 0x42]);
    }

    #[test]
    fn the_walk_stays_inside_its_stack() {
        let memory = Memory::new(&[(4, 10, 0x40), (10, 20, 0x41), (20, 30, 0x42)]);
        assert_eq!(memory.walk(0, 20, 4), [0x40, 0x41]);
        assert_eq!(memory.walk(0, 21, 4), [0x40, 0x41], "a record that only begins inside");
        assert_eq!(memory.walk(0, 22, 4), [0x40, 0x41, 0x42]);
        assert_eq!(memory.walk(5, 256, 4), [0_u64; 0]);
        assert_eq!(memory.walk(0, 0, 4), [0_u64; 0]);
    }

    #[test]
    fn odd_and_wild_frame_pointers_end_it() {
        let memory = Memory::new(&[(4, 10, 0x40), (10, 20, 0x41)]);
        for frame in [0, 1, 8, u64::MAX, u64::MAX - 7, u64::MAX - 15, memory.base() + 33, memory.base() + 36] {
            assert_eq!(memory.walk_at(0, 256, frame), [0_u64; 0], "{frame:#x}");
        }
        let mut odd = Memory::new(&[(4, 10, 0x40), (10, 20, 0x41)]);
        odd.0[4] += 4;
        assert_eq!(odd.walk(0, 256, 4), [0x40]);
    }

    #[test]
    fn a_chain_that_turns_back_ends() {
        assert_eq!(Memory::new(&[(4, 4, 0x40)]).walk(0, 256, 4), [0x40]);
        assert_eq!(Memory::new(&[(4, 10, 0x40), (10, 4, 0x41)]).walk(0, 256, 4), [0x40, 0x41]);
    }

    #[test]
    fn a_long_chain_is_cut() {
        let records: Vec<_> = (0..100).map(|at| (2 * at, 2 * at as u64 + 2, 0x40)).collect();
        assert_eq!(Memory::new(&records).walk(0, 256, 0).len(), 32);
    }

    #[test]
    fn a_record_without_a_return_address_ends_it() {
        assert_eq!(Memory::new(&[(4, 10, 0x40), (10, 20, 0), (20, 30, 0x42)]).walk(0, 256, 4), [0x40]);
    }
}
