//! Row: neighboring entries of a table, looked at and changed in a few instructions each.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{CHILD, Edit, Entries, Look, VALID, address, owns, watch};
use crate::arch::ram::Pa;

/// What of an entry says where it leads: the address, whether walkers use it, whether it owns a table.
const PLACE: u64 = Pa::ENTRY_BITS | CHILD | VALID;

impl Look<'_> {
    /// Returns how many of the `count` entries from `first` on, to the end of the table at most, translate one row of memory, from that
    /// of `leaf` on, in steps of `step` bytes; whatever their rights.
    #[must_use]
    #[inline(always)]
    pub fn in_row(self, first: usize, count: usize, leaf: u64, step: u64) -> usize {
        let mut expected = leaf & PLACE;
        let is_next = |entry: &&AtomicU64| {
            let is_next = entry.load(Ordering::Relaxed) & PLACE == expected;
            expected = expected.wrapping_add(step);
            is_next
        };
        row(self.0, first, count).iter().take_while(is_next).count()
    }

    /// Returns how many of the `count` entries from `first` on, to the end of the table at most, are leaves that walkers use.
    #[must_use]
    #[inline(always)]
    pub fn leaves(self, first: usize, count: usize) -> usize {
        let is_leaf = |entry: &&AtomicU64| entry.load(Ordering::Relaxed) & (CHILD | VALID) == VALID;
        row(self.0, first, count).iter().take_while(is_leaf).count()
    }
}

impl Edit<'_> {
    /// Writes `count` leaves from `first` on, to the end of the table at most: `leaf`, the next higher by `step`, and so on. None of the
    /// entries may own a table: that would be lost.
    #[inline(always)]
    pub fn write_leaves(&mut self, first: usize, count: usize, leaf: u64, step: u64) {
        let mut leaf = leaf & !CHILD;
        for (n, entry) in row(self.0, first, count).iter().enumerate() {
            debug_assert!(!owns(entry.load(Ordering::Relaxed)), "a leaf over an owned table");
            watch::written(address(self.0), first.wrapping_add(n), entry, leaf);
            entry.store(leaf, Ordering::Relaxed);
            leaf = leaf.wrapping_add(step) & !CHILD;
        }
    }

    /// Writes `count` leaves from `first` on anew: of each, what `keep` keeps, and `more`. To the end of the table at most.
    #[inline(always)]
    pub fn change_leaves(&mut self, first: usize, count: usize, keep: u64, more: u64) {
        for (n, entry) in row(self.0, first, count).iter().enumerate() {
            debug_assert!(!owns(entry.load(Ordering::Relaxed)), "a leaf over an owned table");
            let leaf = (entry.load(Ordering::Relaxed) & keep | more) & !CHILD;
            watch::written(address(self.0), first.wrapping_add(n), entry, leaf);
            entry.store(leaf, Ordering::Relaxed);
        }
    }

    /// Writes 0 over `count` leaves from `first` on, to the end of the table at most. Gives `each` the first leaf of each row of memory
    /// in steps of `step` bytes, and how many leaves it has.
    #[inline(always)]
    pub fn clear_leaves(&mut self, first: usize, count: usize, step: u64, mut each: impl FnMut(u64, usize)) {
        let (mut start, mut expected, mut leaves) = (0, 0, 0usize);
        for (n, entry) in row(self.0, first, count).iter().enumerate() {
            let leaf = entry.load(Ordering::Relaxed);
            debug_assert!(!owns(leaf), "an owned table is lost");
            watch::written(address(self.0), first.wrapping_add(n), entry, 0);
            entry.store(0, Ordering::Relaxed);
            if leaf & PLACE != expected || leaves == 0 {
                if leaves != 0 {
                    each(start, leaves);
                }
                (start, expected, leaves) = (leaf, leaf & PLACE, 0);
            }
            expected = expected.wrapping_add(step);
            leaves = leaves.wrapping_add(1);
        }
        if leaves != 0 {
            each(start, leaves);
        }
    }
}

/// Returns the `count` entries from `first` on, those that are there.
#[inline(always)]
fn row(entries: &Entries, first: usize, count: usize) -> &[AtomicU64] {
    let rest = entries.0.get(first..).unwrap_or_default();
    rest.get(..count).unwrap_or(rest)
}
