//! System registers that aarch64-cpu lacks: the GIC's CPU interface (Arm IHI 0069) and the hypervisor timer's compare value
//! (DDI 0487). One read and one write function each; what the bits mean is the caller's business.

use core::arch::asm;

macro_rules! read {
    ($(#[$doc:meta])* $name:ident, $register:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name() -> u64 {
            let value;
            // SAFETY: reads a register of this core; what reading it changes (an acknowledge) touches no memory.
            unsafe { asm!(concat!("mrs {0}, ", $register), out(reg) value, options(nostack, preserves_flags)) };
            value
        }
    };
}

macro_rules! write {
    ($(#[$doc:meta])* $name:ident, $register:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name(value: u64) {
            // SAFETY: writes a register of the interrupt controller or timer, which accesses no memory.
            unsafe { asm!(concat!("msr ", $register, ", {0}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}

read!(
    /// Acknowledges the highest pending group 1 interrupt; returns its INTID.
    read_icc_iar1, "icc_iar1_el1"
);
read!(
    /// INTID of the group 1 interrupt that waits with the highest priority, which stays pending.
    read_icc_hppir1, "icc_hppir1_el1"
);
read!(
    /// Physical interrupts that wait for this core, masked or not: bit 7 IRQ, bit 6 FIQ, bit 8 SError.
    read_isr, "isr_el1"
);
write!(
    /// Drops the running priority; with EOImode 1 the interrupt stays active.
    write_icc_eoir1, "icc_eoir1_el1"
);
write!(
    /// Deactivates an interrupt.
    write_icc_dir, "icc_dir_el1"
);
write!(
    /// Sends a group 1 SGI.
    write_icc_sgi1r, "icc_sgi1r_el1"
);
write!(
    /// Control: EOImode and priority grouping.
    write_icc_ctlr, "icc_ctlr_el1"
);
read!(
    /// Control: number of priority bits, and what was written.
    read_icc_ctlr, "icc_ctlr_el1"
);
write!(
    /// Active priorities of group 1, word 0.
    write_icc_ap1r0, "icc_ap1r0_el1"
);
write!(
    /// Active priorities of group 1, word 1.
    write_icc_ap1r1, "icc_ap1r1_el1"
);
write!(
    /// Active priorities of group 1, word 2.
    write_icc_ap1r2, "icc_ap1r2_el1"
);
write!(
    /// Active priorities of group 1, word 3.
    write_icc_ap1r3, "icc_ap1r3_el1"
);
write!(
    /// Priority mask: lower values are signaled.
    write_icc_pmr, "icc_pmr_el1"
);
write!(
    /// Binary point of group 1: how much of the priority pre-empts.
    write_icc_bpr1, "icc_bpr1_el1"
);
write!(
    /// Enable of group 1.
    write_icc_igrpen1, "icc_igrpen1_el1"
);
write!(
    /// System register enable at EL2.
    write_icc_sre_el2, "icc_sre_el2"
);
write!(
    /// Hypervisor control of the virtual CPU interface.
    write_ich_hcr, "ich_hcr_el2"
);
write!(
    /// Compare value of the hypervisor's physical timer, in counter ticks.
    write_cnthp_cval, "cnthp_cval_el2"
);
write!(
    /// Control of the hypervisor's physical timer: bit 0 enable, bit 1 mask.
    write_cnthp_ctl, "cnthp_ctl_el2"
);
