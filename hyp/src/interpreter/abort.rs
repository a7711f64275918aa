//! Aborts: what stage 2 refused, decoded from the syndrome. Pure.

use strato_abi::address_space::LastFault;

use crate::arch::frame::RawExit;
use crate::memory::stage2::Access;

/// What a guest wanted of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction.
    Fetch,
}

/// Why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is mapped there (translation fault), or the address is beyond the address space (address size fault).
    NotMapped,
    /// What is mapped there does not allow it (permission fault).
    Permission,
    /// The memory system answered with an error, or something no table says.
    External,
}

/// An access that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// What was wanted.
    pub wanted: Wanted,
    /// Why it was refused.
    pub refusal: Refusal,
    /// The address that the guest used (FAR_EL2).
    pub far: u64,
    /// The guest-physical address. Page exact; its low 12 bits come from FAR_EL2. See [`Abort::needs_translation`].
    pub ipa: u64,
    /// ESR_EL2 as it was.
    pub esr: u64,
}

/// ESR_ELx.ISS.S1PTW of an abort: stage 2 refused a walk of stage 1.
const S1PTW: u64 = 1 << 7;

impl Abort {
    /// Returns the abort that `exit` reports.
    #[must_use]
    pub fn decode(exit: &RawExit) -> Self {
        let refusal = match exit.esr & 0x3c {
            0b00_0000 | 0b00_0100 => Refusal::NotMapped,
            0b00_1100 => Refusal::Permission,
            _ => Refusal::External,
        };
        let is_fetch = exit.esr >> 26 & 0x3f == 0x20;
        // WnR is bit 6; cache maintenance (CM, bit 8) is reported as a write but needs read permission alone, except DC IVAC (DDI
        // 0487). All that is mapped can be read, so what lacks a permission is that: as a read it would be tried again for ever.
        let is_maintenance = exit.esr & 1 << 8 != 0 && refusal != Refusal::Permission;
        let is_write = exit.esr & 1 << 6 != 0 && !is_maintenance;
        let wanted = match (is_fetch, is_write) {
            (true, _) => Wanted::Fetch,
            (false, true) => Wanted::Write,
            (false, false) => Wanted::Read,
        };
        // HPFAR_EL2.FIPA counts 4 KiB pages in bits 43:4. It is not valid for a permission fault outside a stage-1 walk
        // (DDI 0487, HPFAR_EL2); with stage 1 off the address is its own translation.
        let mut abort = Self { wanted, refusal, far: exit.far, ipa: exit.far, esr: exit.esr };
        if refusal == Refusal::NotMapped || abort.is_walk() {
            abort.ipa = (exit.hpfar >> 4 & 0xff_ffff_ffff) << 12 | exit.far & 0xfff;
        }
        abort
    }

    /// Returns whether it was stage 1, on its walk through the guest's own tables, that was refused; `ipa` is then in the table.
    ///
    /// Not a field: without one more, a trap stays as small as what `dispatcher` keeps in registers at each exit.
    #[must_use]
    pub const fn is_walk(&self) -> bool {
        self.esr & S1PTW != 0 && !matches!(self.refusal, Refusal::External)
    }

    /// Returns whether `ipa` is only the address that the guest used, so that a guest with stage 1 on has to be asked for more.
    #[must_use]
    pub fn needs_translation(&self) -> bool {
        self.refusal == Refusal::Permission && !self.is_walk()
    }

    /// Returns the syndrome as EL1 gets it: same-level abort, with what belongs to EL2 alone taken out.
    ///
    /// `from_el0` is whether the guest ran at EL0. ISV and what it covers (bits 24:14) and S1PTW (bit 7) do not exist for
    /// an abort that is taken at EL1 on its own behalf. A refused walk is what a core with stage 1 alone reports when its
    /// tables cannot be read: a synchronous external abort on a walk (`0b0101LL`).
    #[must_use]
    pub fn guest_syndrome(&self, from_el0: bool) -> u64 {
        const LOWER_TO_SAME: u64 = 1 << 26;
        const ON_WALK: u64 = 0b01_0100;
        let mut esr = self.esr & 0xffff_ffff & !(0x7ff << 14 | S1PTW);
        if self.is_walk() {
            esr = esr & !0x3c | ON_WALK;
        }
        if from_el0 { esr } else { esr | LOWER_TO_SAME }
    }

    /// Returns the general register of the plain load or store of 32 bits that the access is; `None` when it is another, or the syndrome
    /// does not say: ISV, SAS, SSE, SRT and AR of a data abort (DDI 0487, ESR_ELx, ISS encoding for a Data Abort).
    #[must_use]
    pub fn transfer(&self) -> Option<usize> {
        const PLAIN: u64 = 1 << 24 | 0b10 << 22;
        const CHECKED: u64 = PLAIN | 1 << 22 | 1 << 21 | 1 << 14;
        let is_plain = self.wanted != Wanted::Fetch && self.esr & CHECKED == PLAIN;
        is_plain.then(|| usize::try_from(self.esr >> 16 & 0x1f).ok()).flatten()
    }

    /// Returns what stage 2 is asked for.
    #[must_use]
    pub const fn wish(&self) -> Access {
        match self.wanted {
            _ if self.is_walk() => Access::Read,
            Wanted::Read => Access::Read,
            Wanted::Write => Access::Write,
            Wanted::Fetch => Access::Execute,
        }
    }

    /// Returns the reason as AS.QUERY reports it.
    #[must_use]
    pub const fn last_fault(&self) -> LastFault {
        match self.refusal {
            Refusal::NotMapped => LastFault::Translation,
            Refusal::Permission => LastFault::Permission,
            Refusal::External => LastFault::None,
        }
    }

    /// Returns the abort in words.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        if self.is_walk() {
            return "walk through a translation table that cannot be read";
        }
        match (self.refusal, self.wanted) {
            (Refusal::NotMapped, Wanted::Read) => "read of an unmapped address",
            (Refusal::NotMapped, Wanted::Write) => "write to an unmapped address",
            (Refusal::NotMapped, Wanted::Fetch) => "instruction fetch from an unmapped address",
            (Refusal::Permission, Wanted::Read) => "read without permission",
            (Refusal::Permission, Wanted::Write) => "write without permission",
            (Refusal::Permission, Wanted::Fetch) => "instruction fetch without permission",
            (Refusal::External, _) => "access that the memory system refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abort(class: u64, iss: u64) -> Abort {
        Abort::decode(&RawExit { vector: 0, esr: class << 26 | 1 << 25 | iss, far: 0x5000_0123, hpfar: 0x5_0000 << 4 })
    }

    #[test]
    fn reads_writes_and_fetches_are_told_apart() {
        assert_eq!(abort(0x24, 0x07).wanted, Wanted::Read);
        assert_eq!(abort(0x24, 0x47).wanted, Wanted::Write);
        assert_eq!(abort(0x24, 0x147).wanted, Wanted::Read, "cache maintenance");
        assert_eq!(abort(0x24, 0x14f).wanted, Wanted::Write, "DC IVAC, of what can be read");
        assert_eq!(abort(0x20, 0x07).wanted, Wanted::Fetch);
    }

    #[test]
    fn all_fault_codes_of_all_levels_are_told_apart() {
        for code in 0..64 {
            let refusal = match code {
                0..=7 => Refusal::NotMapped,
                12..=15 => Refusal::Permission,
                _ => Refusal::External,
            };
            assert_eq!(abort(0x24, code).refusal, refusal, "{code:#x}");
        }
    }

    #[test]
    fn the_address_keeps_the_offset_in_the_page() {
        assert_eq!(abort(0x24, 0x07).ipa, 0x5000_0123);
        assert_eq!(abort(0x24, 0x0f).ipa, 0x5000_0123);
    }

    #[test]
    fn a_refused_walk_has_its_table_as_address_and_is_an_external_abort_on_a_walk_for_the_guest() {
        for (code, level) in [(0x04, 0), (0x07, 3), (0x0d, 1)] {
            let mut exit = RawExit { vector: 0, esr: 0x24 << 26 | 1 << 25 | 1 << 7 | code, far: 0xabc_d123, hpfar: 0 };
            exit.hpfar = 0x5_0000 << 4;
            let abort = Abort::decode(&exit);
            assert!(abort.is_walk() && !abort.needs_translation());
            assert_eq!((abort.far, abort.ipa & !0xfff), (0xabc_d123, 0x5000_0000));
            assert_eq!(abort.guest_syndrome(false), 0x25 << 26 | 1 << 25 | 0x14 | level);
        }
        assert!(!abort(0x24, 0x90).is_walk(), "an external abort stays one");
    }

    #[test]
    fn only_a_permission_fault_of_the_access_itself_has_no_guest_physical_address() {
        for (iss, needs) in [(0x0f, true), (0x4f, true), (0x8f, false), (0x07, false), (0x10, false)] {
            assert_eq!(abort(0x24, iss).needs_translation(), needs, "{iss:#x}");
        }
    }

    #[test]
    fn only_a_plain_access_of_32_bits_names_its_register() {
        const WORD: u64 = 1 << 24 | 2 << 22 | 7 << 16;
        assert_eq!((abort(0x24, WORD | 0x0f).transfer(), abort(0x24, WORD | 0x4f).transfer()), (Some(7), Some(7)));
        assert_eq!(abort(0x24, WORD | 31 << 16 | 0x4f).transfer(), Some(31), "the zero register");
        let odd = [
            ("no syndrome", WORD & !(1 << 24)),
            ("a byte", WORD & !(3 << 22)),
            ("half a word", WORD ^ 3 << 22),
            ("two words", WORD | 1 << 22),
            ("with sign", WORD | 1 << 21),
            ("with order", WORD | 1 << 14),
        ];
        for (what, iss) in odd {
            assert_eq!(abort(0x24, iss | 0x0f).transfer(), None, "{what}");
        }
        assert_eq!(abort(0x20, WORD | 0x0f).transfer(), None, "a fetch");
    }

    #[test]
    fn the_guest_sees_a_same_level_abort_without_the_instruction_syndrome() {
        let raw = abort(0x24, 0x01c0_0047);
        assert_eq!(raw.guest_syndrome(false), 0x25 << 26 | 1 << 25 | 0x47);
        assert_eq!(raw.guest_syndrome(true), 0x24 << 26 | 1 << 25 | 0x47);
        assert_eq!(abort(0x20, 0x07).guest_syndrome(false), 0x21 << 26 | 1 << 25 | 0x07);
    }
}
