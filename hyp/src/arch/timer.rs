//! Timer: the counter and this core's hypervisor timer (CNTHP, PPI 26). Who waits for what is the business of the rooms
//! above; here is one deadline per core.

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTPCT_EL0, Readable};

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
