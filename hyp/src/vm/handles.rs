//! Handles: a VM's own table of what it holds. Port number = index, so ports have an entry here too.
//!
//! Owns the entries and their generations. Called by `vm` and the hypercalls, under the VM's lock. Never touches the
//! objects that entries name.

use strato_abi::AddressSpaceHandle;
use strato_abi::handle::{Handle, Kind};
use strato_abi::share::ShareState;

mod again;
mod found;
mod kept;

use super::entry::Entry;
pub use super::entry::{DeviceRef, Far, Flags, MemRef, Object, SchedRef, ShareRef};
use super::index_set::{CountedSet, IndexSet};
pub use super::ranges::{Range, Ranges};
use super::spaces::FIRST;
pub use super::view::{Borrowed, Mem, Share};
use crate::arch::page_box::PageSlice;
use crate::arch::ram::Pages;
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
    // Which entries are borrowed memory that has ranges, shares, of those the ones that nobody has accepted, peers: so that these
    // are found without a look at every entry.
    pub(super) mapped: CountedSet,
    shares: IndexSet,
    pub(super) offers: CountedSet,
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

/// Free entries that one search looks at.
const CANDIDATES: usize = 16;

impl HandleTable {
    /// Returns the table of all entries that fit into `pages`; all are free.
    pub fn new(pages: Pages) -> Self {
        let [mapped, offers] = [const { CountedSet::new() }; 2];
        let [shares, peers, used] = [const { IndexSet::new() }; 3];
        Self { entries: PageSlice::zeroed(pages), mapped, shares, offers, peers, used, kept: None }
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

    /// Does the same with the first of the first `CANDIDATES` free entries that `may_use` accepts: in a call, whose time is bounded, it
    /// looks no further.
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
        let index = self.used.others(limit).take(CANDIDATES).find(|&index| may_use(index)).ok_or(full)?;
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
        // A free entry is in no set; borrowed memory comes into one with its first range.
        match object {
            Object::Share(share) => {
                self.shares.set(index, true);
                self.offers.set(index, is_open(&share));
            }
            Object::Peer { .. } => self.peers.set(index, true),
            Object::Port | Object::Mem(_) | Object::Borrowed(..) | Object::Space(_) => {}
            Object::Irq(_) | Object::Device(_) | Object::Sched(_) => {}
        }
        Some(Handle::new(index, generation))
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
    #[inline]
    pub fn remove(&mut self, handle: Handle) {
        let index = handle.index();
        let Some(entry) = self.entries.get_mut(usize::from(index)) else { return };
        if entry.is_borrowed() {
            self.mapped.set(index, false);
        } else if entry.is(Kind::Share) {
            self.shares.set(index, false);
            self.offers.set(index, false);
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
}

/// Returns whether nobody has accepted `share`.
const fn is_open(share: &ShareRef) -> bool {
    matches!(share.state, ShareState::Offered)
}

/// Returns why a handle whose index is past the end of the table names none of its entries.
#[cold]
fn past_end(handle: Handle) -> HandleError {
    if handle == FIRST_SPACE { HandleError::WrongKind } else { HandleError::Bad }
}

#[cfg(test)]
#[path = "handles_tests.rs"]
mod tests;
