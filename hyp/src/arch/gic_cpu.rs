//! GIC CPU interface of GICv3, which is system registers (Arm IHI 0069, "CPU interface"). The room `gic` decides what
//! to send and when to end; here is one instruction each. EOImode is 1: dropping the priority and deactivating are two
//! steps. `arm-gic` has no such mode and no ICC_DIR, therefore this file.

use super::{maintenance, sysreg};

/// ICH_HCR_EL2: a guest's accesses to the CPU interface trap (TC bit 10, TALL0 bit 11, TALL1 bit 12), En (bit 0) is 0.
/// Under HCR_EL2.IMO and FMO they would reach the virtual interface instead, whose state is nobody's own: what one VM
/// left there the next could read.
const GUEST_TRAPS: u64 = 1 << 10 | 1 << 11 | 1 << 12;

/// Prepares this core's interface: system registers for EL2 and not for EL1 (SRE_EL2 without Enable: a guest's access
/// traps), no virtual interrupts, EOImode 1, no priority masked, group 1 on.
pub fn init() {
    sysreg::write_icc_sre_el2(0b0111); // SRE, DFB, DIB; Enable (bit 3) stays 0
    maintenance::isb(); // the registers below exist from here on
    sysreg::write_ich_hcr(GUEST_TRAPS);
    sysreg::write_icc_ctlr(1 << 1); // EOImode
    sysreg::write_icc_pmr(0xff);
    sysreg::write_icc_bpr1(0);
    // A priority that a loader left active would mask all others. There are as many registers as ICC_CTLR_EL1.PRIbits,
    // less one, asks for (IHI 0069, ICC_AP1R<n>_EL1).
    let priority_bits = (sysreg::read_icc_ctlr() >> 8 & 7) + 1;
    sysreg::write_icc_ap1r0(0);
    if priority_bits >= 6 {
        sysreg::write_icc_ap1r1(0);
    }
    if priority_bits >= 7 {
        sysreg::write_icc_ap1r2(0);
        sysreg::write_icc_ap1r3(0);
    }
    maintenance::isb(); // no priority is active when the group is enabled
    sysreg::write_icc_igrpen1(1);
    maintenance::isb();
}

/// Sets the priority mask: interrupts whose priority is not below `mask` are not signaled. A write of ICC_PMR_EL1 is self-synchronizing
/// (IHI 0069, "Observability of the effects of accesses to the GIC registers").
pub fn set_mask(mask: u8) {
    sysreg::write_icc_pmr(mask.into());
}

/// Returns the INTID of the interrupt that is now active here; 1020 and above if there is none.
#[inline]
pub fn acknowledge() -> u32 {
    let intid = sysreg::read_icc_iar1();
    maintenance::dsb_sy(); // the acknowledge is done before the device is touched (IHI 0069, ICC_IAR1_EL1)
    (intid & 0xff_ffff) as u32
}

/// Returns the INTID of the interrupt that waits at this core with the highest priority; 1020 and above if there is none.
pub fn highest_pending() -> u32 {
    (sysreg::read_icc_hppir1() & 0xff_ffff) as u32
}

/// Ends an interrupt: priority drop, then deactivation, and the barrier by which a level line is seen low again.
#[inline]
pub fn end(intid: u32) {
    drop_priority(intid);
    deactivate(intid);
}

/// Drops the running priority; the interrupt stays active and is not signaled again.
#[inline]
pub fn drop_priority(intid: u32) {
    sysreg::write_icc_eoir1(intid.into());
    maintenance::isb();
}

/// Deactivates an interrupt whose priority was dropped.
#[inline]
pub fn deactivate(intid: u32) {
    sysreg::write_icc_dir(intid.into());
    maintenance::dsb_sy();
    maintenance::isb();
}

/// Sends the SGI that `value` describes (ICC_SGI1R_EL1); everything written before is visible to the receiver.
#[inline]
pub fn send_sgi(value: u64) {
    maintenance::dsb_sy();
    sysreg::write_icc_sgi1r(value);
    maintenance::isb();
}
