//! Stage 2: the registers that select an address space, and the one order in which its entries change.
//!
//! Called by `memory::stage2` after it wrote entries, by the allocator when VMIDs start over, by boot (VTCR_EL2) and by the
//! switch (VTTBR_EL2). Never writes an entry. The orders below are those of DDI 0487, "TLB maintenance" and
//! "Break-before-make"; [`super::watch`] checks them on a PC and in checked images.

use super::ram::Pa;
use super::stage2_ops::{
    dsb_ish, dsb_ishst, dsb_nsh, isb, tlbi_alle1, tlbi_alle1is, tlbi_ipas2e1is, tlbi_vmalle1is, tlbi_vmalls12e1is,
    write_empty, write_vttbr,
};
use super::{errata, native, watch};

pub use super::stage2_ops::{current_vttbr, set_vtcr, set_vttbr};

/// The value of VTTBR_EL2 that selects an address space: its root table and its VMID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vttbr(u64);

impl Vttbr {
    /// The value that selects nothing: no address space has it.
    pub const NONE: Self = Self(0);

    /// Returns the value for the address space of the table at `root` under `vmid`; CnP is 0, since cores need not share
    /// entries. VMID 0 stands for none yet.
    #[must_use]
    pub fn new(root: Pa, vmid: u8) -> Self {
        watch::rooted(root, vmid);
        Self(u64::from(vmid) << 48 | root.bytes())
    }

    /// Returns the value with these bits, as read from the register.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the bits of the register.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the VMID.
    #[must_use]
    #[inline]
    pub const fn vmid(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Returns the address of the root table.
    #[must_use]
    #[inline]
    pub const fn root(self) -> Pa {
        Pa::of_entry(self.0)
    }
}

/// Returns the value of VTCR_EL2 for 39-bit guest-physical addresses, whatever the board: T0SZ 25, walk from level 1
/// (SL0 1), 4 KiB granule, tables Normal write-back Inner Shareable, 8-bit VMIDs, RES1 bit 31.
///
/// `pa_range` is ID_AA64MMFR0_EL1.PARange; sizes above 48 bits are used as 48.
#[must_use]
pub const fn vtcr(pa_range: u64) -> u64 {
    const T0SZ_39_BITS: u64 = 25;
    const SL0_LEVEL_1: u64 = 1 << 6;
    const IRGN0_WRITE_BACK: u64 = 1 << 8;
    const ORGN0_WRITE_BACK: u64 = 1 << 10;
    const SH0_INNER: u64 = 3 << 12;
    const RES1: u64 = 1 << 31;
    let pa_range = pa_range & 0xf;
    let pa_range = if pa_range > 5 { 5 } else { pa_range };
    T0SZ_39_BITS | SL0_LEVEL_1 | IRGN0_WRITE_BACK | ORGN0_WRITE_BACK | SH0_INNER | pa_range << 16 | RES1
}

/// Selects a table that translates nothing, with the VMID 0 that no address space has: the vCPU that was here is gone, and
/// its tables may go too.
pub fn park() {
    write_empty(0);
    isb(); // no walk uses the old tables after this
}

/// Removes everything that any core holds for any guest: VMIDs start over, and each may go to another address space.
/// Complete at return.
pub fn invalidate_everything() {
    dsb_ishst(); // entries' stores are complete before any walker can refill from them
    tlbi_alle1is();
    dsb_ish(); // complete on all cores
    isb(); // this core forgets what it fetched or translated before
}

/// Removes everything that this core holds for any guest: between the moment in which others saw that it is about to leave
/// an address space and the write to VTTBR_EL2, it may have walked that one once more, under a VMID that has gone on.
pub fn invalidate_here() {
    tlbi_alle1();
    dsb_nsh(); // complete on this core; no other one uses its entries, as CnP is 0
    isb();
}

/// What an invalidation must reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// One page, by its guest-physical address in bytes.
    Page(u64),
    /// Everything that belongs to the VMID.
    All,
}

/// Makes new entries, written where nothing valid stood, visible to the walkers of all cores.
#[inline]
pub fn publish() {
    dsb_ishst(); // the stores are complete before the guest may use them
}

/// Removes what any core may hold of entries of `space` that were made invalid or narrower; complete at return.
///
/// IPAS2E1IS and the others act on the current VMID, so another one is made current for the moment. What has no VMID of this
/// generation has no entries on any core; its old number, which may be another's now, is invalidated all the same.
#[inline]
pub fn invalidate(space: Vttbr, scope: Scope) {
    let current = current_vttbr();
    if current == space {
        invalidate_current(scope);
    } else {
        invalidate_other(space.vmid(), current, scope);
    }
}

/// Removes what any core may hold of one page, by its guest-physical address in bytes, of the address space that is current
/// on this core; complete at return.
pub fn forget_page(ipa: u64) {
    invalidate_current(Scope::Page(ipa));
}

#[inline(always)]
fn invalidate_current(scope: Scope) {
    dsb_ishst(); // the entries' stores are complete before any walker can refill from them
    match scope {
        Scope::Page(ipa) => {
            tlbi_ipas2e1is(ipa);
            dsb_ish(); // stage-2 entries are gone before combined ones go: a refill would bring them back
            tlbi_vmalle1is();
        }
        // One operation for stage 1, stage 2 and combined entries; the combined ones would all go in any case.
        Scope::All => tlbi_vmalls12e1is(),
    }
    dsb_ish(); // complete on all cores
    if errata::repeats_tlbi() {
        repeat();
    }
    isb(); // this core forgets what it fetched or translated before
}

/// What [`errata::Errata::REPEAT_TLBI`] asks for: any broadcast invalidation will do.
#[cold]
fn repeat() {
    tlbi_vmalle1is();
    dsb_ish(); // writes through the entries that are gone are complete on all cores
}

#[cold]
fn invalidate_other(vmid: u8, current: Vttbr, scope: Scope) {
    // Erratum 1319367: either VM may be one that translates by itself, so nothing translates while they are mixed.
    let closed = native::close();
    // With the empty table: a walk by speculation must not bring the tables of one address space under a number that may be
    // another's.
    write_empty(vmid);
    isb(); // the invalidation uses this VMID
    invalidate_current(scope);
    write_vttbr(current);
    native::open(&closed); // with its barriers: nothing later uses the other VMID
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vtcr_is_the_value_that_the_manual_gives_for_39_bits_from_level_1() {
        assert_eq!(vtcr(4), 0x8004_3559);
        assert_eq!(vtcr(6), vtcr(5));
        assert_eq!(vtcr(0x10), vtcr(0));
    }

    #[test]
    fn vttbr_gives_back_the_root_and_the_vmid() {
        let vttbr = Vttbr::from_bits(0x00ff_ffff_ffff_f001);
        assert_eq!((vttbr.vmid(), vttbr.root().bytes()), (255, 0xffff_ffff_f000));
    }
}
