//! PMU: opens the cycle counter to guests, where the manifest asks for it. Called by boot, on each core before its first guest; nothing of it
//! is switched, so that one guest reads what another made it count, and can stop it.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64DFR0_EL1, Readable};

use super::{el2, maintenance};

/// PMCR_EL0: enabled (E), counters zeroed (P, C), 64 bits of cycles (LC).
const PMCR: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 6;
/// PMCCFILTR_EL0.NSH: cycles of EL2 count too, besides those of EL1 and EL0.
const COUNT_EL2: u64 = 1 << 27;
/// The cycle counter's bit in the PMU's sets.
const CYCLES: u64 = 1 << 31;
/// MDCR_EL2.TPM: every access of a guest to the PMU traps. PMCR_EL0, which resets it, traps by TPMCR all the same.
const MDCR_TPM: u64 = 1 << 6;

/// Returns whether this core has a PMU of the architecture's (ID_AA64DFR0_EL1.PMUVer: 0 is none, 15 one of its maker's).
#[must_use]
pub fn is_there() -> bool {
    !matches!(ID_AA64DFR0_EL1.get() >> 8 & 0xf, 0 | 0xf)
}

/// Makes this core's cycle counter count at EL0, EL1 and EL2, and lets guests read it. A core without PMU stays as it is.
///
/// A guest gets one event counter with it, as MDCR_EL2.HPMN may not be 0 (DDI 0487: before FEAT_HPMN0), and no interrupt of either.
pub fn open() {
    if !is_there() {
        return;
    }
    // SAFETY: registers of the PMU and of its traps, which access no memory. All interrupts and counters are off before what EL1 may do is
    // changed; the ISB completes that before a guest is entered.
    unsafe {
        asm!(
            "msr pmintenclr_el1, {all}",
            "msr pmcntenclr_el0, {all}",
            "msr pmovsclr_el0, {all}",
            "msr pmuserenr_el0, xzr",
            "msr pmccfiltr_el0, {filter}",
            "msr pmcr_el0, {control}",
            "mrs {counters}, pmcr_el0",
            "tst {counters}, #0xf800", // PMCR_EL0.N
            "cinc {traps}, {traps}, ne",
            "msr mdcr_el2, {traps}",
            "msr pmcntenset_el0, {cycles}",
            all = in(reg) u64::from(u32::MAX),
            filter = in(reg) COUNT_EL2,
            control = in(reg) PMCR,
            counters = out(reg) _,
            traps = inout(reg) el2::MDCR & !MDCR_TPM => _,
            cycles = in(reg) CYCLES,
            options(nomem, nostack)
        );
    }
    maintenance::isb();
}
