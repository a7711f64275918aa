//! Filters: which VM may read and write which bits of a page of registers that is for several, and doing it for them. Called by
//! [`Devices`](super::Devices), whose lock makes of reading and writing back one step.

use heapless::Vec;
use strato_abi::board::{Register, Shared, Write};
use tock_registers::interfaces::{Readable, Writeable};

use crate::arch::mmio::{RegisterPage, Registers};

/// Most registers of which VMs can be given bits, each counted once for each VM.
const RULES_MAX: usize = 64;

/// Why bits of a register cannot be given to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowError {
    /// The VM was not given the page that the register is in, to be filtered.
    Page,
    /// No bits of the register can be given, or not these.
    Bits,
    /// Another VM has one of the bits, or the VM was given some of the register before.
    Taken,
    /// As many are given as can be.
    Full,
}

/// The rule that an access breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The VM has no bits of the register.
    Register,
    /// The register is only written.
    Read,
    /// The register is only read.
    Write,
}

#[derive(Debug)]
struct Rule {
    place: u8,
    register: &'static Register,
    mask: u32,
}

/// The shared page of a board, and who has which bits of it.
#[derive(Debug)]
pub(super) struct Filters {
    shared: Option<(&'static Shared, Registers<RegisterPage>)>,
    rules: Vec<Rule, RULES_MAX>,
}

impl Filters {
    /// Returns the filters of a page of which no VM has anything, if the board has one.
    #[must_use]
    pub(super) fn of(shared: Option<(&'static Shared, Registers<RegisterPage>)>) -> Self {
        Self { shared, rules: Vec::new() }
    }

    /// Returns whether `start..end` is the page.
    pub(super) fn is_page(&self, start: u64, end: u64) -> bool {
        self.shared.as_ref().is_some_and(|(shared, _)| (shared.block.start, shared.block.end) == (start, end))
    }

    /// Gives the VM in `place` the bits `mask` of the register at the physical address `at`.
    pub(super) fn allow(&mut self, place: u8, at: u64, mask: u32) -> Result<(), AllowError> {
        let (shared, _) = self.shared.as_ref().ok_or(AllowError::Page)?;
        let register = shared.register(at.wrapping_sub(shared.block.start)).ok_or(AllowError::Bits)?;
        if mask == 0 || mask & !register.bits != 0 {
            return Err(AllowError::Bits);
        }
        let excludes = |rule: &Rule| rule.place == place || rule.mask & mask != 0;
        if self.rules.iter().any(|rule| rule.register.offset == register.offset && excludes(rule)) {
            return Err(AllowError::Taken);
        }
        self.rules.push(Rule { place, register, mask }).map_err(|_| AllowError::Full)
    }

    /// Reads the register at the physical address `at` for the VM in `place`, or writes `value` to it: the bits that it has. Returns
    /// what was read, and 0 of other bits.
    pub(super) fn access(&self, place: u8, at: u64, value: Option<u32>) -> Result<u32, Broken> {
        let (shared, page) = self.shared.as_ref().ok_or(Broken::Register)?;
        let offset = at.wrapping_sub(shared.block.start);
        let is_it = |rule: &&Rule| rule.place == place && rule.register.offset == offset;
        let &Rule { register, mask, .. } = self.rules.iter().find(is_it).ok_or(Broken::Register)?;
        let word = page.word(offset).ok_or(Broken::Register)?;
        match (value, register.write) {
            (None, Write::Ones) => return Err(Broken::Read),
            (None, Write::Merge | Write::Never) => return Ok(word.get() & mask),
            (Some(_), Write::Never) => return Err(Broken::Write),
            // Never read: what that gives is not defined, and written back it would act on the pins of others.
            (Some(value), Write::Ones) => word.set(value & mask),
            (Some(value), Write::Merge) => word.set(word.get() & !mask | value & mask),
        }
        Ok(0)
    }

    /// Takes everything from the VM in `place`. What it wrote stays.
    pub(super) fn release(&mut self, place: u8) {
        self.rules.retain(|rule| rule.place != place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::mmio::{Device, peek, poke};
    use strato_abi::board::RPI4;

    const GPIO: u64 = 0xfe20_0000;
    const FUNCTION2: u64 = GPIO + 0x08;
    const SET: u64 = GPIO + 0x1c;
    const LEVEL: u64 = GPIO + 0x34;

    fn pins() -> (Filters, usize) {
        let device = Device::simulated(0x1000);
        let base = device.address();
        (Filters::of(RPI4.shared.zip(device.shared())), base)
    }

    #[test]
    fn bits_are_given_once_and_only_those_of_the_board_file() {
        let (mut filters, _) = pins();
        assert_eq!(filters.allow(0, FUNCTION2, 7 << 3), Ok(()));
        assert_eq!(filters.allow(1, FUNCTION2, 7 << 3), Err(AllowError::Taken));
        assert_eq!(filters.allow(1, FUNCTION2, 7 << 6), Ok(()));
        assert_eq!(filters.allow(1, FUNCTION2, 7 << 9), Err(AllowError::Taken), "one rule for a register");
        for (at, mask) in [(GPIO + 4, 7 << 12), (SET, 1 << 14), (SET, 0), (GPIO + 0x10, 1), (GPIO + 0x1000, 1), (0, 1)]
        {
            assert_eq!(filters.allow(2, at, mask), Err(AllowError::Bits), "{at:#x}");
        }
        filters.release(0);
        assert_eq!(filters.allow(2, FUNCTION2, 7 << 3), Ok(()));
        assert_eq!(Filters::of(None).allow(0, FUNCTION2, 1), Err(AllowError::Page));
    }

    #[test]
    fn what_is_written_back_keeps_the_bits_of_others() {
        let (mut filters, base) = pins();
        filters.allow(0, FUNCTION2, 7 << 3).unwrap();
        poke(base + 0x08, 0x3fff_ffff);
        assert_eq!(filters.access(0, FUNCTION2, None), Ok(7 << 3));
        assert_eq!(filters.access(0, FUNCTION2, Some(0xffff_ffcf)), Ok(0));
        assert_eq!(peek(base + 0x08), 0x3fff_ffcf);
    }

    #[test]
    fn what_acts_by_ones_is_written_with_the_bits_of_the_vm_alone_and_never_read() {
        let (mut filters, base) = pins();
        filters.allow(0, SET, 1 << 21).unwrap();
        poke(base + 0x1c, 0x6770_696f); // as a Raspberry Pi answers who reads it
        assert_eq!(filters.access(0, SET, None), Err(Broken::Read));
        assert_eq!(filters.access(0, SET, Some(u32::MAX)), Ok(0));
        assert_eq!(peek(base + 0x1c), 1 << 21);
    }

    #[test]
    fn garbage_at_every_byte_of_the_page_changes_what_was_allowed_alone() {
        let (mut filters, base) = pins();
        filters.allow(0, FUNCTION2, 7 << 3).unwrap();
        filters.allow(0, LEVEL, 1 << 21).unwrap();
        (0..1024).for_each(|n| poke(base + n * 4, 0x5555_5555));
        for at in (GPIO - 8..GPIO + 0x1008).filter(|at| ![FUNCTION2, LEVEL].contains(at)) {
            assert_eq!(filters.access(0, at, None), Err(Broken::Register));
            assert_eq!(filters.access(0, at, Some(u32::MAX)), Err(Broken::Register));
        }
        assert_eq!(filters.access(0, FUNCTION2, Some(u32::MAX)), Ok(0));
        for n in 0..1024 {
            let expected = if n == 2 { 0x5555_557d } else { 0x5555_5555 };
            assert_eq!(peek(base + n * 4), expected, "{n}");
        }
    }

    #[test]
    fn what_a_vm_has_no_bits_of_and_what_is_only_read_stays_as_it_is() {
        let (mut filters, base) = pins();
        filters.allow(0, LEVEL, 1 << 21).unwrap();
        poke(base + 0x34, u32::MAX);
        assert_eq!(filters.access(0, LEVEL, None), Ok(1 << 21));
        assert_eq!(filters.access(0, LEVEL, Some(0)), Err(Broken::Write));
        for (place, at) in [(1, LEVEL), (0, SET), (0, LEVEL + 0x1000), (0, LEVEL + 1), (0, 0)] {
            assert_eq!(filters.access(place, at, Some(0)), Err(Broken::Register), "{place} {at:#x}");
        }
        assert_eq!(peek(base + 0x34), u32::MAX);
    }
}
