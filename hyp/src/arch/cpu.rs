//! Cpu: the instructions by which a core waits, and how it learns which core it is.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, ID_AA64PFR0_EL1, MIDR_EL1, MPIDR_EL1, Readable};

use super::{region, sysreg};

/// Gives way for a moment while another core holds what this one needs (YIELD, never ISB: see `crate::lock`).
#[inline(always)]
pub fn relax() {
    // SAFETY: YIELD is a hint and changes no state.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Takes a synchronous exception from EL2 to EL2 (BRK): a panic, and after another core's panic the stop of this one.
#[inline(always)]
pub fn breakpoint() -> ! {
    // SAFETY: BRK changes no state but that of the exception, which `own_el.S` takes on the emergency stack and does not leave.
    unsafe { asm!("brk #0", options(noreturn, nostack)) };
}

/// Parks this core until an interrupt is pending, masked or not (WFI). The timer that was armed counts (ISB) and earlier
/// accesses are complete first, so that a core that sleeps has published what it wrote.
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: barriers order and WFI waits; none changes state.
    unsafe { asm!("isb", "dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Waits until another core sends an event (WFE). Only for start-up handshakes; use [`wait_for_interrupt`] to park.
#[inline(always)]
pub fn wait_for_event() {
    // SAFETY: WFE waits and changes no state.
    unsafe { asm!("wfe", options(nostack, preserves_flags)) };
}

/// Returns the affinity fields of this core's MPIDR_EL1: Aff3 in bits 39:32, Aff2, Aff1, Aff0 in bits 23:0.
#[inline]
pub fn affinity() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}

/// Returns this core's MIDR_EL1: implementer, variant, part and revision.
#[inline]
pub fn midr() -> u64 {
    MIDR_EL1.get()
}

/// Returns this core's REVIDR_EL1: which fixes of the revision are in it, in the words of its maker.
#[inline]
pub fn revidr() -> u64 {
    let revidr: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, revidr_el1", out(reg) revidr, options(pure, nomem, nostack, preserves_flags)) };
    revidr & 0xffff_ffff
}

/// Returns the first physical address that this core, or EL2's own map, cannot name.
pub fn physical_limit() -> u64 {
    region::limit(ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange))
}

/// Returns this core's ID_AA64PFR0_EL1.
pub(super) fn features() -> u64 {
    ID_AA64PFR0_EL1.get()
}

/// Makes the path that leads through here the only one of a function that has a stack frame, when that calls nothing
/// elsewhere: where nothing is saved, the compiler makes the frame of a backtrace at the start, for a path that leaves by a
/// jump, and every other path pays for it.
#[inline(always)]
pub fn frame_here() {
    // SAFETY: nothing is executed; the link register counts as changed, so that it is saved around this.
    unsafe { asm!("", out("lr") _, options(nomem, nostack, preserves_flags)) };
}

/// Returns `index` if it is below `len`, else 0, without a branch that the core could guess wrongly (CSDB, DDI 0487): for
/// an index that a guest chose, behind the check that refuses it.
#[inline(always)]
pub fn bounded(index: usize, len: usize) -> usize {
    let safe: usize;
    // SAFETY: arithmetic on registers, and a barrier.
    unsafe {
        asm!(
            "cmp {index}, {len}",
            "csel {safe}, {index}, xzr, lo",
            "csdb",
            index = in(reg) index,
            len = in(reg) len,
            safe = lateout(reg) safe,
            options(pure, nomem, nostack),
        );
    }
    safe
}

/// Returns whether a physical interrupt waits for this core, masked or not (ISR_EL1).
#[inline]
pub fn interrupt_pending() -> bool {
    sysreg::read_isr() != 0
}
