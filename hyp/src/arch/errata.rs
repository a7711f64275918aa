//! Errata: what a core needs beyond the architecture, by its MIDR_EL1. A pure table, and the one answer that the TLB code
//! asks for. Called by boot on each core. Errata that the code avoids by what it never does are in docs/silicon.md.

use bitflags::bitflags;

use crate::sync::{AtomicBool, Ordering};

bitflags! {
    /// Workarounds that a core needs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Errata: u8 {
        /// 859971 (A72 up to r0p3): instruction prefetch past a page end can read device memory: CPUACTLR_EL1 bit 32.
        const INSTRUCTION_PREFETCH = 1 << 0;
        /// CVE-2025-10263: after TLBI and DSB, writes that used the old entry may still be under way on another core: a
        /// second TLBI and DSB follow.
        const REPEAT_TLBI = 1 << 1;
        /// CVE-2018-3639 (Spectre v4, A72): a load may be done before an older store to the same place, which a guest can make EL2
        /// do: CPUACTLR_EL1 bit 55, "disable load pass store" (Trusted Firmware-A, `cortex_a72.S`).
        const STORE_BYPASS = 1 << 2;
    }
}

/// What keeps a guest's branch history from steering EL2 (Spectre-BHB, CVE-2022-23960): which vectors it enters EL2 by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nothing.
    None,
    /// A loop of [`SHORT_GUARD`] branches.
    Short,
    /// A loop of [`LONG_GUARD`] branches.
    Long,
}

/// Branches that fill the history of a Cortex-A57 or A72 (Arm, "Spectre-BHB", 4).
pub const SHORT_GUARD: u64 = 8;
/// Branches that fill the history of any other core of Arm's list: the most that one of them needs.
pub const LONG_GUARD: u64 = 132;
/// Parts that [`SHORT_GUARD`] is for: A57, A72.
const SHORT: [u64; 2] = [0xd07, A72];
/// Parts whose history is longer (Arm, "Spectre-BHB", 4, and Linux, arch/arm64/kernel/proton-pack.c): A76, A76AE, A77, A78,
/// A78AE, A78C, A710, X1, X1C, X2, X3, N1, N2, N3, V1, V2, V3, V3AE, X4, X925, A720, A725.
const LONG: [u64; 22] = [
    0xd0b, 0xd0e, 0xd0d, 0xd41, 0xd42, 0xd4b, 0xd47, 0xd44, 0xd4c, 0xd48, 0xd4e, 0xd0c, 0xd49, 0xd8e, 0xd40, 0xd4f,
    0xd84, 0xd83, 0xd82, 0xd85, 0xd81, 0xd87,
];

/// Returns the guard that a core with this MIDR_EL1 and ID_AA64PFR0_EL1 needs: none where CSV2 (59:56) is 3 or more, whose
/// branch history says nothing across exception levels, and where Arm's list does not name it.
#[must_use]
pub fn guard(midr: u64, pfr0: u64) -> Guard {
    let part = midr >> 4 & 0xfff;
    if midr >> 24 & 0xff != ARM || pfr0 >> 56 & 0xf >= 3 {
        Guard::None
    } else if SHORT.contains(&part) {
        Guard::Short
    } else if LONG.contains(&part) {
        Guard::Long
    } else {
        Guard::None
    }
}

/// Implementer of MIDR_EL1: Arm.
const ARM: u64 = 0x41;
const A72: u64 = 0xd08;
/// Parts with CVE-2025-10263, in every revision (Arm's bulletin of that number): A76, A76AE, A77, A78, A78AE, A78C, A710, X1,
/// X1C, X2, X3, X4, X925, N1, N2, V1, V2, V3, V3AE, C1-Ultra, C1-Premium.
const REPEAT_TLBI: [u64; 21] = [
    0xd0b, 0xd0e, 0xd0d, 0xd41, 0xd42, 0xd4b, 0xd47, 0xd44, 0xd4c, 0xd48, 0xd4e, 0xd82, 0xd85, 0xd0c, 0xd49, 0xd40,
    0xd4f, 0xd84, 0xd83, 0xd8c, 0xd90,
];

/// Whether a core of this machine needs [`Errata::REPEAT_TLBI`]: then all do, since each invalidates for the others.
/// Relaxed: a core sets it before boot lets any guest run, and publishing the machine orders that.
static REPEATS_TLBI: AtomicBool = AtomicBool::new(false);

/// Returns the workarounds for the core with this MIDR_EL1 (DDI 0487: implementer 31:24, variant 23:20, part 15:4,
/// revision 3:0).
#[must_use]
pub fn of(midr: u64) -> Errata {
    if midr >> 24 & 0xff != ARM {
        return Errata::empty();
    }
    let is_early = midr >> 20 & 0xf == 0 && midr & 0xf <= 3;
    match midr >> 4 & 0xfff {
        A72 if is_early => Errata::INSTRUCTION_PREFETCH | Errata::STORE_BYPASS,
        A72 => Errata::STORE_BYPASS,
        part if REPEAT_TLBI.contains(&part) => Errata::REPEAT_TLBI,
        _ => Errata::empty(),
    }
}

/// Notes what the calling core needs of the code that all cores share. Called on each core before a guest runs anywhere.
pub fn note(midr: u64) {
    if of(midr).contains(Errata::REPEAT_TLBI) {
        REPEATS_TLBI.store(true, Ordering::Relaxed);
    }
}

/// Returns whether TLBI and DSB are issued twice.
#[inline(always)]
pub(super) fn repeats_tlbi() -> bool {
    REPEATS_TLBI.load(Ordering::Relaxed)
}

/// Returns the bits of CPUACTLR_EL1 that the booted core has to set, and each that it releases. None but where the firmware is the stock stub of a
/// Raspberry Pi, which opens the register to EL2 and leaves it alone; firmware with PSCI has set them at EL3, on the
/// cores that it starts too, and may keep the register closed.
#[must_use]
pub fn cpuactlr(midr: u64, is_stock_stub: bool) -> u64 {
    let bit = |of_erratum, bit: u32| u64::from(is_stock_stub && of(midr).contains(of_erratum)) << bit;
    bit(Errata::INSTRUCTION_PREFETCH, 32) | bit(Errata::STORE_BYPASS, 55)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pi_4_needs_both_bits_unless_its_firmware_has_psci() {
        assert_eq!(of(0x410f_d083), Errata::INSTRUCTION_PREFETCH | Errata::STORE_BYPASS);
        assert_eq!((cpuactlr(0x410f_d083, true), cpuactlr(0x410f_d083, false)), (1 << 55 | 1 << 32, 0));
    }

    #[test]
    fn branch_history_is_guarded_where_the_core_has_a_short_or_a_long_one_and_does_not_keep_it_apart() {
        for (midr, guard_of) in [(0x410f_d083, Guard::Short), (0x413f_d0c1, Guard::Long), (0x410f_d034, Guard::None)] {
            assert_eq!(guard(midr, 0x2222), guard_of);
            assert_eq!(guard(midr, 3 << 56 | 0x2222), Guard::None);
        }
        assert_eq!(guard(0x420f_d083, 0), Guard::None, "another maker's core of that number");
    }

    #[test]
    fn a_later_a72_has_no_prefetch_erratum() {
        assert_eq!(of(0x411f_d080), Errata::STORE_BYPASS);
        assert_eq!(cpuactlr(0x411f_d080, true), 1 << 55);
    }

    #[test]
    fn an_in_order_core_and_another_maker_need_none() {
        assert_eq!(of(0x410f_d034), Errata::empty());
        assert_eq!(of(0x420f_d083), Errata::empty());
    }
}
