//! Stage-2 operations on a PC: each tells the page-table monitor ([`super::watch`]), which knows what it must achieve.
//! One thread of the test process stands for one core.

use core::cell::Cell;
use std::thread_local;

use super::stage2::Vttbr;
use super::watch::{self, Barrier, Reach};

thread_local! {
    /// VTTBR_EL2 as last written.
    static VTTBR: Cell<u64> = const { Cell::new(0) };
    /// Invalidations of combined entries since [`take_combined`].
    static COMBINED: Cell<u32> = const { Cell::new(0) };
}

/// Returns VTTBR_EL2 of this thread's core.
#[must_use]
pub fn current_vttbr() -> Vttbr {
    Vttbr::from_bits(VTTBR.get())
}

/// Selects the address space of this thread's core; the caller's ISB or ERET counts as done.
pub fn set_vttbr(space: Vttbr) {
    write_vttbr(space);
    isb();
}

/// Selects the address space of this thread's core, from the next [`isb`] on.
pub(super) fn write_vttbr(space: Vttbr) {
    VTTBR.set(space.bits());
    watch::selecting(space);
}

/// Selects no address space, under `vmid`, from the next [`isb`] on.
pub(super) fn write_empty(vmid: u8) {
    write_vttbr(Vttbr::from_bits(u64::from(vmid) << 48));
}

/// Does nothing on a PC.
pub fn set_vtcr(_vtcr: u64) {}

/// Lets the last VTTBR_EL2 act.
pub(super) fn isb() {
    watch::synchronized();
}

/// Completes stores and invalidations.
pub(super) fn dsb_ish() {
    watch::completed(Barrier::All);
}

/// Completes stores.
pub(super) fn dsb_ishst() {
    watch::completed(Barrier::Stores);
}

/// Drops the stage-2 entries of one page of the VMID that acts.
pub(super) fn tlbi_ipas2e1is(ipa: u64) {
    watch::invalidated(Reach::Stage2(ipa));
}

/// Drops the stage 1 and combined entries of the VMID that acts.
pub(super) fn tlbi_vmalle1is() {
    COMBINED.set(COMBINED.get() + 1);
    watch::invalidated(Reach::Combined);
}

/// Returns and forgets how many invalidations of combined entries there were.
#[cfg(test)]
pub(super) fn take_combined() -> u32 {
    COMBINED.take()
}

/// Drops all entries of the VMID that acts.
pub(super) fn tlbi_vmalls12e1is() {
    watch::invalidated(Reach::All);
}

/// Drops all entries of all VMIDs.
pub(super) fn tlbi_alle1is() {
    watch::invalidated(Reach::Everything);
}

/// Drops all entries of this core, which says nothing of the others that this thread stands for.
pub(super) fn tlbi_alle1() {}

/// Completes what concerns this core.
pub(super) fn dsb_nsh() {}
