//! Trapped registers: what a guest reads, and what is undefined for it. One table; everything not in it is undefined.

use strato_abi::plan::VM_FP;

/// A trapped MSR, MRS or system instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which register: `op0[15:14] | op1[13:11] | CRn[10:7] | CRm[6:3] | op2[2:0]`, as in the instruction.
    pub register: u16,
    /// General register.
    pub rt: u8,
    /// Whether the guest reads.
    pub is_read: bool,
}

/// Returns the number under which a register is found.
#[must_use]
pub const fn register(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

impl Access {
    /// Returns the access that a syndrome of class 0x18 describes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "fields of at most five bits")]
    pub const fn decode(esr: u64) -> Self {
        let register = register(
            (esr >> 20 & 3) as u16,
            (esr >> 14 & 7) as u16,
            (esr >> 10 & 15) as u16,
            (esr >> 1 & 15) as u16,
            (esr >> 17 & 7) as u16,
        );
        Self { register, rt: (esr >> 5 & 31) as u8, is_read: esr & 1 != 0 }
    }
}

/// What a guest of these VM flags reads from a trapped register, or `None` when it is undefined for it.
///
/// The identification registers tell of Armv8.0 without what is trapped or off: no EL2, no EL3, AArch64 alone, no PMU,
/// no trace. Everything else of their space reads as zero, as the architecture asks of unallocated ones.
#[must_use]
pub const fn read(which: u16, flags: u32) -> Option<u64> {
    const ID_AA64PFR0: u16 = register(3, 0, 0, 4, 0);
    const ID_AA64DFR0: u16 = register(3, 0, 0, 5, 0);
    const ID_AA64MMFR0: u16 = register(3, 0, 0, 7, 0);
    const ID_FIRST: u16 = register(3, 0, 0, 1, 0);
    const ID_LAST: u16 = register(3, 0, 0, 7, 7);
    const ACTLR: u16 = register(3, 0, 1, 0, 1);
    match which {
        // EL1 and EL0 AArch64 only; FP and AdvSIMD 0xf when absent.
        ID_AA64PFR0 => Some(0x11 | if flags & VM_FP != 0 { 0 } else { 0xff << 16 }),
        ID_AA64DFR0 => Some(0x6),
        // PARange 40 bits holds the 39-bit guest-physical addresses; 4 KiB and 64 KiB granules, 8-bit ASIDs: what a guest with
        // stage 1 of its own finds on every core.
        ID_AA64MMFR0 => Some(0x2),
        ID_FIRST..=ID_LAST | ACTLR => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syndrome_gives_back_the_instruction_fields() {
        // mrs x7, id_aa64pfr0_el1
        let esr = 0x18 << 26 | 1 << 25 | 3 << 20 | 7 << 5 | 4 << 1 | 1; // Op2, Op1 and CRn are 0
        let access = Access::decode(esr);
        assert_eq!(access, Access { register: register(3, 0, 0, 4, 0), rt: 7, is_read: true });
    }

    #[test]
    fn fp_shows_as_absent_unless_the_vm_may_use_it() {
        let pfr0 = register(3, 0, 0, 4, 0);
        assert_eq!(read(pfr0, 0), Some(0x00ff_0011));
        assert_eq!(read(pfr0, VM_FP), Some(0x11));
    }

    #[test]
    fn every_register_of_the_identification_space_reads_and_nothing_else_does() {
        let mut known = 0;
        for which in 0..=u16::MAX {
            known += u32::from(read(which, 0).is_some());
        }
        assert_eq!(known, 7 * 8 + 1);
        for which in
            [register(3, 3, 9, 12, 0), register(3, 0, 1, 0, 0), register(2, 0, 0, 0, 2), register(3, 3, 14, 2, 1)]
        {
            assert_eq!(read(which, VM_FP), None);
        }
    }
}
