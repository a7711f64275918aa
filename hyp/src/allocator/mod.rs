//! Allocator: which frame belongs to whom. Owns all free RAM and the ledger of every extent, and all VMIDs.
//!
//! Called by boot, by `vm` (under the MEMORY lock) and by `memory` through its table source. Never maps anything and
//! never touches what stands in frames that are given out, except to scrub them.
//!
//! RAM is cut into *extents*: `1 << order` frames, naturally aligned by physical address. Each frame is in exactly one
//! extent, each extent has exactly one owner, and every frame that is given out is zero, through to the point of
//! coherency. Quota comes first: an [`Account`] is charged before anything is taken. Every function but
//! [`Allocator::new`] and [`Allocator::audit`] takes a number of steps in the number of orders; scrubbing takes time by
//! the frame, so a caller whose time is bounded does it itself, in steps, by [`Scrub`].
//!
//! - [`Allocator::take`], [`Allocator::give_back`]: frames for the hypervisor's own use (tables, VMs, vCPUs).
//! - `mem`: [`Allocator::mem_create`] and the rest: memory that guests map, named by a [`MemId`] that is never reused.
//! - `kept`: what the plan promises to VMs that are made again.
//! - [`Allocator::renew_vmid`]: a VMID for an address space that a core is about to translate by.
//! - [`Allocator::audit`]: everything added up; equal to a former [`Audit`] when everything was given back.

mod account;
mod audit;
mod free_lists;
mod kept;
mod ledger;
mod mapped;
mod mem;
mod vmid;

pub use account::Account;
pub use audit::{Audit, AuditError, Extent};
pub use kept::{REGIONS, ram_of};
pub use ledger::{Kind, Owner};
pub use mem::{MemId, MemInfo};
pub use vmid::{Selector, Vmids};

pub use crate::arch::ram::Scrub;

use heapless::Vec;

use crate::arch::CoreIndex;
use crate::arch::ram::{FRAME_SIZE, Pages};
use free_lists::FreeLists;
use kept::Kept;
use ledger::{Entry, Ledger, NONE, State};
use vmid::VmidPool;

/// Largest extent: `1 << MAX_ORDER` frames, 1 GiB.
pub const MAX_ORDER: u32 = 18;

/// Why the allocator refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// No free extent is large enough, or the ledger cannot grow.
    NoMemory,
    /// The account would go over its limit.
    Quota,
    /// The Mem object is gone.
    Stale,
    /// The Mem object is still mapped or referred to, or belongs to somebody else.
    Busy,
}

/// All RAM that boot found free.
pub struct Allocator {
    ledger: Ledger,
    free: FreeLists,
    vmids: VmidPool,
    kept: Kept,
    /// Frames in extents, that is all but the ledger's first pages.
    total: u64,
    /// Entry of the Mem object that was counted last: the next look by address is mostly for the same.
    recent: u16,
}

impl Allocator {
    /// Returns the allocator of all `regions`; a few frames of one of them hold its ledger.
    ///
    /// # Errors
    /// The regions, when none has room for the ledger: two bytes for each frame between the lowest and the highest, and
    /// three frames.
    pub fn new<const N: usize>(mut regions: Vec<Pages, N>) -> Result<Self, Vec<Pages, N>> {
        let lowest = regions.iter().map(|pages| pages.pa().frame()).min().unwrap_or(0);
        let end =
            regions.iter().map(|pages| pages.pa().frame().saturating_add(pages.count() as u64)).max().unwrap_or(0);
        let frames = usize::try_from(end.saturating_sub(lowest)).unwrap_or(usize::MAX);
        let needed = frames.saturating_mul(size_of::<u16>()).div_ceil(FRAME_SIZE).saturating_add(Ledger::FIXED_PAGES);
        let Some(place) = regions.iter().position(|pages| pages.count() > needed) else { return Err(regions) };
        let (own, rest) = match regions.swap_remove(place).split_at(needed) {
            Ok(parts) => parts,
            Err(region) => return Err(with(regions, region)),
        };
        let ledger = match Ledger::new(own, lowest) {
            Ok(ledger) => ledger,
            Err(own) => match Pages::join(own, rest) {
                Ok(region) => return Err(with(regions, region)),
                Err((own, rest)) => return Err(with(with(regions, own), rest)),
            },
        };
        let mut allocator =
            Self { ledger, free: FreeLists::new(), vmids: VmidPool::new(), kept: Kept::NONE, total: 0, recent: NONE };
        allocator.add_region(rest);
        while let Some(region) = regions.pop() {
            allocator.add_region(region);
        }
        Ok(allocator)
    }

    /// Cuts a region into extents, each as large as its address allows.
    fn add_region(&mut self, region: Pages) {
        self.total = self.total.saturating_add(region.count() as u64);
        let mut rest = Some(region);
        while let Some(pages) = rest.take() {
            let order = pages.count().ilog2().min(pages.pa().frame().trailing_zeros()).min(MAX_ORDER);
            let extent = match pages.split_at(1 << order) {
                Ok((extent, high)) => {
                    rest = Some(high);
                    extent
                }
                Err(all) => all,
            };
            self.grow_ledger();
            let Some(index) = self.ledger.occupy(extent.pa()) else {
                unreachable!("the ledger grows before it is full, while boot adds RAM")
            };
            self.insert(index, extent);
        }
    }

    /// Returns `1 << order` zero frames that belong to the account's owner.
    ///
    /// Scrubs what is not clean yet: callers whose time is bounded ask for at most 16 frames here, or use
    /// [`Allocator::begin_take`].
    ///
    /// # Errors
    /// [`AllocError::Quota`], [`AllocError::NoMemory`]; nothing is charged or taken then.
    pub fn take(&mut self, order: u32, kind: Kind, account: &mut Account) -> Result<Pages, AllocError> {
        let mut pages = self.take_dirty(order, kind, account)?;
        pages.scrub();
        Ok(pages)
    }

    /// Returns the same as [`Allocator::take`] as a scrub whose steps the caller makes; [`Scrub::finish`] gives the
    /// frames.
    ///
    /// # Errors
    /// As for [`Allocator::take`].
    pub fn begin_take(&mut self, order: u32, kind: Kind, account: &mut Account) -> Result<Scrub, AllocError> {
        self.take_dirty(order, kind, account).map(Scrub::new)
    }

    fn take_dirty(&mut self, order: u32, kind: Kind, account: &mut Account) -> Result<Pages, AllocError> {
        if order > MAX_ORDER {
            return Err(AllocError::NoMemory);
        }
        account.charge(1 << order)?;
        self.grow_ledger();
        self.extract(order, account.owner(), kind).ok_or_else(|| {
            account.refund(1 << order);
            AllocError::NoMemory
        })
    }

    /// Gives frames back that [`Allocator::take`] gave, whole, and refunds the account they were charged to.
    ///
    /// The caller is done with them in every way: unmapped everywhere, the invalidation complete. Frames that are not
    /// scrubbed yet are scrubbed here; callers whose time is bounded bring at most 16 such, and larger ones out of
    /// [`Scrub::finish`].
    ///
    /// # Errors
    /// The frames, when they are not an extent that was taken by the account's owner.
    pub fn give_back(&mut self, mut pages: Pages, account: &mut Account) -> Result<(), Pages> {
        let count = pages.count();
        let index = self.ledger.find(pages.pa()).filter(|&index| {
            self.ledger.get(index).is_some_and(|entry| {
                entry.state == State::Taken
                    && entry.owner == account.owner()
                    && !entry.slot.is_held()
                    && count == 1 << entry.slot.order()
            })
        });
        let Some(index) = index else { return Err(pages) };
        pages.scrub();
        account.refund(count as u64);
        self.insert(index, pages);
        Ok(())
    }

    /// Returns `selector` with a VMID that is its own from now on, and says that `core` translates by it.
    ///
    /// The core translates by nothing at this moment. In a generation that it has not met before, it forgets everything
    /// ([`crate::arch::stage2::invalidate_here`]) before it uses the selector.
    #[must_use]
    pub fn renew_vmid(&mut self, vmids: &Vmids, core: CoreIndex, selector: Selector) -> Selector {
        self.vmids.renew(vmids, core, selector)
    }

    /// Returns `1 << order` frames out of the pool, marked as taken; splits the smallest extent that is large enough.
    fn extract(&mut self, order: u32, owner: Owner, kind: Kind) -> Option<Pages> {
        if self.ledger.vacant() < MAX_ORDER as usize {
            return None; // each split needs an entry
        }
        let index = self.free.smallest(order)?;
        self.free.remove(&mut self.ledger, index);
        let mut pages = self.ledger.get_mut(index)?.slot.take()?;
        while pages.count() > 1 << order {
            let half = pages.count() / 2;
            let (low, high) = match pages.split_at(half) {
                Ok(halves) => halves,
                Err(_) => unreachable!("an extent above order 0 has two halves"),
            };
            let Some(second) = self.ledger.occupy(high.pa()) else {
                unreachable!("entries for all splits were counted before the first")
            };
            self.put_free(second, high);
            pages = low;
        }
        let entry = self.ledger.get_mut(index)?;
        (entry.state, entry.owner, entry.kind, entry.next) = (State::Taken, owner, kind, NONE);
        // Through the slot, which then tells where the frames are as long as they are out.
        entry.slot.put(pages).ok()?;
        entry.slot.take()
    }

    /// Puts frames into the pool under entry `index`, joined with their buddies as far as those are free.
    fn insert(&mut self, index: u16, pages: Pages) {
        let (mut index, mut pages) = (index, pages);
        while let Some(buddy) = self.free_buddy(&pages) {
            self.free.remove(&mut self.ledger, buddy);
            let Some(other) = self.ledger.get_mut(buddy).and_then(|entry| entry.slot.take()) else {
                unreachable!("a free extent holds its frames")
            };
            let (low, high, keep, drop) =
                if pages.pa() < other.pa() { (pages, other, index, buddy) } else { (other, pages, buddy, index) };
            pages = match Pages::join(low, high) {
                Ok(joined) => joined,
                Err(_) => unreachable!("buddies stand side by side"),
            };
            self.ledger.vacate(drop);
            index = keep;
        }
        self.put_free(index, pages);
    }

    /// Returns the entry of the free extent that completes `pages` to the next order, if it is free as a whole.
    fn free_buddy(&self, pages: &Pages) -> Option<u16> {
        let order = pages.count().trailing_zeros();
        if order >= MAX_ORDER {
            return None;
        }
        let index = self.ledger.find_frame(pages.pa().frame() ^ 1 << order)?;
        let entry = self.ledger.get(index)?;
        (entry.state == State::Free && entry.slot.order() == order).then_some(index)
    }

    fn put_free(&mut self, index: u16, pages: Pages) {
        let Some(entry) = self.ledger.get_mut(index) else { unreachable!("an occupied entry exists") };
        *entry = Entry { state: State::Free, owner: Owner::Pool, kind: Kind::Free, ..Entry::vacant(entry.generation) };
        if entry.slot.put(pages).is_err() {
            unreachable!("an empty slot takes an extent")
        }
        self.free.insert(&mut self.ledger, index);
    }

    /// Takes a frame for more entries, when few are left. Failing is no error yet: takes look at what is left.
    fn grow_ledger(&mut self) {
        if self.ledger.vacant() >= Ledger::RESERVE || self.ledger.is_complete() {
            return;
        }
        if let Some(mut pages) = self.extract(0, Owner::Pool, Kind::Ledger) {
            pages.scrub();
            self.ledger.grow(pages);
        }
    }
}

/// Returns `regions` with `region` put back into the place it came from.
fn with<const N: usize>(mut regions: Vec<Pages, N>, region: Pages) -> Vec<Pages, N> {
    if let Err(region) = regions.push(region) {
        core::mem::forget(region); // its place was emptied before: this cannot happen
    }
    regions
}
