//! Views: memory and shares as they stand in the table of handles, read and changed in place.
//!
//! Made here alone, of entries that are of that kind. Never touches the objects that entries name.

use strato_abi::addr::PAGE_SIZE;
use strato_abi::address_space::Attributes;
use strato_abi::handle::{Handle, Kind, Rights};
use strato_abi::share::{ShareState, Steps, Verb};

use super::entry::{Entry, Far, Flags, MemRef};
use super::handles::HandleTable;
use super::index_set::CountedSet;
use super::ranges::Ranges;
use crate::allocator::MemId;
use crate::arch::ram::Pa;
use crate::arch::{bounded, get_bounded};

impl HandleTable {
    /// Returns the memory that `handle` names, when it does, it is not borrowed and nothing is going on with it.
    #[inline(always)]
    #[must_use]
    pub fn plain_mem(&self, handle: Handle) -> Option<Mem<'_>> {
        let entry = get_bounded(&self.entries, usize::from(handle.index()))?;
        entry.is_exactly(handle, Kind::Mem, Flags::empty()).then_some(Mem(entry))
    }

    /// Returns the borrowed memory that `handle` names, when it does and nothing is going on with it.
    #[inline(always)]
    #[must_use]
    pub fn plain_borrowed(&mut self, handle: Handle) -> Option<Borrowed<'_>> {
        get_bounded(&self.entries, usize::from(handle.index()))?;
        let at = bounded(usize::from(handle.index()), self.entries.len());
        let entry = self.entries.get_mut(at).filter(|entry| entry.is_exactly(handle, Kind::Mem, Flags::BORROWED))?;
        Some(Borrowed { entry, mapped: &mut self.mapped, index: handle.index() })
    }

    /// Returns the borrowed memory of the entry of number `index`, however it stands.
    #[inline(always)]
    #[must_use]
    pub fn borrowed_mut(&mut self, index: u16) -> Option<Borrowed<'_>> {
        let entry = self.entries.get_mut(usize::from(index)).filter(|entry| entry.is_borrowed())?;
        Some(Borrowed { entry, mapped: &mut self.mapped, index })
    }

    /// Returns the share of the entry of number `index`, for changes.
    #[inline(always)]
    #[must_use]
    pub fn share_mut(&mut self, index: u16) -> Option<Share<'_>> {
        let entry = self.entries.get_mut(usize::from(index)).filter(|entry| entry.is(Kind::Share))?;
        Some(Share { entry, offers: &mut self.offers, index })
    }

    /// Returns the open offer to the VM `to` that `handle` names, for changes.
    #[inline(always)]
    #[must_use]
    pub fn offer(&mut self, handle: Handle, to: Far) -> Option<Share<'_>> {
        get_bounded(&self.entries, usize::from(handle.index()))?;
        let at = bounded(usize::from(handle.index()), self.entries.len());
        let is_it = |entry: &&mut Entry| entry.is_exactly(handle, Kind::Share, Flags::empty()) && entry.is_open_to(to);
        let entry = self.entries.get_mut(at).filter(is_it)?;
        Some(Share { entry, offers: &mut self.offers, index: handle.index() })
    }
}

/// Memory that a handle names.
#[derive(Clone, Copy)]
pub struct Mem<'a>(&'a Entry);

impl Mem<'_> {
    /// Returns the object.
    #[inline(always)]
    #[must_use]
    pub const fn id(self) -> MemId {
        MemId::from_parts(self.0.index, self.0.id)
    }

    /// Returns what the holder may do with it.
    #[inline(always)]
    #[must_use]
    pub const fn rights(self) -> Rights {
        Rights::from_bits_retain(self.0.rights as u16) // a `Rights` was written there
    }

    /// Returns the first of `pages` pages, at least one, from byte `offset` on, or `None` when they are not all there.
    #[inline(always)]
    #[must_use]
    pub fn part(self, offset: u64, pages: u64) -> Option<Pa> {
        let end = (offset / PAGE_SIZE).wrapping_add(pages.wrapping_sub(1)); // both are far below 2^63
        let is_inside = offset.is_multiple_of(PAGE_SIZE) && end < u64::from(self.0.pages);
        is_inside.then(|| Pa::of_entry(self.0.base.wrapping_add(offset)))
    }

    /// Returns whether `pa` lies in it.
    #[inline(always)]
    #[must_use]
    pub fn holds(self, pa: Pa) -> bool {
        pa.bytes().wrapping_sub(self.0.base) / PAGE_SIZE < u64::from(self.0.pages)
    }
}

/// Borrowed memory that a handle names.
pub struct Borrowed<'a> {
    entry: &'a mut Entry,
    mapped: &'a mut CountedSet,
    index: u16,
}

impl Borrowed<'_> {
    /// Returns the memory.
    #[inline(always)]
    #[must_use]
    pub const fn mem(&self) -> Mem<'_> {
        Mem(self.entry)
    }

    /// Returns the addresses at which it may be mapped.
    #[inline(always)]
    #[must_use]
    pub const fn ranges(&self) -> Ranges {
        Ranges::from_words(self.entry.words)
    }

    /// Sets the addresses at which it may be mapped.
    #[inline(always)]
    pub fn set_ranges(&mut self, ranges: Ranges) {
        self.mapped.set(self.index, !ranges.is_empty());
        self.entry.words = ranges.to_words();
    }
}

/// A share, as its owner holds it.
pub struct Share<'a> {
    entry: &'a mut Entry,
    offers: &'a mut CountedSet,
    index: u16,
}

impl Share<'_> {
    /// Returns the number of its entry.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// Returns the port that is raised when `step` happens to it.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self, step: Steps) -> Option<Handle> {
        self.entry.bound(step)
    }

    /// Returns how it stands.
    #[inline(always)]
    #[must_use]
    pub const fn state(&self) -> Option<ShareState> {
        self.entry.share_state()
    }

    /// Sets how it stands.
    #[inline(always)]
    pub fn set_state(&mut self, state: ShareState) {
        self.offers.set(self.index, matches!(state, ShareState::Offered));
        let [.., word] = &mut self.entry.words;
        *word = *word & 0xffff_ffff | (state as u64) << 32;
    }

    /// Returns the most that the peer may map it with.
    #[inline(always)]
    #[must_use]
    pub const fn rights(&self) -> Attributes {
        let [_, terms, _] = self.entry.words;
        Attributes::from_bits_truncate(terms & 0xff)
    }

    /// Returns what becomes of the memory.
    #[inline(always)]
    #[must_use]
    pub const fn verb(&self) -> Verb {
        let [_, terms, _] = self.entry.words;
        match terms >> 4 & 0xf {
            0 => Verb::Share,
            1 => Verb::Lend,
            _ => Verb::Donate,
        }
    }

    /// Returns the memory that is shared, for the peer to hold with `rights`.
    #[inline(always)]
    #[must_use]
    pub fn mem(&self, rights: Rights, flags: Flags) -> MemRef {
        let (id, base) = (self.id(), Pa::of_entry(self.entry.base));
        MemRef { id, base, pages: u64::from(self.entry.pages), rights, flags }
    }

    /// Returns the object.
    #[inline(always)]
    #[must_use]
    pub const fn id(&self) -> MemId {
        Mem(self.entry).id()
    }

    /// Returns the owner's own handle to the object.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the handle is the lower half of its word")]
    pub const fn own(&self) -> Handle {
        let [.., word] = self.entry.words;
        Handle::from_bits(word as u32)
    }

    /// Returns its pages.
    #[inline(always)]
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.entry.pages)
    }

    /// Returns the tag that goes with the offer.
    #[inline(always)]
    #[must_use]
    pub const fn tag(&self) -> u64 {
        let [tag, ..] = self.entry.words;
        tag
    }

    /// Returns the peer, and once it has accepted, its handle.
    #[inline(always)]
    #[must_use]
    pub const fn far(&self) -> Far {
        Far::unpack(self.entry.link)
    }

    /// Sets the peer's handle.
    #[inline(always)]
    pub fn set_far(&mut self, far: Far) {
        self.entry.link = far.pack();
    }

    /// Returns how far a revoke has come: the range that is next, and the page in it.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "each field is masked to its width")]
    pub const fn cursor(&self) -> (u8, u32) {
        let [_, terms, _] = self.entry.words;
        ((terms >> 8) as u8, (terms >> 32) as u32)
    }

    /// Sets how far a revoke has come.
    #[inline(always)]
    pub fn set_cursor(&mut self, (range, page): (u8, u32)) {
        let [_, terms, _] = &mut self.entry.words;
        *terms = *terms & 0xff | u64::from(range) << 8 | u64::from(page) << 32;
    }
}
