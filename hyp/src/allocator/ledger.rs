//! Ledger: an entry of 32 bytes for each extent, and the way from an extent's first frame to its entry. Grows by frames of
//! the pool, and is not given back. Called by the allocator only; holds no policy.

use crate::arch::page_box::{PageBox, PageSlice};
use crate::arch::ram::{FRAME_SIZE, Pa, Pages};
use crate::arch::shared::PagesSlot;

use super::MAX_ORDER;

/// No entry: entry 0 is never used.
pub(super) const NONE: u16 = 0;

/// Whom an extent belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody: it is free, or holds the ledger.
    Pool,
    /// The hypervisor itself.
    Hypervisor,
    /// The VM of this number.
    Vm(u16),
}

/// What an extent is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Nothing.
    Free,
    /// Entries of the ledger.
    Ledger,
    /// A translation table.
    Table,
    /// Structures of the hypervisor: a VM, a vCPU, pages that it shows to a guest.
    Object,
    /// Memory that guests map.
    Mem,
}

/// Where an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    /// It stands for no extent.
    Vacant,
    /// Its frames are in the pool, in the entry's slot.
    Free,
    /// Its frames are in use: elsewhere, or in the slot if they are a Mem object.
    Taken,
}

/// One extent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: PagesSlot,
    /// How many Mem objects the entry has been: with the index a name that is never used twice.
    pub(super) generation: u64,
    /// Mem: pages mapped in all address spaces together.
    pub(super) mapped: u32,
    /// Mem: handles held by VMs.
    pub(super) references: u16,
    pub(super) owner: Owner,
    /// Free or vacant: the next one of its list. Taken: by which name it was promised, plus one; see `kept`.
    pub(super) next: u16,
    pub(super) previous: u16,
    pub(super) kind: Kind,
    pub(super) state: State,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    pub(super) const fn vacant(generation: u64) -> Self {
        Self {
            slot: PagesSlot::EMPTY,
            owner: Owner::Pool,
            generation,
            mapped: 0,
            references: 0,
            next: NONE,
            previous: NONE,
            kind: Kind::Free,
            state: State::Vacant,
        }
    }
}

impl Entry {
    /// Returns which page of the extent `pa` lies in, if it does.
    #[inline(always)]
    pub(super) fn page_of(&self, pa: Pa) -> Option<u64> {
        let page = pa.frame().wrapping_sub(self.slot.base().frame());
        (self.state != State::Vacant && page >> self.slot.order() == 0).then_some(page)
    }
}

const CHUNK: usize = 128;
const CHUNKS: usize = 512;
type Chunk = [Entry; CHUNK];

const _: () = assert!(CHUNK * CHUNKS == 1 << u16::BITS && PageBox::<Chunk>::PAGES == 1);

/// The entries, and the index of their first frames.
pub(super) struct Ledger {
    chunks: PageBox<[Option<PageBox<Chunk>>; CHUNKS]>,
    chunk_count: usize,
    /// List of vacant entries by `next`.
    vacant_head: u16,
    vacant_count: usize,
    /// For each frame from `first_frame` on: the entry of the extent that it starts. Only a hint: the entry tells whether
    /// it is true, so that nothing needs to be cleared.
    index: PageSlice<u16>,
    first_frame: u64,
}

impl Ledger {
    /// Frames that the ledger needs besides its index: the directory of chunks, and the first chunk.
    pub(super) const FIXED_PAGES: usize = 2;
    /// Vacant entries below which the ledger grows: enough for the splits of a take and of the growth itself.
    pub(super) const RESERVE: usize = 2 * (MAX_ORDER as usize + 1);

    /// Returns the ledger in `pages`: two fixed frames, the rest for the index of the frames from `first_frame` on.
    pub(super) fn new(pages: Pages, first_frame: u64) -> Result<Self, Pages> {
        let (fixed, index) = pages.split_at(Self::FIXED_PAGES)?;
        let (directory, chunk) = match fixed.split_at(1) {
            Ok(parts) => parts,
            Err(fixed) => return Err(rejoin(fixed, index)),
        };
        let chunks = match PageBox::from_fn(directory, |_| None) {
            Ok(chunks) => chunks,
            Err(directory) => return Err(rejoin(rejoin(directory, chunk), index)),
        };
        let index = PageSlice::zeroed(index);
        let mut ledger = Self { chunks, chunk_count: 0, vacant_head: NONE, vacant_count: 0, index, first_frame };
        ledger.grow(chunk);
        Ok(ledger)
    }

    /// Returns what [`Ledger::new`] was given: the first byte, and the number of frames.
    pub(super) fn first_frames(&self) -> (Pa, u64) {
        let index = size_of_val(&*self.index).div_ceil(FRAME_SIZE);
        (self.chunks.pa(), Self::FIXED_PAGES.saturating_add(index) as u64)
    }

    /// Adds the entries that one more frame holds.
    pub(super) fn grow(&mut self, frame: Pages) {
        let place = self.chunk_count;
        let Some(slot) = self.chunks.get_mut(place) else { unreachable!("asked before: is_complete") };
        let Ok(chunk) = PageBox::from_fn(frame, |_| Entry::vacant(0)) else { unreachable!("a chunk is one frame") };
        *slot = Some(chunk);
        self.chunk_count = place.saturating_add(1);
        for entry in (0..CHUNK).rev() {
            match u16::try_from(place.saturating_mul(CHUNK).saturating_add(entry)) {
                Ok(NONE) | Err(_) => {}
                Ok(index) => self.push_vacant(index),
            }
        }
    }

    /// Returns whether there can be no more entries than there are.
    pub(super) const fn is_complete(&self) -> bool {
        self.chunk_count == CHUNKS
    }

    /// Returns the number of vacant entries.
    pub(super) const fn vacant(&self) -> usize {
        self.vacant_count
    }

    /// Returns one past the last entry.
    pub(super) const fn end(&self) -> usize {
        self.chunk_count.saturating_mul(CHUNK)
    }

    #[inline(always)]
    pub(super) fn get(&self, index: u16) -> Option<&Entry> {
        let index = usize::from(index);
        if index == 0 {
            return None;
        }
        self.chunks.get(index / CHUNK)?.as_ref()?.get(index % CHUNK)
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Entry> {
        let index = usize::from(index);
        if index == 0 {
            return None;
        }
        self.chunks.get_mut(index / CHUNK)?.as_mut()?.get_mut(index % CHUNK)
    }

    /// Returns the entry of the extent that starts at `base`.
    pub(super) fn find(&self, base: Pa) -> Option<u16> {
        self.find_frame(base.frame())
    }

    /// Returns the entry of the extent that starts with frame number `frame`.
    pub(super) fn find_frame(&self, frame: u64) -> Option<u16> {
        let place = usize::try_from(frame.checked_sub(self.first_frame)?).ok()?;
        let index = *self.index.get(place)?;
        let entry = self.get(index)?;
        (entry.state != State::Vacant && entry.slot.base().frame() == frame).then_some(index)
    }

    /// Returns a vacant entry, from now on that of the extent that starts at `base`. The caller fills it.
    pub(super) fn occupy(&mut self, base: Pa) -> Option<u16> {
        let place = usize::try_from(base.frame().checked_sub(self.first_frame)?).ok()?;
        let index = self.vacant_head;
        let next = self.get(index)?.next;
        *self.index.get_mut(place)? = index;
        self.vacant_head = next;
        self.vacant_count = self.vacant_count.saturating_sub(1);
        Some(index)
    }

    /// Ends what entry `index` stood for.
    pub(super) fn vacate(&mut self, index: u16) {
        if let Some(entry) = self.get_mut(index) {
            *entry = Entry::vacant(entry.generation);
            self.push_vacant(index);
        }
    }

    fn push_vacant(&mut self, index: u16) {
        let head = self.vacant_head;
        if let Some(entry) = self.get_mut(index) {
            entry.next = head;
            self.vacant_head = index;
            self.vacant_count = self.vacant_count.saturating_add(1);
        }
    }
}

/// Returns two parts as the one that they were.
fn rejoin(low: Pages, high: Pages) -> Pages {
    match Pages::join(low, high) {
        Ok(pages) => pages,
        Err(_) => unreachable!("parts of one range stand side by side"),
    }
}
