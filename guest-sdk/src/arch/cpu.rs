//! Single instructions of the core: the counter, hints, the interrupt mask, the vCPU's own number.

use ::core::arch::asm;

/// Returns CNTVCT_EL0.
#[inline(always)]
pub(crate) fn counter() -> u64 {
    let ticks: u64;
    // SAFETY: reads a counter. ISB: the counter is not read before earlier instructions are done (Arm ARM, "the Generic
    // Timer": reads may be speculative).
    unsafe { asm!("isb", "mrs {}, CNTVCT_EL0", out(reg) ticks, options(nostack, preserves_flags)) };
    ticks
}

/// Returns PMCCNTR_EL0, which only a [`crate::time::CycleCounter`] may read: elsewhere it is an undefined instruction.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    let cycles: u64;
    // SAFETY: reads a counter. ISB as above.
    unsafe { asm!("isb", "mrs {}, PMCCNTR_EL0", out(reg) cycles, options(nostack, preserves_flags)) };
    cycles
}

/// Tells the core that this is a busy wait.
#[inline(always)]
pub(crate) fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Waits for an interrupt, masked or not.
pub(crate) fn wait_for_interrupt() {
    // SAFETY: a hint; memory may have changed when it ends, hence no `nomem`.
    unsafe { asm!("wfi", options(nostack, preserves_flags)) };
}

/// Returns the number of the calling vCPU, which `start.S` keeps in TPIDR_EL1.
pub(crate) fn vcpu_number() -> usize {
    let number: usize;
    // SAFETY: reads a register that nothing but `start.S` writes.
    unsafe { asm!("mrs {}, TPIDR_EL1", out(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// Masks the line and returns the mask as it was.
pub(crate) fn mask_interrupts() -> u64 {
    let before: u64;
    // SAFETY: changes PSTATE.I only. A compiler barrier (no `nomem`): what follows stays behind it.
    unsafe { asm!("mrs {}, DAIF", "msr DAIFSet, #2", out(reg) before, options(nostack, preserves_flags)) };
    before
}

/// Restores the mask that [`mask_interrupts`] returned.
pub(crate) fn restore_interrupts(before: u64) {
    if before & 1 << 7 == 0 {
        unmask_interrupts();
    }
}

/// Unmasks the line.
pub(crate) fn unmask_interrupts() {
    // SAFETY: changes PSTATE.I only; `vectors.S` saves everything that an upcall may change.
    unsafe { asm!("msr DAIFClr, #2", options(nostack, preserves_flags)) };
}

/// Sets the vCPU's virtual timer: whether it is on, and the value of CNTVCT_EL0 at which it expires.
#[inline(always)]
pub(crate) fn set_local_timer(is_on: bool, deadline: u64) {
    // SAFETY: the registers are the vCPU's own; what they cause is an event. The deadline first, or the old one could expire anew.
    unsafe {
        asm!(
            "msr CNTV_CVAL_EL0, {deadline}",
            "msr CNTV_CTL_EL0, {control}",
            "isb",
            deadline = in(reg) deadline,
            control = in(reg) u64::from(is_on),
            options(nostack, preserves_flags)
        );
    };
}
