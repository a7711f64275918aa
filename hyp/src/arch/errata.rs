//! Errata: what a core needs beyond the architecture, by its MIDR_EL1. A pure table, and the one register that is written
//! for it at a core's start. Rooms that keep a workaround ask for its flag and name it.

use bitflags::bitflags;

bitflags! {
    /// Workarounds that a core needs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Errata: u8 {
        /// 1319367 (A72), 1319537 (A57): a speculative AT while EL1's translation registers and VTTBR_EL2 belong to
        /// different VMs fills the TLB with a wrong entry: TCR_EL1.EPD0/1 are set around the switch.
        const SPECULATIVE_AT = 1 << 0;
        /// 859971 (A72 up to r0p3): instruction prefetch past a page end can read device memory: CPUACTLR_EL1 bit 32.
        const INSTRUCTION_PREFETCH = 1 << 1;
        /// CVE-2025-10263: a TLBI may complete before its effect: TLBI and DSB are issued twice.
        const REPEAT_TLBI = 1 << 2;
        /// Spectre-BHB: branch history of a guest steers EL2; see [`branch_history_loop`].
        const BRANCH_HISTORY = 1 << 3;
    }
}

/// Implementer of MIDR_EL1: Arm.
const ARM: u64 = 0x41;
const A57: u64 = 0xd07;
const A72: u64 = 0xd08;
const A76: u64 = 0xd0b;
const N1: u64 = 0xd0c;
const A77: u64 = 0xd0d;
const V1: u64 = 0xd40;
const A78: u64 = 0xd41;
const X1: u64 = 0xd44;
const A710: u64 = 0xd47;
const X2: u64 = 0xd48;
const N2: u64 = 0xd49;

/// Returns the workarounds for the core with this MIDR_EL1 (DDI 0487: implementer 31:24, variant 23:20, part 15:4,
/// revision 3:0).
#[must_use]
pub fn of(midr: u64) -> Errata {
    if midr >> 24 & 0xff != ARM {
        return Errata::empty();
    }
    let early = midr >> 20 & 0xf == 0 && midr & 0xf <= 3;
    match midr >> 4 & 0xfff {
        A57 => Errata::SPECULATIVE_AT | Errata::BRANCH_HISTORY,
        A72 if early => Errata::SPECULATIVE_AT | Errata::BRANCH_HISTORY | Errata::INSTRUCTION_PREFETCH,
        A72 => Errata::SPECULATIVE_AT | Errata::BRANCH_HISTORY,
        A76 | A77 | A78 | A710 | X1 | X2 | N1 | N2 | V1 => Errata::BRANCH_HISTORY | Errata::REPEAT_TLBI,
        _ => Errata::empty(),
    }
}

/// Returns the rounds of the loop that replaces a guest's branch history on entry to EL2 (Arm's Spectre-BHB note), 0
/// for a core that needs none.
#[must_use]
pub fn branch_history_loop(midr: u64) -> u8 {
    if !of(midr).contains(Errata::BRANCH_HISTORY) {
        return 0;
    }
    match midr >> 4 & 0xfff {
        A57 | A72 => 8,
        A76 | A77 | N1 => 24,
        _ => 32,
    }
}

/// Applies what is a register of this core. Only where the firmware is the stock stub of a Raspberry Pi, which opens
/// CPUACTLR_EL1 to EL2 and leaves 859971 alone; firmware with PSCI has applied it at EL3 and may keep the register closed.
pub fn apply(midr: u64, is_stock_stub: bool) {
    if is_stock_stub && of(midr).contains(Errata::INSTRUCTION_PREFETCH) {
        super::cpu::set_cpuactlr(1 << 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pi_4_needs_the_speculative_at_and_prefetch_workarounds() {
        let errata = of(0x410f_d083);
        assert!(errata.contains(Errata::SPECULATIVE_AT | Errata::INSTRUCTION_PREFETCH | Errata::BRANCH_HISTORY));
        assert_eq!(branch_history_loop(0x410f_d083), 8);
    }

    #[test]
    fn a_later_a72_has_no_prefetch_erratum() {
        assert!(!of(0x411f_d080).contains(Errata::INSTRUCTION_PREFETCH));
    }

    #[test]
    fn an_in_order_core_and_another_maker_need_none() {
        assert_eq!(of(0x410f_d034), Errata::empty());
        assert_eq!(of(0x420f_d083), Errata::empty());
        assert_eq!(branch_history_loop(0x410f_d034), 0);
    }
}
