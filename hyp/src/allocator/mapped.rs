//! Mapped: how many pages of each Mem object are mapped, and which object a page belongs to.
//!
//! Called by `memory` and by the calls of group AS with the memory locked.

use crate::arch::ram::Pa;

use super::ledger::Kind;
use super::{AllocError, Allocator, MAX_ORDER, MemId};

impl Allocator {
    /// Returns the Mem object that `pa` belongs to, and the page of it, or `None` when it is not a Mem object's.
    #[must_use]
    pub fn mem_at(&self, pa: Pa) -> Option<(MemId, u64)> {
        let (index, page) = self.extent_at(pa)?;
        let entry = self.ledger.get(index)?;
        let is_mem = entry.kind == Kind::Mem && entry.slot.is_held();
        is_mem.then_some((MemId { index, generation: entry.generation }, page))
    }

    /// Returns the entry of the extent that `pa` belongs to, and the page of it.
    #[inline]
    pub(super) fn extent_at(&self, pa: Pa) -> Option<(u16, u64)> {
        match self.page_of(self.recent, pa) {
            Some(page) => Some((self.recent, page)),
            None => self.search_extent(pa),
        }
    }

    #[cold]
    fn search_extent(&self, pa: Pa) -> Option<(u16, u64)> {
        (0..=MAX_ORDER).find_map(|order| {
            let index = self.ledger.find_frame(pa.frame() >> order << order)?;
            Some((index, self.page_of(index, pa)?))
        })
    }

    /// Returns the page that `pa` is in the extent of entry `index`, if it is in there.
    #[inline]
    fn page_of(&self, index: u16, pa: Pa) -> Option<u64> {
        self.ledger.get(index)?.page_of(pa)
    }

    /// Returns how many pages from `pa` on are in one extent: what [`Allocator::mem_unmapped`] counts in one step. `u64::MAX` where it
    /// counts none. The next look for the same extent is a short one.
    pub fn mem_piece(&mut self, pa: Pa) -> u64 {
        let Some((index, page)) = self.extent_at(pa) else { return u64::MAX };
        self.recent = index;
        self.ledger.get(index).map_or(u64::MAX, |entry| (1u64 << entry.slot.order()).wrapping_sub(page))
    }

    /// Counts `pages` pages from `pa` on as unmapped, whichever Mem objects they belong to; the invalidation is complete.
    /// Pages that are no Mem object's (the hypervisor's own, shown to a guest) are not counted.
    pub fn mem_unmapped(&mut self, pa: Pa, pages: u64) {
        let mut next = Some((pa, pages));
        while let Some((pa, pages)) = next.take() {
            let Some((index, page)) = self.extent_at(pa) else { return };
            self.recent = index;
            let Some(entry) = self.ledger.get_mut(index) else { return };
            let rest = (1u64 << entry.slot.order()).wrapping_sub(page); // `extent_at` found `page` inside
            let here = pages.min(rest);
            if entry.kind == Kind::Mem {
                let count = u32::try_from(here).unwrap_or(u32::MAX);
                debug_assert!(count <= entry.mapped, "more unmapped than mapped");
                entry.mapped = entry.mapped.saturating_sub(count);
            }
            next = pa.checked_add(here << 12).filter(|_| here < pages).map(|pa| (pa, pages.wrapping_sub(here)));
        }
    }

    /// Does the same for one page, in a few instructions when the object is the one that was counted last.
    #[inline(always)]
    pub fn mem_page_unmapped(&mut self, pa: Pa) {
        match self.ledger.get_mut(self.recent) {
            Some(entry) if entry.kind == Kind::Mem && entry.page_of(pa).is_some() && entry.mapped != 0 => {
                entry.mapped = entry.mapped.wrapping_sub(1);
            }
            _ => self.mem_unmapped(pa, 1),
        }
    }

    /// Counts `pages` more pages of the object as mapped. A name's generation ends with its object, so that alone tells whether
    /// it is there.
    ///
    /// # Errors
    /// [`AllocError::Stale`]; [`AllocError::Busy`] when the count would overflow.
    #[inline(always)]
    pub fn mem_add_mapped(&mut self, id: MemId, pages: u32) -> Result<(), AllocError> {
        let entry = self.ledger.get_mut(id.index).filter(|entry| entry.generation == id.generation);
        let entry = entry.ok_or(AllocError::Stale)?;
        entry.mapped = entry.mapped.checked_add(pages).ok_or(AllocError::Busy)?;
        Ok(())
    }

    /// Counts `pages` pages of the object as unmapped; the invalidation is complete.
    ///
    /// # Errors
    /// [`AllocError::Stale`].
    pub fn mem_sub_mapped(&mut self, id: MemId, pages: u32) -> Result<(), AllocError> {
        let entry = self.mem_mut(id)?;
        debug_assert!(pages <= entry.mapped, "more unmapped than mapped");
        entry.mapped = entry.mapped.saturating_sub(pages);
        Ok(())
    }
}
