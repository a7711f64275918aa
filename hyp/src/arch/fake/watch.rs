//! Watch: the page-table monitor of the host tests. It follows every entry of every address space and stops the test that
//! breaks the order of DDI 0487: write invalid, DSB, TLBI of the right VMID, DSB, and only then reuse.
//!
//! Owns what is *stale*: an old entry that some core may still hold; and which VMIDs are *bound*: some core may hold entries
//! of one address space under them. Each thread has a monitor of its own and stands for one core; tables that another thread
//! made are not known and not judged.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::thread;
use std::thread_local;
use std::vec::Vec;

use super::backing;
use super::ram::Pa;
use super::stage2::Vttbr;
use super::stage2_ops::current_vttbr;
use super::table::{VALID, owns};

/// S2AP and XN: a change of these alone needs no break-before-make.
const PERMISSIONS: u64 = 0b11 << 6 | 0b11 << 53;
/// What a walker ignores in an entry that owns a table.
const IGNORED: u64 = 0x3ff << 2 | 0xff << 51;

/// How far the removal of an old entry has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Written, but maybe only in the core's store buffer.
    Written,
    /// Visible to walkers.
    Visible,
    /// The invalidation of stage-2 entries was sent.
    Sent,
    /// That is complete; combined entries are still there.
    Half,
    /// The invalidation of all entries was sent.
    SentAll,
}

/// An old entry that a core may still hold.
#[derive(Clone, Copy, Debug)]
struct Stale {
    root: u64,
    start: u64,
    size: u64,
    /// The table that the entry led to.
    child: Option<u64>,
    /// The entry was made invalid, not only narrower.
    broken: bool,
    stage: Stage,
}

#[derive(Default)]
struct Monitor {
    /// The VMID that each root has, or had last; 0 none yet.
    roots: HashMap<u64, u8>,
    /// The root whose entries a core may hold under a VMID; [`GONE`] when it is gone.
    bound: HashMap<u8, u64>,
    /// The invalidation of everything was sent.
    is_flushing: bool,
    parents: HashMap<u64, (u64, usize)>,
    stale: Vec<Stale>,
}

/// Stands for a root that was freed: no table has this address.
const GONE: u64 = 1;

/// What one TLB invalidation reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Stage-2 entries of one page.
    Stage2(u64),
    /// Stage 1 and combined entries.
    Combined,
    /// All of them.
    All,
    /// All of them, of every VMID.
    Everything,
}

thread_local! {
    static MONITOR: RefCell<Monitor> = RefCell::default();
}

/// Runs `judge` and stops the test, outside the borrow, with what it objects to.
fn watch(judge: impl FnOnce(&mut Monitor) -> Result<(), &'static str>) {
    let verdict = MONITOR.with_borrow_mut(judge);
    if let Err(objection) = verdict {
        assert!(thread::panicking(), "page-table order: {objection}");
    }
}

impl Monitor {
    /// Returns the root, first address and size that entry `index` of `table` translates, if walkers can reach it.
    fn place(&self, table: u64, index: usize) -> Option<(u64, u64, u64)> {
        let mut path = std::vec![index];
        let mut at = table;
        while let Some(&(parent, index)) = self.parents.get(&at) {
            if entry(parent, index) & VALID == 0 {
                return None;
            }
            path.push(index);
            at = parent;
        }
        self.roots.get(&at)?;
        let mut size = 1 << 39;
        let start = path.iter().rev().fold(0, |start, &index| {
            size >>= 9;
            start + index as u64 * size
        });
        Some((at, start, size))
    }

    /// Notes that cores may hold entries of `root` under `vmid`.
    fn bind(&mut self, root: u64, vmid: u8) -> Result<(), &'static str> {
        match self.bound.insert(vmid, root) {
            Some(GONE) => Err("a VMID used again before the flush"),
            Some(other) if other != root => Err("two address spaces with one VMID"),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns what is stale because of `table` or a table above it.
    fn stale_above(&self, table: u64) -> Option<Stale> {
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
    // SAFETY: the monitor knows `table` as a live table, whose 512 entries are atomics.
    unsafe { (*slots.add(index)).load(Ordering::Relaxed) }
}

/// An entry is about to be written.
pub(super) fn written(table: Pa, index: usize, slot: &AtomicU64, new: u64) {
    let old = slot.load(Ordering::Relaxed);
    watch(|monitor| {
        let Some((root, start, size)) = monitor.place(table.bytes(), index) else { return Ok(()) };
        let child = owns(old).then(|| Pa::of_entry(old).bytes());
        let mut stale = Stale { root, start, size, child, broken: true, stage: Stage::Written };
        let overlaps =
            |old: &Stale| old.broken && old.root == root && old.start < start + size && start < old.start + old.size;
        match (old & VALID != 0, new & VALID != 0) {
            (false, true) if monitor.stale.iter().any(overlaps) => return Err("reuse before the invalidation"),
            (true, false) => monitor.stale.push(stale),
            (true, true) if owns(old) && owns(new) && (old ^ new) & !IGNORED == 0 => {}
            (true, true) if (old ^ new) & !PERMISSIONS == 0 => {
                stale.broken = false;
                monitor.stale.push(stale);
            }
            (true, true) => return Err("a change without break-before-make"),
            (false, _) => {}
        }
        Ok(())
    });
}

/// A table is about to be linked into an entry.
pub(super) fn linked(table: Pa, index: usize, child: Pa) {
    watch(|monitor| {
        if monitor.stale_above(child.bytes()).is_some() {
            return Err("a table linked again before the invalidation");
        }
        monitor.parents.insert(child.bytes(), (table.bytes(), index));
        Ok(())
    });
}

/// A table was taken out of its entry.
pub(super) fn unlinked(child: Pa) {
    watch(|monitor| {
        if let Some(stale) = monitor.stale_above(child.bytes()) {
            monitor.stale.push(Stale { child: Some(child.bytes()), ..stale });
        }
        monitor.parents.remove(&child.bytes());
        Ok(())
    });
}

/// A table gives its frame up.
pub(super) fn freed(table: Pa) {
    watch(|monitor| {
        monitor.roots.remove(&table.bytes());
        if monitor.stale_above(table.bytes()).is_some() {
            return Err("a table freed before the invalidation");
        }
        if monitor.stale.iter().any(|stale| stale.root == table.bytes()) {
            return Err("a root freed before the invalidation");
        }
        if current_vttbr().root() == table {
            return Err("a root freed while VTTBR_EL2 selects it");
        }
        monitor.bound.values_mut().filter(|root| **root == table.bytes()).for_each(|root| *root = GONE);
        Ok(())
    });
}

/// A table becomes the root of an address space, or its address space gets another VMID.
pub(super) fn rooted(root: Pa, vmid: u8) {
    watch(|monitor| {
        monitor.roots.insert(root.bytes(), vmid);
        if vmid == 0 { Ok(()) } else { monitor.bind(root.bytes(), vmid) }
    });
}

/// VTTBR_EL2 acts: this core may walk the tables of `space`, and keep what it finds under its VMID.
pub(super) fn selected(space: Vttbr) {
    watch(|monitor| match monitor.roots.get(&space.root().bytes()) {
        None => Ok(()), // the empty table, or one of another thread
        Some(&vmid) if vmid == 0 || vmid != space.vmid() => Err("an address space under a VMID that is not its own"),
        Some(&vmid) => monitor.bind(space.root().bytes(), vmid),
    });
}

/// A barrier completed stores, and `invalidations` too if it waits for them.
pub(super) fn completed(invalidations: bool) {
    watch(|monitor| {
        monitor.stale.retain_mut(|stale| {
            match stale.stage {
                Stage::Written => stale.stage = Stage::Visible,
                Stage::Sent if invalidations => stale.stage = Stage::Half,
                Stage::SentAll if invalidations => return false,
                Stage::Visible | Stage::Sent | Stage::Half | Stage::SentAll => {}
            }
            true
        });
        if invalidations && std::mem::take(&mut monitor.is_flushing) {
            // What this core selects it may walk again at once; other cores of a story bind theirs when it is their turn.
            let current = current_vttbr();
            monitor.bound.retain(|&vmid, &mut root| vmid == current.vmid() && root == current.root().bytes());
        }
        Ok(())
    });
}

/// An invalidation was issued while VTTBR_EL2 was `space`: it acts on the VMID.
pub(super) fn invalidated(space: Vttbr, reach: Reach) {
    watch(|monitor| {
        let is_everything = reach == Reach::Everything;
        monitor.is_flushing |= is_everything;
        let roots = &monitor.roots;
        let is_meant = |root| is_everything || roots.get(&root) == Some(&space.vmid());
        for stale in monitor.stale.iter_mut().filter(|stale| is_meant(stale.root)) {
            stale.stage = match (stale.stage, reach) {
                (Stage::Visible, Reach::Stage2(ipa)) if ipa.wrapping_sub(stale.start) < stale.size => Stage::Sent,
                (Stage::Half, Reach::Combined) | (Stage::Visible | Stage::Half, Reach::All | Reach::Everything) => {
                    Stage::SentAll
                }
                (stage, _) => stage,
            };
        }
        Ok(())
    });
}

/// Returns how many old entries of `space` some core may still hold.
#[must_use]
pub fn stale_entries(space: Vttbr) -> usize {
    MONITOR.with_borrow(|monitor| monitor.stale.iter().filter(|stale| stale.root == space.root().bytes()).count())
}

/// Forgets everything: tests of one process may follow each other on one thread.
pub fn forget_all() {
    MONITOR.set(Monitor::default());
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
