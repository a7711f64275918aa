//! Stage-2 operations: the registers and instructions of [`super::stage2`], one function each. Never decides an order.

use core::arch::asm;

use super::stage2::Vttbr;
use super::watch;

pub(super) use super::told::{
    dsb_ish, dsb_ishst, dsb_nsh, isb, tlbi_alle1, tlbi_alle1is, tlbi_ipas2e1is, tlbi_vmalle1is, tlbi_vmalls12e1is,
};

/// Returns VTTBR_EL2: the address space that this core's EL1 and EL0 use, and whose VMID invalidations act on.
#[must_use]
#[inline]
pub fn current_vttbr() -> Vttbr {
    let bits: u64;
    // SAFETY: reading VTTBR_EL2 changes nothing.
    unsafe { asm!("mrs {0}, vttbr_el2", out(reg) bits, options(nomem, nostack, preserves_flags)) };
    Vttbr::from_bits(bits)
}

/// Selects the address space of this core's EL1 and EL0. An ISB (or the ERET) must follow before anything relies on it.
#[inline]
pub fn set_vttbr(space: Vttbr) {
    write_vttbr(space);
    watch::synchronized(); // the caller's ISB or ERET counts as done
}

/// The same, for a sequence that brings its own ISB.
#[inline(always)]
pub(super) fn write_vttbr(space: Vttbr) {
    watch::selecting(space);
    // SAFETY: EL2 itself does not translate through stage 2, so no reference of the hypervisor changes its meaning.
    unsafe { asm!("msr vttbr_el2, {0}", in(reg) space.bits(), options(nostack, preserves_flags)) };
}

core::arch::global_asm!(
    ".section .bss.arch_empty_table,\"aw\",%nobits",
    ".balign 4096",
    "arch_empty_table:",
    ".space 4096"
);

/// Writes VTTBR_EL2 so that it selects a table of zeros under `vmid`.
pub(super) fn write_empty(vmid: u8) {
    let table: u64;
    // SAFETY: takes the address of a table of the image, which is never written; nothing is accessed.
    unsafe { asm!("adrp {0}, arch_empty_table", out(reg) table, options(nomem, nostack, preserves_flags)) };
    write_vttbr(Vttbr::from_bits(u64::from(vmid) << 48 | table));
}

/// Writes VTCR_EL2, with a value of [`super::stage2::vtcr`]. Once per core, before its first guest.
pub fn set_vtcr(vtcr: u64) {
    // SAFETY: EL2 itself does not translate through stage 2, so no reference of the hypervisor changes its meaning.
    unsafe { asm!("msr vtcr_el2, {0}", in(reg) vtcr, options(nostack, preserves_flags)) };
}
