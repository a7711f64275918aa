//! Mem objects: memory that guests map. An object is one extent with one owner; the ledger counts its mapped pages and the
//! handles to it, and it goes back to the pool only when both are zero.
//!
//! Called by `vm` and by the calls of the groups MEM and AS. Who may map what is decided by the VM's handle table.

use crate::arch::ram::{Pa, Pages, Scrub};
use crate::arch::shared::SharedFrames;

use super::ledger::{Entry, Kind, NONE, Owner, State};
use super::{Account, AllocError, Allocator};

/// The name of a Mem object: never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemId {
    pub(super) index: u16,
    pub(super) generation: u64,
}

impl MemId {
    /// Returns index and generation, for a table of handles.
    #[must_use]
    pub const fn to_parts(self) -> (u16, u64) {
        (self.index, self.generation)
    }

    /// Returns the name that [`MemId::to_parts`] took apart.
    #[must_use]
    pub const fn from_parts(index: u16, generation: u64) -> Self {
        Self { index, generation }
    }
}

/// What the ledger knows of a Mem object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemInfo {
    /// Physical address of its first frame; a multiple of its size.
    pub base: Pa,
    /// Its pages, a power of two.
    pub pages: u64,
    /// Whom it belongs to.
    pub owner: Owner,
    /// Pages of it that are mapped, in all address spaces together.
    pub mapped: u32,
    /// Handles to it, in all VMs together.
    pub references: u16,
}

impl Allocator {
    /// Returns a new Mem object of `1 << order` zero pages that belongs to the account's owner.
    ///
    /// Scrubs what is not clean yet: callers whose time is bounded use [`Allocator::begin_take`] with [`Kind::Mem`], then
    /// [`Allocator::mem_finish`].
    ///
    /// # Errors
    /// [`AllocError::Quota`], [`AllocError::NoMemory`]; nothing is charged or taken then.
    pub fn mem_create(&mut self, order: u32, account: &mut Account) -> Result<MemId, AllocError> {
        let pages = self.take(order, Kind::Mem, account)?;
        self.mem_finish(pages).map_err(|_| unreachable!("frames just taken for a Mem object become one"))
    }

    /// Returns the Mem object made of `pages`, which were taken as [`Kind::Mem`] and scrubbed.
    ///
    /// # Errors
    /// The frames, when they are not a whole extent taken as [`Kind::Mem`], or not scrubbed.
    pub fn mem_finish(&mut self, pages: Pages) -> Result<MemId, Pages> {
        let Some(index) = self.ledger.find(pages.pa()) else { return Err(pages) };
        let Some(entry) = self.ledger.get_mut(index) else { return Err(pages) };
        let whole = entry.state == State::Taken && pages.count() == 1 << entry.slot.order();
        if !whole || entry.kind != Kind::Mem || !pages.is_scrubbed() {
            return Err(pages);
        }
        entry.slot.put(pages)?;
        Ok(MemId { index, generation: entry.generation })
    }

    /// Returns what the ledger knows of `id`, or `None` when it is gone.
    #[must_use]
    pub fn mem_info(&self, id: MemId) -> Option<MemInfo> {
        let entry = self.mem(id)?;
        Some(MemInfo {
            base: entry.slot.base(),
            pages: 1 << entry.slot.order(),
            owner: entry.owner,
            mapped: entry.mapped,
            references: entry.references,
        })
    }

    /// Returns the object's memory, which a guest may be changing, or `None` when the object is gone.
    #[must_use]
    pub fn mem_frames(&self, id: MemId) -> Option<SharedFrames<'_>> {
        self.mem(id)?.slot.shared()
    }

    /// Counts one more handle to the object.
    ///
    /// # Errors
    /// [`AllocError::Stale`]; [`AllocError::Busy`] when the count would overflow.
    pub fn mem_add_reference(&mut self, id: MemId) -> Result<(), AllocError> {
        let entry = self.mem_mut(id)?;
        entry.references = entry.references.checked_add(1).ok_or(AllocError::Busy)?;
        Ok(())
    }

    /// Counts one handle to the object less; returns how many are left.
    ///
    /// # Errors
    /// [`AllocError::Stale`].
    pub fn mem_drop_reference(&mut self, id: MemId) -> Result<u16, AllocError> {
        let entry = self.mem_mut(id)?;
        debug_assert!(entry.references != 0, "more handles dropped than held");
        entry.references = entry.references.saturating_sub(1);
        Ok(entry.references)
    }

    /// Ends the object and returns the scrub of its frames, which end in [`Allocator::give_back`] with the same account.
    /// The name is stale from now on.
    ///
    /// # Errors
    /// [`AllocError::Stale`]; [`AllocError::Busy`] while a page is mapped, a handle is held, or when it belongs to another
    /// owner than the account's.
    pub fn mem_free(&mut self, id: MemId, account: &Account) -> Result<Scrub, AllocError> {
        let entry = self.mem_mut(id)?;
        if entry.mapped != 0 || entry.references != 0 || entry.owner != account.owner() {
            return Err(AllocError::Busy);
        }
        let pages = entry.slot.take().ok_or(AllocError::Stale)?;
        entry.next = NONE; // nothing that is freed is promised
        entry.generation = entry.generation.wrapping_add(1); // 64 bits: no machine runs that long
        Ok(Scrub::new(pages.into_dirty()))
    }

    /// Does the same as [`Allocator::mem_free`] together with the only handle to the object.
    ///
    /// # Errors
    /// As for [`Allocator::mem_free`], and [`AllocError::Busy`] when there are other handles; nothing is changed then.
    pub fn mem_free_held(&mut self, id: MemId, account: &Account) -> Result<Scrub, AllocError> {
        let entry = self.mem_mut(id)?;
        if entry.references != 1 {
            return Err(AllocError::Busy);
        }
        entry.references = 0;
        let freed = self.mem_free(id, account);
        if freed.is_err() {
            self.mem_mut(id)?.references = 1;
        }
        freed
    }

    /// Cuts an object with one handle into halves; `id` names the first from now on. Returns the second, with one handle too,
    /// and its first byte.
    ///
    /// # Errors
    /// [`AllocError::Stale`]; [`AllocError::Busy`] while a page is mapped, there are other handles, or when it is one page or
    /// belongs to another owner than the account's; [`AllocError::NoMemory`] when the ledger is full. Nothing is changed then.
    pub fn mem_split(&mut self, id: MemId, account: &Account) -> Result<(MemId, Pa), AllocError> {
        let entry = self.mem_mut(id)?;
        let (owner, half) = (entry.owner, 1u64 << entry.slot.order() >> 1);
        if entry.mapped != 0 || entry.references != 1 || half == 0 || owner != account.owner() {
            return Err(AllocError::Busy);
        }
        self.grow_ledger();
        if self.ledger.vacant() == 0 {
            return Err(AllocError::NoMemory);
        }
        let entry = self.mem_mut(id)?;
        entry.next = NONE; // a half is not what was promised
        let pages = entry.slot.take().ok_or(AllocError::Stale)?;
        let Ok((low, high)) = pages.split_at(usize::try_from(half).unwrap_or(usize::MAX)) else {
            unreachable!("an object of several pages has two halves")
        };
        let base = high.pa();
        let Some(index) = self.ledger.occupy(base) else { unreachable!("a vacant entry was counted") };
        self.keep(id.index, low);
        self.keep(index, high);
        let Some(second) = self.ledger.get_mut(index) else { unreachable!("an occupied entry exists") };
        (second.state, second.kind, second.owner, second.references) = (State::Taken, Kind::Mem, owner, 1);
        second.next = NONE;
        Ok((MemId { index, generation: second.generation }, base))
    }

    /// Puts frames into the empty slot of entry `index`.
    fn keep(&mut self, index: u16, pages: Pages) {
        let kept = self.ledger.get_mut(index).map(|entry| entry.slot.put(pages));
        if !matches!(kept, Some(Ok(()))) {
            unreachable!("an empty slot takes a half")
        }
    }

    /// Moves an object, and its charge, from the account of an owner who ends while others still hold handles to another
    /// account, on which the last of them frees it.
    ///
    /// # Errors
    /// [`AllocError::Stale`]; [`AllocError::Busy`] when it belongs to another owner; [`AllocError::Quota`].
    pub fn mem_hand_over(&mut self, id: MemId, from: &mut Account, to: &mut Account) -> Result<(), AllocError> {
        let entry = self.mem_mut(id)?;
        if entry.owner != from.owner() {
            return Err(AllocError::Busy);
        }
        let pages = 1 << entry.slot.order();
        to.charge(pages)?;
        from.refund(pages);
        entry.owner = to.owner();
        Ok(())
    }

    pub(super) fn mem(&self, id: MemId) -> Option<&Entry> {
        self.ledger.get(id.index).filter(|entry| is_mem(entry, id))
    }

    #[inline(always)]
    pub(super) fn mem_mut(&mut self, id: MemId) -> Result<&mut Entry, AllocError> {
        self.ledger.get_mut(id.index).filter(|entry| is_mem(entry, id)).ok_or(AllocError::Stale)
    }
}

#[inline(always)]
fn is_mem(entry: &Entry, id: MemId) -> bool {
    entry.kind == Kind::Mem && entry.generation == id.generation && entry.slot.is_held()
}
