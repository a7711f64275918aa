//! Handles: a VM's own table of what it holds. Port number = index, so ports have an entry here too.
//!
//! Owns the entries and their generations. Called by `vm` and the hypercalls, under the VM's lock. Never touches the
//! objects that entries name.

use strato_abi::AddressSpaceHandle;
use strato_abi::handle::{Handle, Kind};
use strato_abi::share::Steps;

use super::entry::Entry;
pub use super::entry::{Far, Flags, MemRef, Object, ShareRef};
use super::index_set::IndexSet;
pub use super::ranges::{Range, Ranges};
use super::spaces::FIRST;
pub use super::view::{Borrowed, Mem, Share};
use crate::allocator::MemId;
use crate::arch::page_box::PageSlice;
use crate::arch::ram::{Pa, Pages};
use crate::arch::{bounded, get_bounded};

/// Why a handle is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// No entry of that index is in use.
    Bad,
    /// The entry is of another generation.
    Stale,
    /// The entry names something else.
    WrongKind,
    /// No entry is free; how many there are.
    Full(u64),
}

/// A VM's table of handles.
pub struct HandleTable {
    pub(super) entries: PageSlice<Entry>,
    // Which entries are borrowed memory, shares, peers: so that these are found without a look at every entry.
    borrowed: IndexSet,
    borrowed_count: u16,
    pub(super) shares: IndexSet,
    peers: IndexSet,
    // Which are in use or kept, so that a free one is found in a few steps.
    used: IndexSet,
    // The one that an object under way will get.
    kept: Option<u16>,
}

/// What the first address space is called, without an entry: so it costs none.
const FIRST_SPACE: Handle = AddressSpaceHandle::FIRST.0;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

impl HandleTable {
    /// Returns the table of all entries that fit into `pages`; all are free.
    pub fn new(pages: Pages) -> Self {
        let [borrowed, shares, peers, used] = [const { IndexSet::new() }; 4];
        let entries = PageSlice::zeroed(pages);
        Self { entries, borrowed, borrowed_count: 0, shares, peers, used, kept: None }
    }

    /// Gives up the table's pages.
    pub fn into_pages(self) -> Pages {
        self.entries.into_pages()
    }

    /// Puts `object` into the first free entry below `limit`, and returns its handle.
    ///
    /// Entry 0 is never used for the first time with generation 0, so that the handle 0 names nothing.
    ///
    /// # Errors
    /// [`HandleError::Full`] with `limit`.
    #[inline(always)]
    pub fn insert(&mut self, object: Object, limit: u16) -> Result<Handle, HandleError> {
        let index = self.find_free(limit)?;
        self.insert_at(index, object).ok_or(HandleError::Full(u64::from(limit)))
    }

    /// Does the same with the first free entry that `may_use` accepts.
    ///
    /// # Errors
    /// [`HandleError::Full`] with `limit`.
    pub fn insert_where(
        &mut self,
        object: Object,
        limit: u16,
        may_use: impl Fn(u16) -> bool,
    ) -> Result<Handle, HandleError> {
        let full = HandleError::Full(u64::from(limit));
        let index = self.used.others(limit).find(|&index| may_use(index)).ok_or(full)?;
        self.insert_at(index, object).ok_or(full)
    }

    /// Returns the first free entry below `limit`, for [`HandleTable::insert_at`] or [`HandleTable::keep`].
    ///
    /// # Errors
    /// [`HandleError::Full`] with `limit`.
    #[inline]
    pub fn find_free(&self, limit: u16) -> Result<u16, HandleError> {
        self.used.first_other(limit).ok_or(HandleError::Full(u64::from(limit)))
    }

    /// Puts `object` into entry `index`, which [`HandleTable::find_free`] found, and returns its handle; `None` when there is
    /// no such entry.
    #[inline(always)]
    pub fn insert_at(&mut self, index: u16, object: Object) -> Option<Handle> {
        let entry = self.entries.get_mut(usize::from(index))?;
        let generation = entry.generation.wrapping_add(1).max(1);
        *entry = Entry::new(object, generation);
        self.used.set(index, true);
        match object {
            Object::Borrowed(..) => {
                self.borrowed.set(index, true);
                self.borrowed_count = self.borrowed_count.wrapping_add(1);
            }
            Object::Share(_) => self.shares.set(index, true),
            Object::Peer { .. } => self.peers.set(index, true),
            Object::Port | Object::Mem(_) | Object::Space(_) => {}
        }
        Some(Handle::new(index, generation))
    }

    /// Keeps the free entry `index` for the object that [`HandleTable::insert_kept`] brings.
    pub fn keep(&mut self, index: u16) {
        self.kept = Some(index);
        self.used.set(index, true);
    }

    /// Keeps no entry any more.
    pub fn keep_none(&mut self) {
        if let Some(index) = self.kept.take() {
            self.used.set(index, false);
        }
    }

    /// Puts `object` into the entry that was kept for it and returns its handle, or `None` when none was.
    pub fn insert_kept(&mut self, object: Object) -> Option<Handle> {
        let index = self.kept.take()?;
        self.insert_at(index, object)
    }

    fn entry(&self, handle: Handle) -> Result<&Entry, HandleError> {
        let entry = get_bounded(&self.entries, usize::from(handle.index())).ok_or_else(|| past_end(handle))?;
        match entry.kind {
            _ if handle.generation() == 0 => Err(HandleError::Bad),
            0 if entry.generation == 0 => Err(HandleError::Bad),
            0 => Err(HandleError::Stale),
            _ if entry.generation != handle.generation() => Err(HandleError::Stale),
            _ => Ok(entry),
        }
    }

    pub(super) fn at(&self, index: u16) -> Option<&Entry> {
        self.entries.get(usize::from(index)).filter(|entry| entry.kind != 0)
    }

    pub(super) fn at_mut(&mut self, index: u16) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(index)).filter(|entry| entry.kind != 0)
    }

    /// Returns what kind of object `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn kind(&self, handle: Handle) -> Result<Kind, HandleError> {
        if handle == FIRST_SPACE {
            return Ok(Kind::AddressSpace);
        }
        Kind::from_u16(u16::from(self.entry(handle)?.kind)).ok_or(HandleError::Bad)
    }

    /// Returns the memory that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn mem(&self, handle: Handle) -> Result<MemRef, HandleError> {
        self.entry(handle)?.mem().ok_or(HandleError::WrongKind)
    }

    /// Returns the share that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn share(&self, handle: Handle) -> Result<ShareRef, HandleError> {
        self.entry(handle)?.share().ok_or(HandleError::WrongKind)
    }

    /// Returns the slot of the address space that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn space(&self, handle: Handle) -> Result<u8, HandleError> {
        if handle == FIRST_SPACE {
            return Ok(FIRST);
        }
        self.entry(handle)?.space().ok_or(HandleError::WrongKind)
    }

    /// Returns the VM that `handle` names, without an index.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    #[inline(always)]
    pub fn peer(&self, handle: Handle) -> Result<Far, HandleError> {
        match get_bounded(&self.entries, usize::from(handle.index())) {
            Some(entry) if entry.is_exactly(handle, Kind::Peer, Flags::empty()) => Ok(Far::unpack(entry.link)),
            _ => Err(self.no_peer(handle)),
        }
    }

    #[cold]
    #[inline(never)]
    fn no_peer(&self, handle: Handle) -> HandleError {
        self.entry(handle).err().unwrap_or(HandleError::WrongKind)
    }

    /// Checks that `handle` names a port.
    ///
    /// # Errors
    /// [`HandleError`] when it does not.
    pub fn port(&self, handle: Handle) -> Result<u16, HandleError> {
        let entry = self.entry(handle)?;
        let index = bounded(usize::from(handle.index()), self.entries.len());
        let index = u16::try_from(index).map_err(|_| HandleError::Bad)?;
        if entry.is(Kind::Port) { Ok(index) } else { Err(HandleError::WrongKind) }
    }

    /// Returns the entry at the other end of a share or of borrowed memory; of a peer its place, without an index.
    #[must_use]
    pub fn far(&self, index: u16) -> Option<Far> {
        self.at(index)?.far()
    }

    /// Returns the memory of the entry of number `index`, whatever its generation.
    #[must_use]
    pub fn mem_at(&self, index: u16) -> Option<MemRef> {
        self.at(index)?.mem()
    }

    /// Returns the share of the entry of number `index`, with its handle.
    #[must_use]
    pub fn share_at(&self, index: u16) -> Option<(Handle, ShareRef)> {
        let entry = self.at(index)?;
        Some((Handle::new(index, entry.generation), entry.share()?))
    }

    /// Frees the entry of a handle that was checked; its generation is over.
    pub fn remove(&mut self, handle: Handle) {
        let index = handle.index();
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return };
        if entry.is_borrowed() {
            self.borrowed.set(index, false);
            self.borrowed_count = self.borrowed_count.wrapping_sub(1);
        } else if entry.is(Kind::Share) {
            self.shares.set(index, false);
        } else if entry.is(Kind::Peer) {
            self.peers.set(index, false);
        }
        self.used.set(index, false);
        entry.kind = 0; // whoever uses it next writes all of it
    }

    /// Replaces what a handle to memory names: its part, its rights, how it stands. A binding and ranges stay.
    pub fn set_mem(&mut self, index: u16, mem: &MemRef) {
        if let Some(entry) = self.at_mut(index).filter(|entry| entry.is(Kind::Mem)) {
            *entry = entry.with_mem(mem);
        }
    }

    /// Adds `set` to the flags of a handle to memory and takes `cleared` away.
    pub fn flag(&mut self, index: u16, set: Flags, cleared: Flags) {
        if let Some(entry) = self.at_mut(index).filter(|entry| entry.is(Kind::Mem)) {
            entry.flags = ((Flags::from_bits_truncate(entry.flags) | set) - cleared).bits();
        }
    }

    /// Binds `port` to what happens to the object of entry `index`: the steps of `steps`.
    #[allow(clippy::cast_possible_truncation, reason = "six bits are defined")]
    pub fn bind(&mut self, index: u16, port: Handle, steps: Steps) {
        if let Some(entry) = self.at_mut(index) {
            (entry.port, entry.steps) = if steps.is_empty() { (0, 0) } else { (port.bits(), steps.bits() as u8) };
        }
    }

    /// Returns the port that is raised when `step` happens to the object of entry `index`.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self, index: u16, step: Steps) -> Option<Handle> {
        let entry = self.at(index)?;
        let is_bound = Steps::from_bits_truncate(u64::from(entry.steps)).contains(step);
        is_bound.then(|| Handle::from_bits(entry.port))
    }

    /// Returns the addresses at which the borrowed memory of entry `index` may be mapped.
    #[must_use]
    pub fn ranges(&self, index: u16) -> Ranges {
        self.at(index).filter(|entry| entry.is_borrowed()).map_or(Ranges::default(), Entry::ranges)
    }

    /// Sets the addresses at which the borrowed memory of entry `index` may be mapped.
    pub fn set_ranges(&mut self, index: u16, ranges: Ranges) {
        if let Some(entry) = self.at_mut(index) {
            entry.set_ranges(ranges);
        }
    }

    /// Returns whether the VM has borrowed memory.
    #[inline(always)]
    #[must_use]
    pub const fn has_borrowed(&self) -> bool {
        self.borrowed_count != 0
    }

    /// Takes pages that were just unmapped out of the ranges of all borrowed memory. Costs nothing in a VM without any.
    #[inline(always)]
    pub fn trim(&mut self, gone: Range) {
        if self.borrowed_count != 0 {
            self.trim_all(gone);
        }
    }

    #[cold]
    fn trim_all(&mut self, gone: Range) {
        for index in self.borrowed.iter() {
            let Some(entry) = self.entries.get_mut(usize::from(index)) else { continue };
            // A revoke that is under way counts how far in the ranges it has come.
            if Flags::from_bits_truncate(entry.flags) & (Flags::REVOKED | Flags::OVER) != Flags::REVOKED {
                entry.set_ranges(entry.ranges().without(gone));
            }
        }
    }

    /// Returns whether memory that a VM has borrowed was mapped on page `page` of a space until its owner took it back.
    #[must_use]
    #[inline(always)]
    pub fn was_revoked(&self, space: u8, page: u64) -> bool {
        self.borrowed_count != 0 && self.any_revoked(space, page)
    }

    #[inline(never)]
    fn any_revoked(&self, space: u8, page: u64) -> bool {
        let is_revoked = |entry: &Entry| Flags::from_bits_truncate(entry.flags).contains(Flags::REVOKED);
        let is_there = |entry: &Entry| is_revoked(entry) && entry.ranges().contains(space, page);
        self.borrowed.iter().any(|index| self.at(index).is_some_and(is_there))
    }

    /// Returns the entries that are borrowed memory.
    pub fn borrowed(&self) -> impl Iterator<Item = u16> {
        self.borrowed.iter()
    }

    /// Returns the entries that are shares.
    pub fn shares(&self) -> impl Iterator<Item = u16> {
        self.shares.iter()
    }

    /// Returns the entries that are peers.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        self.peers.iter()
    }

    /// Returns the handle and the memory of the entry that names a part of the object `id` with physical byte `at` in it. Looks
    /// at one word of every entry below `limit` at most: a few thousand instructions for the largest table.
    #[must_use]
    pub fn find_mem(&self, id: MemId, at: Pa, limit: u16) -> Option<(Handle, MemRef)> {
        for (index, entry) in (0..limit).zip(self.entries.iter()) {
            if entry.may_name(id)
                && let Some(mem) = entry.mem()
                && mem.id == id
                && !mem.flags.contains(Flags::OVER)
                && at.bytes().wrapping_sub(mem.base.bytes()) >> 12 < mem.pages
            {
                return Some((Handle::new(index, entry.generation), mem));
            }
        }
        None
    }

    /// Returns the first entry at or after `from` that names memory: for giving everything back.
    #[must_use]
    pub fn next_mem(&self, from: u16) -> Option<(Handle, MemRef)> {
        (0u16..)
            .zip(self.entries.iter())
            .skip(usize::from(from))
            .find_map(|(index, entry)| Some((Handle::new(index, entry.generation), entry.mem()?)))
    }
}

/// Returns why a handle whose index is past the end of the table names none of its entries.
#[cold]
fn past_end(handle: Handle) -> HandleError {
    if handle == FIRST_SPACE { HandleError::WrongKind } else { HandleError::Bad }
}

#[cfg(test)]
#[path = "handles_tests.rs"]
mod tests;
