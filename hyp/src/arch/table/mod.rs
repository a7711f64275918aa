//! Table: frames that the translation table walker reads, and which table owns which.
//!
//! A child table belongs to the entry that points to it: [`Edit::link`] takes the child, [`Edit::unlink`] gives it back.
//! Such an entry carries `CHILD`, a bit that walkers ignore and that only `link` can set, so an entry with the bit is
//! proof of an owned table. Leaves are plain values. Called by `memory::stage2`; never decides what is mapped where.
//!
//! Entries are atomics, since walkers of all cores read them at any time; EL2's own accesses are ordered by the lock of
//! the address space. The order towards walkers (valid, invalid, invalidation, reuse) is [`super::stage2`]'s business;
//! [`super::watch`] checks it on a PC and in checked images.

use core::marker::PhantomData;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

mod counted;
mod row;

pub use counted::Counted;

use super::backing;
use super::ram::{FRAME_SIZE, Pa, Pages};
use super::watch;

/// Entries in a table of the 4 KiB granule.
pub const ENTRIES: usize = 512;

/// Bit 0: the walker uses the entry.
pub const VALID: u64 = 1;
/// Bits 1:0 of an entry that leads to a table (DDI 0487, VMSAv8-64 table descriptor).
const TABLE: u64 = 0b11;
/// Bit 58, ignored in a table descriptor and free for software in a leaf: this entry owns a table.
const CHILD: u64 = 1 << 58;
/// Bits 11:2, ignored in a table descriptor: how many entries of the child are in use.
const COUNT_SHIFT: u32 = 2;
const COUNT_MASK: u64 = 0x3ff << COUNT_SHIFT;

/// What stands in a table, as the walker sees it.
#[repr(C, align(4096))]
struct Entries([AtomicU64; ENTRIES]);

const _: () = assert!(size_of::<Entries>() == FRAME_SIZE);

impl Entries {
    #[inline(always)]
    fn at(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the mask keeps the index below the number of entries.
        unsafe { self.0.get_unchecked(index & (ENTRIES - 1)) }
    }
}

/// A table without a parent: the root of a tree, or one on its way into or out of a tree.
#[must_use = "a table that is dropped loses its frame: use into_pages"]
#[derive(Debug)]
pub struct Table {
    at: NonNull<Entries>,
}

// SAFETY: a table is the only way to its entries and to the tables below it, as a `Box` is.
unsafe impl Send for Table {}
// SAFETY: a shared table gives reads of atomics only.
unsafe impl Sync for Table {}

impl Table {
    /// Returns the empty table in `pages`.
    ///
    /// # Errors
    /// The frames, when they are not exactly one.
    #[inline]
    pub fn new(mut pages: Pages) -> Result<Self, Pages> {
        if pages.count() != 1 {
            return Err(pages);
        }
        pages.scrub(); // no entry may look like an owned child
        let at = pages.pointer().cast();
        pages.dissolve();
        Ok(Self { at })
    }

    /// Returns the physical address of the table.
    #[must_use]
    #[inline]
    pub fn pa(&self) -> Pa {
        backing::address(self.at.as_ptr().cast_const().cast::<u8>())
    }

    /// Returns the table for reading.
    #[must_use]
    #[inline]
    pub fn look(&self) -> Look<'_> {
        // SAFETY: `new` placed the entries in a frame that this table owns.
        Look(unsafe { self.at.as_ref() })
    }

    /// Returns the table for changes.
    #[must_use]
    #[inline]
    pub fn edit(&mut self) -> Edit<'_> {
        // SAFETY: as in `look`. A shared reference although `self` is borrowed alone: walkers read the entries, so the
        // compiler must not believe that nobody does.
        Edit(unsafe { self.at.as_ref() }, PhantomData)
    }

    /// Returns the frame. Tables still linked below are lost; `memory::stage2` takes them out first.
    ///
    /// No walker can reach the table: it was unlinked (or was a root in no core's VTTBR_EL2), and the invalidation is
    /// complete.
    pub fn into_pages(self) -> Pages {
        watch::freed(self.pa());
        // SAFETY: `new` dissolved the owner of exactly this frame, and the table ends here.
        unsafe { Pages::revive(self.pa(), NonZeroUsize::MIN, false) }
    }
}

/// A table that is read; it may change under a look only through the same borrow rules as any value.
#[derive(Clone, Copy)]
pub struct Look<'a>(&'a Entries);

impl<'a> Look<'a> {
    /// Returns entry `index` (modulo [`ENTRIES`]) as the walker sees it.
    #[must_use]
    #[inline]
    pub fn entry(self, index: usize) -> u64 {
        self.0.at(index).load(Ordering::Relaxed)
    }

    /// Returns the table that entry `index` owns, if it owns one.
    #[must_use]
    #[inline]
    pub fn child(self, index: usize) -> Option<Look<'a>> {
        child(self.0, index).map(Look)
    }
}

/// A table that is changed.
pub struct Edit<'a>(&'a Entries, PhantomData<&'a mut Entries>);

impl<'a> Edit<'a> {
    /// Returns the table for reading.
    #[must_use]
    #[inline]
    pub fn look(&self) -> Look<'_> {
        Look(self.0)
    }

    /// Returns entry `index` (modulo [`ENTRIES`]) as the walker sees it.
    #[must_use]
    #[inline]
    pub fn entry(&self, index: usize) -> u64 {
        self.look().entry(index)
    }

    /// Returns the table that entry `index` owns, for changes.
    #[must_use]
    #[inline]
    pub fn child(&mut self, index: usize) -> Option<Edit<'_>> {
        child(self.0, index).map(|entries| Edit(entries, PhantomData))
    }

    /// Returns the same as [`Edit::child`] and gives this table up, for a walk downwards.
    #[must_use]
    #[inline]
    pub fn into_child(self, index: usize) -> Option<Edit<'a>> {
        child(self.0, index).map(|entries| Edit(entries, PhantomData))
    }

    /// Returns the table that entry `index` owns, for changes, with the count of its used entries; gives this table up.
    #[must_use]
    #[inline(always)]
    pub fn into_counted(self, index: usize) -> Option<Counted<'a>> {
        Counted::new(self, index)
    }

    /// Writes entry `index`: a leaf, or 0. The entry must not own a table: that would be lost.
    #[inline]
    pub fn set_leaf(&mut self, index: usize, leaf: u64) {
        debug_assert!(!owns(self.entry(index)), "a leaf over an owned table");
        self.store(index, leaf & !CHILD, Ordering::Relaxed);
    }

    /// Makes entry `index` own and lead to `child`, `used` of whose entries are in use. What was written to the child
    /// before is seen by every walker that sees the link.
    ///
    /// # Errors
    /// The child, when the entry is in use.
    #[inline]
    pub fn link(&mut self, index: usize, child: Table, used: usize) -> Result<(), Table> {
        if self.entry(index) != 0 {
            return Err(child);
        }
        watch::linked(address(self.0), index, child.pa());
        self.store(index, child.pa().bytes() | CHILD | TABLE | count_bits(used), Ordering::Release);
        Ok(())
    }

    /// Returns the table that entry `index` owned; the entry is 0 afterwards. Walkers may use the table until the
    /// invalidation is complete.
    #[inline]
    pub fn unlink(&mut self, index: usize) -> Option<Table> {
        let at = NonNull::from(child(self.0, index)?);
        self.store(index, 0, Ordering::Relaxed);
        let table = Table { at };
        watch::unlinked(table.pa());
        Some(table)
    }

    /// Hides the table that entry `index` owns from walkers; it stays owned. Does nothing to other entries.
    #[inline]
    pub fn hide(&mut self, index: usize) {
        let entry = self.entry(index);
        if owns(entry) {
            self.store(index, entry & !VALID, Ordering::Relaxed);
        }
    }

    /// Returns how many entries of the table that entry `index` owns are in use; 0 if it owns none.
    #[must_use]
    #[inline]
    pub fn used(&self, index: usize) -> usize {
        used(self.entry(index))
    }

    /// Counts `more` entries of the table that entry `index` owns as in use. Walkers ignore the number, so no
    /// invalidation is due.
    #[inline]
    pub fn add_used(&mut self, index: usize, more: usize) {
        let entry = self.entry(index);
        self.set_count(index, entry, (entry >> COUNT_SHIFT).wrapping_add(more as u64));
    }

    /// Counts `less` entries of the table that entry `index` owns as no longer in use.
    #[inline]
    pub fn sub_used(&mut self, index: usize, less: usize) {
        let entry = self.entry(index);
        self.set_count(index, entry, (entry >> COUNT_SHIFT).wrapping_sub(less as u64));
    }

    #[inline(always)]
    fn set_count(&mut self, index: usize, entry: u64, count: u64) {
        if owns(entry) {
            self.store(index, entry & !COUNT_MASK | count << COUNT_SHIFT & COUNT_MASK, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn store(&mut self, index: usize, entry: u64, order: Ordering) {
        watch::written(address(self.0), index & (ENTRIES - 1), self.0.at(index), entry);
        self.0.at(index).store(entry, order);
    }
}

/// Returns whether an entry owns a table.
#[must_use]
#[inline]
pub const fn owns(entry: u64) -> bool {
    entry & CHILD != 0
}

/// Returns how many entries of the owned table are in use, as its parent's entry tells; 0 for other entries.
#[must_use]
#[inline]
pub const fn used(entry: u64) -> usize {
    if owns(entry) { ((entry & COUNT_MASK) >> COUNT_SHIFT) as usize } else { 0 }
}

#[inline]
const fn count_bits(used: usize) -> u64 {
    ((used as u64) << COUNT_SHIFT) & COUNT_MASK
}

#[inline(always)]
fn child(entries: &Entries, index: usize) -> Option<&Entries> {
    child_of(entries.at(index).load(Ordering::Relaxed))
}

/// Returns the table that an entry with these bits owns. The caller's borrow of the entry bounds the result.
#[inline(always)]
fn child_of<'a>(entry: u64) -> Option<&'a Entries> {
    if !owns(entry) {
        return None;
    }
    // SAFETY: only `link` sets CHILD, with the address of a table it took; `unlink` clears the entry when it leaves. The
    // borrow of the parent holds the entry as it is.
    Some(unsafe { &*backing::pointer(Pa::of_entry(entry)).cast_const().cast::<Entries>() })
}

#[inline(always)]
fn address(entries: &Entries) -> Pa {
    backing::address(core::ptr::from_ref(entries).cast::<u8>())
}
