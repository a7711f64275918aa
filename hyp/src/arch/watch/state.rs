//! State of the monitor: which tables there are, which old entries some core may still hold. Bounded: what finds no room is
//! counted and not judged, which hides mistakes and never invents one.

use core::sync::atomic::{AtomicU64, Ordering};

use heapless::Vec;
use heapless::index_map::FnvIndexMap;

use super::bindings::Bindings;
use crate::arch::backing;
use crate::arch::ram::Pa;
use crate::arch::table::VALID;

/// Address spaces that are known at a time: sixty-four VMs with eight.
const ROOTS: usize = 512;
/// Tables below roots that are known at a time: what they map is 4 GiB by pages.
const TABLES: usize = 2048;
/// Old entries at a time. A call leaves some hundred; calls that put the invalidation off leave more.
const STALE: usize = 1024;

/// An old entry that a core may still hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale {
    pub(super) root: u64,
    pub(super) start: u64,
    pub(super) size: u64,
    /// The table that the entry led to.
    pub(super) child: Option<u64>,
    /// The entry was made invalid, not only narrower.
    pub(super) is_broken: bool,
    /// The core that wrote it: it may be in its store buffer until it waits.
    pub(super) writer: u8,
    /// Cores that waited for their stores since it was written.
    pub(super) waited: u8,
    /// Cores that sent the invalidation of its stage-2 entry and did not wait yet.
    pub(super) sent_half: u8,
    /// The stage-2 entry is gone from all cores; combined ones are still there.
    pub(super) is_half: bool,
    /// Cores that sent the invalidation of all that is left and did not wait yet.
    pub(super) sent_all: u8,
}

/// All that is known.
pub(super) struct Monitor {
    /// The VMID that each root has, or had last; 0 none yet.
    pub(super) roots: FnvIndexMap<u64, u8, ROOTS>,
    /// The entry that leads to each table.
    pub(super) parents: FnvIndexMap<u64, (u64, usize), TABLES>,
    pub(super) stale: Vec<Stale, STALE>,
    pub(super) bindings: Bindings,
    /// How often there was no room.
    pub(super) unjudged: u64,
}

impl Monitor {
    pub(super) const fn new() -> Self {
        Self {
            roots: FnvIndexMap::new(),
            parents: FnvIndexMap::new(),
            stale: Vec::new(),
            bindings: Bindings::new(),
            unjudged: 0,
        }
    }

    /// Counts what found no room.
    pub(super) fn lose(&mut self, is_lost: bool) {
        self.unjudged = self.unjudged.saturating_add(is_lost.into());
    }

    /// Remembers an old entry.
    pub(super) fn add_stale(&mut self, stale: Stale) {
        let is_lost = self.stale.push(stale).is_err();
        self.lose(is_lost);
    }

    /// Returns the root, first address and size that entry `index` of `table` translates, if walkers can reach it.
    pub(super) fn place(&self, (table, index): (u64, usize)) -> Option<(u64, u64, u64)> {
        let (mut at, mut above) = (table, Vec::<usize, 4>::new());
        while let Some(&(parent, index)) = self.parents.get(&at) {
            if entry(parent, index) & VALID == 0 {
                return None;
            }
            above.push(index).ok()?;
            at = parent;
        }
        self.roots.get(&at)?;
        let mut size = 1 << 39;
        let start = above.iter().rev().chain([&index]).fold(0, |start, &index| {
            size >>= 9;
            start + index as u64 * size
        });
        Some((at, start, size))
    }

    /// Returns what is stale because of `table` or a table above it.
    pub(super) fn stale_above(&self, table: u64) -> Option<Stale> {
        let mut at = table;
        loop {
            if let Some(stale) = self.stale.iter().find(|stale| stale.child == Some(at)) {
                return Some(*stale);
            }
            at = self.parents.get(&at)?.0;
        }
    }
}

fn entry(table: u64, index: usize) -> u64 {
    let slots = backing::pointer(Pa::of_entry(table)).cast_const().cast::<AtomicU64>();
    // SAFETY: the monitor knows `table` as a live table, whose 512 entries are atomics; `index` was one of it.
    unsafe { (*slots.add(index)).load(Ordering::Relaxed) }
}
