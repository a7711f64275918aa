//! Timer: the counter, this core's hypervisor timer (CNTHP, PPI 26) and the guest's virtual one (CNTV, PPI 27). Who waits for what is
//! the business of the rooms above; here is one deadline per core, and the registers of a vCPU that uses CNTV itself.

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTPCT_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVOFF_EL2, Readable, Writeable};

use super::{maintenance, sysreg};

/// Returns the counter, in ticks since an arbitrary moment. Not read early: ISB orders it behind what came before.
#[inline]
pub fn now() -> u64 {
    maintenance::isb();
    CNTPCT_EL0.get()
}

/// Returns the counter's ticks per second, as the firmware states it.
#[inline]
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Makes this core's timer interrupt (level) assert from `deadline` (ticks) on, in place of an earlier deadline.
#[inline]
pub fn arm(deadline: u64) {
    sysreg::write_cnthp_cval(deadline);
    sysreg::write_cnthp_ctl(1);
}

/// Stops this core's timer and drops its interrupt.
#[inline]
pub fn disarm() {
    sysreg::write_cnthp_ctl(0);
    maintenance::isb(); // the line is low before the interrupt is deactivated
}

/// Makes what was last written to this core's timers count, before their interrupt is deactivated.
#[inline]
pub fn synchronize() {
    maintenance::isb();
}

/// CNTV_CTL_EL0.ENABLE.
pub const LOCAL_ENABLE: u64 = 1;
/// CNTV_CTL_EL0.IMASK.
pub const LOCAL_MASK: u64 = 2;
/// CNTV_CTL_EL0.ISTATUS, read only.
const LOCAL_STATUS: u64 = 4;

/// Makes the counter of the guest that runs next, CNTVCT_EL0, less than the machine's by `ticks`. The ERET that follows makes it take
/// effect; its virtual timer counts by it, and is off meanwhile.
#[inline(always)]
pub fn set_offset(ticks: u64) {
    CNTVOFF_EL2.set(ticks);
}

/// Sets the virtual timer of the vCPU that runs next: CNTV_CTL_EL0 and CNTV_CVAL_EL0. The ERET that follows makes it take effect.
pub fn load_local(control: u64, deadline: u64) {
    CNTV_CVAL_EL0.set(deadline); // first, or the old one could assert under the new control
    CNTV_CTL_EL0.set(control);
}

/// Returns CNTV_CTL_EL0, without its status, and CNTV_CVAL_EL0, and turns the virtual timer off.
pub fn save_local() -> (u64, u64) {
    let saved = (CNTV_CTL_EL0.get() & (LOCAL_ENABLE | LOCAL_MASK), CNTV_CVAL_EL0.get());
    stop_local();
    saved
}

/// Turns the virtual timer off, and forgets what a guest left in it.
#[inline(always)]
pub fn stop_local() {
    // SAFETY: the virtual timer is the guest's; EL2 depends on nothing of it.
    unsafe {
        core::arch::asm!("msr cntv_ctl_el0, xzr", "msr cntv_cval_el0, xzr", options(nomem, nostack, preserves_flags));
    }
}

/// Masks the virtual timer if it asserts its interrupt. Returns whether it did.
#[inline]
pub fn mask_local() -> bool {
    let control = CNTV_CTL_EL0.get();
    let is_due = control & (LOCAL_ENABLE | LOCAL_MASK | LOCAL_STATUS) == LOCAL_ENABLE | LOCAL_STATUS;
    if is_due {
        CNTV_CTL_EL0.set(LOCAL_ENABLE | LOCAL_MASK);
        maintenance::isb(); // the line is low before the interrupt is deactivated
    }
    is_due
}
