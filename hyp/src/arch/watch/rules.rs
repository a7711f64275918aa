//! Rules of the monitor: how far the removal of an old entry has come, and what may not be done before it is over.
//!
//! A DSB waits for what its own core wrote and sent. A core that invalidates one address space holds its lock, and so has
//! observed what others wrote to it before: its own DSB orders that too. One that invalidates everything holds no such lock.

use super::Verdict;
use super::state::{Monitor, Stale};
use crate::arch::ram::Pa;
use crate::arch::table::{VALID, owns};

/// S2AP and XN: a change of these alone needs no break-before-make.
const PERMISSIONS: u64 = 0b11 << 6 | 0b11 << 53;
/// What a walker ignores in an entry that owns a table.
const IGNORED: u64 = 0x3ff << 2 | 0xff << 51;

/// What one TLB invalidation reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::arch) enum Reach {
    /// Stage-2 entries of one page, on all cores.
    Stage2(u64),
    /// Stage 1 and combined entries, on all cores.
    Combined,
    /// All of them, on all cores.
    All,
    /// All of them, of every VMID, on all cores.
    Everything,
    /// All of them, of every VMID, on this core.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "a thread may stand for several cores in turn"))]
    Here,
}

/// What a barrier waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::arch) enum Barrier {
    /// Stores.
    Stores,
    /// Stores, and invalidations on all cores.
    All,
    /// Invalidations on this core.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "as `Reach::Here`"))]
    Here,
}

impl Stale {
    /// Returns whether an invalidation by `core` comes behind the store.
    fn is_visible(&self, core: usize, has_observed: bool) -> bool {
        let cores = 1 << self.writer | if has_observed { 1 << core } else { 0 };
        self.waited & cores != 0
    }

    fn overlaps(&self, root: u64, start: u64, size: u64) -> bool {
        self.is_broken && self.root == root && self.start < start + size && start < self.start + self.size
    }
}

impl Monitor {
    /// Judges that `core` is about to write `new` over `old` into an entry of a table.
    pub(super) fn written(&mut self, core: usize, slot: (u64, usize), old: u64, new: u64) -> Verdict {
        let Some((root, start, size)) = self.place(slot) else { return Ok(()) };
        let is_broken = new & VALID == 0;
        match (old & VALID != 0, !is_broken) {
            (false, true) if self.stale.iter().any(|stale| stale.overlaps(root, start, size)) => {
                return Err("reuse before the invalidation");
            }
            (false, _) => return Ok(()),
            (true, true) if owns(old) && owns(new) && (old ^ new) & !IGNORED == 0 => return Ok(()),
            (true, true) if (old ^ new) & !PERMISSIONS != 0 => return Err("a change without break-before-make"),
            (true, _) => {}
        }
        let child = owns(old).then(|| Pa::of_entry(old).bytes());
        let writer = u8::try_from(core).unwrap_or(0); // below MAX_CORES
        let stale =
            Stale { root, start, size, child, is_broken, writer, waited: 0, sent_half: 0, is_half: false, sent_all: 0 };
        self.add_stale(stale);
        Ok(())
    }

    /// Judges that `child` is about to be linked into an entry.
    pub(super) fn linked(&mut self, slot: (u64, usize), child: u64) -> Verdict {
        if self.stale_above(child).is_some() {
            return Err("a table linked again before the invalidation");
        }
        let is_lost = self.parents.insert(child, slot).is_err();
        self.lose(is_lost);
        Ok(())
    }

    /// Notes that `child` was taken out of its entry: it is reached as long as that entry, or one above, is.
    pub(super) fn unlinked(&mut self, child: u64) {
        if let Some(stale) = self.stale_above(child).filter(|stale| stale.child != Some(child)) {
            self.add_stale(Stale { child: Some(child), ..stale });
        }
        self.parents.remove(&child);
    }

    /// Judges that `table` gives its frame up.
    pub(super) fn freed(&mut self, table: u64) -> Verdict {
        self.roots.remove(&table);
        if self.stale_above(table).is_some() {
            return Err("a table freed before the invalidation");
        }
        if self.stale.iter().any(|stale| stale.root == table) {
            return Err("a root freed before the invalidation");
        }
        if self.bindings.is_selected(table) {
            return Err("a root freed while VTTBR_EL2 selects it");
        }
        self.parents.remove(&table);
        self.bindings.freed(table);
        Ok(())
    }

    /// Notes that `root` is a root, with this VMID.
    pub(super) fn rooted(&mut self, root: u64, vmid: u8) {
        let is_lost = self.roots.insert(root, vmid).is_err();
        self.lose(is_lost);
    }

    /// Judges the address space that acts on `core` since an ISB.
    pub(super) fn synchronized(&mut self, core: usize) -> Verdict {
        let Some(space) = self.bindings.synchronized(core) else { return Ok(()) };
        let root = space.root().bytes();
        match self.roots.get(&root) {
            None => Ok(()), // the empty table, or one that is not known
            Some(&vmid) if vmid == 0 || vmid != space.vmid() => {
                Err("an address space under a VMID that is not its own")
            }
            Some(&vmid) => self.bindings.bind(core, root, vmid),
        }
    }

    /// Notes that `core` waited.
    pub(super) fn completed(&mut self, core: usize, barrier: Barrier) {
        if barrier != Barrier::Stores {
            self.bindings.completed(core, barrier == Barrier::All);
        }
        if barrier == Barrier::Here {
            return;
        }
        let own = 1 << core;
        self.stale.retain_mut(|stale| {
            stale.waited |= own;
            if barrier == Barrier::All {
                stale.is_half |= stale.sent_half & own != 0;
                return stale.sent_all & own == 0;
            }
            true
        });
    }

    /// Notes that `core` sent an invalidation.
    pub(super) fn invalidated(&mut self, core: usize, reach: Reach) {
        let vmid = self.bindings.acting(core).vmid();
        let (is_everything, own) = (reach == Reach::Everything, 1 << core);
        if is_everything || reach == Reach::Here {
            self.bindings.sent(core, is_everything);
        }
        let roots = &self.roots;
        let is_meant = |root: u64| is_everything || roots.get(&root) == Some(&vmid);
        for stale in self.stale.iter_mut().filter(|stale| is_meant(stale.root)) {
            let is_visible = stale.is_visible(core, !is_everything);
            match reach {
                Reach::Stage2(ipa) if is_visible && ipa.wrapping_sub(stale.start) < stale.size => {
                    stale.sent_half |= own;
                }
                Reach::Combined if stale.is_half => stale.sent_all |= own,
                Reach::All | Reach::Everything if is_visible => stale.sent_all |= own,
                Reach::Stage2(_) | Reach::Combined | Reach::All | Reach::Everything | Reach::Here => {}
            }
        }
    }
}
