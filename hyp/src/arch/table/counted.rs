//! Counted: a table that is changed together with the entry of its parent, which counts how many of its entries are in use.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{CHILD, COUNT_MASK, COUNT_SHIFT, ENTRIES, Edit, Entries, address, child_of, watch};

/// A table and the entry that leads to it.
pub struct Counted<'a> {
    parent: Edit<'a>,
    index: usize,
    /// The parent's entry, which changes by the functions below alone.
    entry: u64,
    child: &'a Entries,
}

impl<'a> Counted<'a> {
    #[inline(always)]
    pub(super) fn new(parent: Edit<'a>, index: usize) -> Option<Self> {
        let entry = parent.entry(index);
        let child = child_of(entry)?;
        Some(Self { parent, index, entry, child })
    }

    /// Returns how many entries are in use.
    #[must_use]
    #[inline(always)]
    pub const fn used(&self) -> usize {
        ((self.entry & COUNT_MASK) >> COUNT_SHIFT) as usize
    }

    /// Returns entry `index` (modulo [`ENTRIES`]) as the walker sees it.
    #[must_use]
    #[inline(always)]
    pub fn entry(&self, index: usize) -> u64 {
        self.child.at(index).load(Ordering::Relaxed)
    }

    /// Returns whether `count` entries from `first` on are there and 0.
    #[must_use]
    #[inline(always)]
    pub fn is_free(&self, first: usize, count: usize) -> bool {
        self.row(first, count).is_some_and(|row| row.iter().all(|entry| entry.load(Ordering::Relaxed) == 0))
    }

    /// Returns whether `count` entries from `first` on are there and are `leaf`, the next higher by `step`, and so on.
    #[must_use]
    #[inline(always)]
    pub fn is_row(&self, first: usize, count: usize, leaf: u64, step: u64) -> bool {
        let mut expected = leaf;
        self.row(first, count).is_some_and(|row| {
            row.iter().all(|entry| {
                let is_next = entry.load(Ordering::Relaxed) == expected;
                expected = expected.wrapping_add(step);
                is_next
            })
        })
    }

    /// Writes `count` entries from `first` on, which were 0: `leaf`, the next higher by `step`, and so on, below 2^48; counts
    /// them as in use. Entries that are not there are left out.
    #[inline(always)]
    pub fn add_leaves(&mut self, first: usize, count: usize, leaf: u64, step: u64) {
        let mut leaf = leaf & !CHILD;
        let Some(row) = self.row(first, count) else { return };
        for (index, entry) in row.iter().enumerate() {
            self.put(first.wrapping_add(index), entry, leaf);
            leaf = leaf.wrapping_add(step) & !CHILD;
        }
        self.count(self.entry.wrapping_add((count as u64) << COUNT_SHIFT));
    }

    /// Writes 0 to `count` entries from `first` on, leaves all of them; counts them as no longer in use.
    #[inline(always)]
    pub fn remove_leaves(&mut self, first: usize, count: usize) {
        let Some(row) = self.row(first, count) else { return };
        for (index, entry) in row.iter().enumerate() {
            self.put(first.wrapping_add(index), entry, 0);
        }
        self.count(self.entry.wrapping_sub((count as u64) << COUNT_SHIFT));
    }

    #[inline(always)]
    fn row(&self, first: usize, count: usize) -> Option<&'a [AtomicU64]> {
        self.child.0.get(first..first.checked_add(count)?)
    }

    #[inline(always)]
    fn put(&self, index: usize, entry: &AtomicU64, value: u64) {
        watch::written(address(self.child), index & (ENTRIES - 1), entry, value);
        entry.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    fn count(&mut self, counted: u64) {
        self.entry = self.entry & !COUNT_MASK | counted & COUNT_MASK;
        self.parent.store(self.index, self.entry, Ordering::Relaxed);
    }
}
