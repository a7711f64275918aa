//! Kept: Mem objects that the plan promises to VMs which are made again: their RAM, and the regions that they have a part in. They stay out of
//! the pool between two lives, so that nobody else has them then. Called by `vm` and `builder`.
//!
//! The name of a promise is the number of a region, or that of a VM's place behind all of these. Who frees, cuts, donates or still lends an object at
//! its end breaks the promise: the next life gets another.

use crate::arch::ram::{Pa, Scrub};

use super::ledger::{Entry, Kind, NONE, State};
use super::{Account, AllocError, Allocator, MemId};

/// Regions that a plan can have.
pub const REGIONS: usize = 64;
/// Regions and RAM.
const PROMISES: usize = 2 * REGIONS;

/// Promises by their names.
pub(super) struct Kept([Promise; PROMISES]);

#[derive(Clone, Copy)]
struct Promise {
    /// Places of the VMs to which it was made, one bit each.
    places: u64,
    /// The entry of the object. It is that one's if the entry says so too, in `next`, which nothing that is taken needs.
    index: u16,
}

impl Kept {
    pub(super) const NONE: Self = Self([Promise { places: 0, index: NONE }; PROMISES]);
}

/// Returns the name of the promise of its RAM to the VM in `place`.
#[must_use]
pub fn ram_of(place: u8) -> usize {
    usize::from(place).saturating_add(REGIONS)
}

/// Returns what an entry says of the promise `name`.
fn mark(name: usize) -> u16 {
    u16::try_from(name).map_or(NONE, |name| name.saturating_add(1))
}

impl Allocator {
    /// Makes the promise `name` to the VM in `place`, too.
    pub fn promise(&mut self, name: usize, place: u8) {
        if let Some(promise) = self.kept.0.get_mut(name) {
            promise.places |= 1 << (place & 63);
        }
    }

    /// Says that the object, or the frames of one to be, from `base` on are what was promised as `name`, if that was to anybody.
    pub fn keep_for(&mut self, name: usize, base: Pa) {
        let found = self.ledger.find(base);
        let Some(promise) = self.kept.0.get_mut(name).filter(|promise| promise.places != 0) else { return };
        if let Some((index, entry)) = found.and_then(|index| Some((index, self.ledger.get_mut(index)?))) {
            (promise.index, entry.next) = (index, mark(name));
        }
    }

    /// Breaks the promise of an object, if there is one.
    pub fn break_promise(&mut self, id: MemId) {
        if let Ok(entry) = self.mem_mut(id) {
            entry.next = NONE;
        }
    }

    /// Returns whether the object was promised to anybody.
    #[must_use]
    pub fn is_promised(&self, id: MemId) -> bool {
        self.mem(id).is_some_and(|entry| entry.next != NONE)
    }

    fn promised(&self, name: usize) -> Option<(u16, &Entry)> {
        let index = self.kept.0.get(name)?.index;
        let entry = self.ledger.get(index)?;
        let is_it = entry.state == State::Taken && entry.kind == Kind::Mem && entry.next == mark(name);
        is_it.then_some((index, entry))
    }

    /// Returns what was promised as `name`, if that was not broken: the object, or `None` while it is being zeroed for somebody.
    #[must_use]
    pub fn kept(&self, name: usize) -> Option<Option<MemId>> {
        let (index, entry) = self.promised(name)?;
        Some(entry.slot.is_held().then_some(MemId { index, generation: entry.generation }))
    }

    /// Returns the frames of what was promised as `name`, an object of `1 << order` pages to which nobody has a handle, to be zeroed; others when the
    /// promise was broken. They are on the account `own`, the hypervisor's.
    ///
    /// # Errors
    /// As for [`Allocator::take`].
    pub fn begin_kept(&mut self, name: usize, order: u32, own: &mut Account) -> Result<Scrub, AllocError> {
        let scrub = match self.kept(name).flatten().and_then(|id| self.mem_free(id, own).ok()) {
            Some(scrub) => scrub,
            None => self.begin_take(order, Kind::Mem, own)?,
        };
        self.keep_for(name, scrub.pages().pa());
        Ok(scrub)
    }

    /// Takes all promises to the VM in `place` back, up to one by which memory comes free that nobody has a handle to. Returns that, to be scrubbed and
    /// given back on the account `own`; `None` when there is no such any more.
    pub fn forsake(&mut self, place: u8, own: &Account) -> Option<Scrub> {
        let bit = 1 << (place & 63);
        for name in 0..PROMISES {
            let Some(promise) = self.kept.0.get_mut(name).filter(|promise| promise.places & bit != 0) else { continue };
            promise.places &= !bit;
            if promise.places == 0
                && let Some(Some(id)) = self.kept(name)
            {
                self.break_promise(id);
                if let Ok(scrub) = self.mem_free(id, own) {
                    return Some(scrub);
                }
            }
        }
        None
    }
}
