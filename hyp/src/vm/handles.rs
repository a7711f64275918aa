//! Handles: a VM's own table of what it holds. Port number = index, so ports have an entry here too.
//!
//! Owns the entries and their generations. Called by `vm::build` and the hypercalls, under the VM's lock. Never touches
//! the objects that entries name.

use strato_abi::handle::{Handle, Kind, Rights};
use zerocopy::FromZeros;

use crate::allocator::MemId;
use crate::arch::page_box::PageSlice;
use crate::arch::ram::Pa;
use crate::arch::{bounded, get_bounded};

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The port of the same index.
    Port,
    /// Memory.
    Mem(MemRef),
    /// The VM in a place, in one incarnation.
    Peer {
        /// Place of the VM.
        place: u8,
        /// Its incarnation.
        incarnation: u32,
    },
}

/// Memory as a handle names it, with what a mapping needs at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemRef {
    /// The object.
    pub id: MemId,
    /// Its first byte.
    pub base: Pa,
    /// Its length in pages.
    pub pages: u64,
    /// What the holder may do with it.
    pub rights: Rights,
}

impl MemRef {
    /// Returns whether physical byte `at` belongs to it.
    #[inline]
    #[must_use]
    pub fn holds(&self, at: Pa) -> bool {
        at.bytes().checked_sub(self.base.bytes()).is_some_and(|offset| offset >> 12 < self.pages)
    }
}

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

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Entry {
    kind: u16,
    generation: u16,
    rights: u16,
    // Mem: index of its name.
    index: u16,
    // Mem: generation of its name. Peer: incarnation.
    id: u64,
    // Mem: first byte. Peer: place.
    base: u64,
    // Mem: pages.
    pages: u64,
}

/// A VM's table of handles.
pub struct HandleTable {
    entries: PageSlice<Entry>,
}

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

impl HandleTable {
    /// Returns the table of all entries that fit into `pages`; all are free.
    pub fn new(pages: crate::arch::ram::Pages) -> Self {
        Self { entries: PageSlice::zeroed(pages) }
    }

    /// Gives up the table's pages.
    pub fn into_pages(self) -> crate::arch::ram::Pages {
        self.entries.into_pages()
    }

    /// Puts `object` into the first free entry below `limit` that `may_use` accepts, and returns its handle.
    ///
    /// Entry 0 is never used for the first time with generation 0, so that the handle 0 names nothing.
    ///
    /// # Errors
    /// [`HandleError::Full`] with `limit`.
    pub fn insert(&mut self, object: Object, limit: u16, may_use: impl Fn(u16) -> bool) -> Result<Handle, HandleError> {
        for (index, entry) in (0..limit).zip(self.entries.iter_mut()) {
            if entry.kind != 0 || !may_use(index) {
                continue;
            }
            let generation = entry.generation.wrapping_add(1).max(1);
            *entry = match object {
                Object::Port => {
                    Entry { kind: Kind::Port as u16, generation, rights: 0, index: 0, id: 0, base: 0, pages: 0 }
                }
                Object::Mem(mem) => {
                    let (index, id) = mem.id.to_parts();
                    let (rights, base) = (mem.rights.bits(), mem.base.bytes());
                    Entry { kind: Kind::Mem as u16, generation, rights, index, id, base, pages: mem.pages }
                }
                Object::Peer { place, incarnation } => Entry {
                    kind: Kind::Peer as u16,
                    generation,
                    rights: 0,
                    index: 0,
                    id: u64::from(incarnation),
                    base: u64::from(place),
                    pages: 0,
                },
            };
            return Ok(Handle::new(index, generation));
        }
        Err(HandleError::Full(u64::from(limit)))
    }

    fn entry(&self, handle: Handle) -> Result<&Entry, HandleError> {
        let entry = get_bounded(&self.entries, usize::from(handle.index())).ok_or(HandleError::Bad)?;
        match entry.kind {
            _ if handle.generation() == 0 => Err(HandleError::Bad),
            0 if entry.generation == 0 => Err(HandleError::Bad),
            0 => Err(HandleError::Stale),
            _ if entry.generation != handle.generation() => Err(HandleError::Stale),
            _ => Ok(entry),
        }
    }

    /// Returns the memory that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn mem(&self, handle: Handle) -> Result<MemRef, HandleError> {
        let entry = self.entry(handle)?;
        if entry.kind != Kind::Mem as u16 {
            return Err(HandleError::WrongKind);
        }
        Self::mem_of(entry).ok_or(HandleError::WrongKind)
    }

    fn mem_of(entry: &Entry) -> Option<MemRef> {
        let id = MemId::from_parts(entry.index, entry.id);
        let rights = Rights::from_bits_truncate(entry.rights);
        Some(MemRef { id, base: Pa::new(entry.base)?, pages: entry.pages, rights })
    }

    /// Returns place and incarnation of the VM that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn peer(&self, handle: Handle) -> Result<(u8, u32), HandleError> {
        let entry = self.entry(handle)?;
        if entry.kind != Kind::Peer as u16 {
            return Err(HandleError::WrongKind);
        }
        let place = u8::try_from(entry.base).map_err(|_| HandleError::Bad)?;
        Ok((place, u32::try_from(entry.id).map_err(|_| HandleError::Bad)?))
    }

    /// Checks that `handle` names a port.
    ///
    /// # Errors
    /// [`HandleError`] when it does not.
    pub fn port(&self, handle: Handle) -> Result<u16, HandleError> {
        let entry = self.entry(handle)?;
        let index = bounded(usize::from(handle.index()), self.entries.len());
        let index = u16::try_from(index).map_err(|_| HandleError::Bad)?;
        if entry.kind == Kind::Port as u16 { Ok(index) } else { Err(HandleError::WrongKind) }
    }

    /// Frees the entry of a handle that was checked; its generation is over.
    pub fn remove(&mut self, handle: Handle) {
        if let Some(entry) = self.entries.get_mut(usize::from(handle.index())) {
            *entry = Entry { kind: 0, generation: entry.generation, rights: 0, index: 0, id: 0, base: 0, pages: 0 };
        }
    }

    /// Returns the handle and the memory of the entry whose object holds physical byte `at`. Time grows with the table.
    #[must_use]
    pub fn find_mem(&self, at: Pa) -> Option<(Handle, MemRef)> {
        (0u16..).zip(self.entries.iter()).filter(|(_, entry)| entry.kind == Kind::Mem as u16).find_map(
            |(index, entry)| {
                let mem = Self::mem_of(entry)?;
                mem.holds(at).then_some((Handle::new(index, entry.generation), mem))
            },
        )
    }

    /// Takes the memory out of the first entry at or after `from` that names some: for giving everything back.
    pub fn take_mem(&mut self, from: usize) -> Option<(usize, MemRef)> {
        let (index, entry) =
            self.entries.iter_mut().enumerate().skip(from).find(|(_, entry)| entry.kind == Kind::Mem as u16)?;
        let mem = Self::mem_of(entry)?;
        entry.kind = 0;
        Some((index, mem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::backing;
    use std::mem::ManuallyDrop;

    fn table() -> ManuallyDrop<HandleTable> {
        ManuallyDrop::new(HandleTable::new(backing::ram(1, 1)))
    }

    const PEER: Object = Object::Peer { place: 3, incarnation: 9 };

    #[test]
    fn the_handle_zero_names_nothing() {
        let mut table = table();
        assert_eq!(table.peer(Handle::from_bits(0)), Err(HandleError::Bad));
        let first = table.insert(PEER, 4, |_| true).unwrap();
        assert_eq!(first, Handle::new(0, 1));
        assert_eq!(table.peer(Handle::from_bits(0)), Err(HandleError::Bad));
    }

    #[test]
    fn a_handle_of_another_kind_is_refused() {
        let mut table = table();
        let peer = table.insert(PEER, 4, |_| true).unwrap();
        assert_eq!(table.peer(peer), Ok((3, 9)));
        assert_eq!(table.port(peer), Err(HandleError::WrongKind));
        assert_eq!(table.mem(peer), Err(HandleError::WrongKind));
    }

    #[test]
    fn a_handle_is_stale_once_its_entry_was_freed_and_stays_so_when_it_is_used_again() {
        let mut table = table();
        let old = table.insert(PEER, 1, |_| true).unwrap();
        table.remove(old);
        assert_eq!(table.peer(old), Err(HandleError::Stale));
        let new = table.insert(Object::Port, 1, |_| true).unwrap();
        assert_eq!(table.port(old), Err(HandleError::Stale));
        assert_eq!((new.index(), new.generation()), (0, 2));
        assert_eq!(table.peer(Handle::new(0, 3)), Err(HandleError::Stale));
        assert_eq!(table.peer(Handle::new(200, 1)), Err(HandleError::Bad));
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut table = table();
        table.insert(PEER, 2, |_| true).unwrap();
        table.insert(PEER, 2, |_| true).unwrap();
        assert_eq!(table.insert(PEER, 2, |_| true), Err(HandleError::Full(2)));
    }
}
