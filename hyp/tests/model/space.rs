//! Space: one address space as a map from pages to memory, what waits for its invalidation, and the tables that this takes.

use std::collections::{BTreeMap, BTreeSet};

use strato_abi::addr::{EVENT_AREA, INFO_PAGE, VCPU_AREA};

use crate::state::{Frame, Model};

/// What a page shows, and with which rights; those that it can get at most are the handle's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) object: usize,
    pub(crate) frame: Frame,
    pub(crate) rights: u64,
    pub(crate) most: u64,
}

/// The pages of the hypervisor's window in every address space.
pub(crate) const WINDOW: [u64; 3] = [INFO_PAGE >> 12, VCPU_AREA >> 12, EVENT_AREA >> 12];
/// Runs of pages that may wait for their invalidation.
const PENDING_MAX: usize = 4;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    No,
    Begun,
    /// An owner who took its memory back has got it all the way but for the root.
    Emptied,
}

#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// The entry that names it; the first has none.
    pub(crate) index: Option<usize>,
    pub(crate) pages: BTreeMap<u64, Leaf>,
    /// Runs in one table each: first page, and what was mapped.
    pub(crate) pending: Vec<(u64, Vec<Frame>)>,
    /// Whether something is left to be invalidated.
    pub(crate) is_late: bool,
    pub(crate) end: End,
    /// Whether an empty table is kept.
    pub(crate) has_spare: bool,
}

impl Space {
    pub(crate) fn new(index: Option<usize>) -> Self {
        let (pages, pending) = (BTreeMap::new(), Vec::new());
        Self { index, pages, pending, is_late: false, end: End::No, has_spare: false }
    }

    /// Returns the memory that counts as mapped.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> {
        let pending = self.pending.iter().flat_map(|(_, frames)| frames.iter().copied());
        self.pages.values().map(|leaf| leaf.frame).chain(pending)
    }

    /// Returns the tables below the root: one of level 2 per GiB, one of level 3 per 2 MiB with anything in it.
    fn below(&self) -> BTreeSet<(u8, u64)> {
        if self.end == End::Emptied {
            return BTreeSet::new();
        }
        let pending = self.pending.iter().flat_map(|(first, frames)| *first..first + frames.len() as u64);
        let pages = self.pages.keys().copied().chain(pending).chain(WINDOW);
        pages.flat_map(|page| [(2, page >> 18), (3, page >> 9)]).collect()
    }

    pub(crate) fn tables(&self) -> u64 {
        1 + self.below().len() as u64 + u64::from(self.has_spare)
    }

    /// Returns the tables that mapping `pages` needs.
    pub(crate) fn needed(&self, pages: std::ops::Range<u64>) -> u64 {
        let below = self.below();
        let all: BTreeSet<_> = pages.flat_map(|page| [(2, page >> 18), (3, page >> 9)]).collect();
        all.difference(&below).count() as u64
    }

    /// Does `change`, which takes pages away; of the tables that are empty then, one is kept.
    pub(crate) fn shrink<R>(&mut self, change: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.below().len();
        let result = change(self);
        self.has_spare |= self.below().len() < before;
        result
    }

    /// Completes what is left to be invalidated. Returns the pages that count as mapped no longer.
    pub(crate) fn complete(&mut self) -> u64 {
        let waited = self.pending.iter().map(|(_, frames)| frames.len() as u64).sum();
        self.shrink(|space| space.pending.clear());
        self.is_late = false;
        waited
    }

    /// Takes mapped pages away: at once, or when [`Space::complete`] is next.
    pub(crate) fn unmap(&mut self, pages: std::ops::Range<u64>, is_later: bool) {
        if !is_later {
            self.complete();
            self.shrink(|space| space.pages.retain(|page, _| !pages.contains(page)));
            return;
        }
        let mut runs: Vec<(u64, Vec<Frame>)> = Vec::new();
        for page in pages.clone() {
            let frame = self.pages[&page].frame;
            match runs.last_mut() {
                Some((first, frames)) if *first >> 9 == page >> 9 => frames.push(frame),
                _ => runs.push((page, vec![frame])),
            }
        }
        if self.pending.len() + runs.len() > PENDING_MAX {
            self.complete();
        }
        self.pages.retain(|page, _| !pages.contains(page));
        self.pending.extend(runs);
        self.is_late = true;
    }

    /// Takes away what pages `first..end` show of a part of memory: four stretches of neighbors at most. Returns how many pages
    /// went, and how many of the range are settled.
    pub(crate) fn clear(&mut self, (first, end): (u64, u64), memory: (Frame, u64)) -> (u64, u64) {
        self.complete();
        let (mut at, mut gone) = (first, 0);
        for _ in 0..4 {
            let is_part =
                |page: &u64| self.pages.get(page).is_some_and(|l| l.frame.in_part(memory.0, memory.1).is_some());
            let from = (at..end).find(is_part).unwrap_or(end);
            let to = (from..end).find(|page| !is_part(page)).unwrap_or(end);
            at = to;
            if from == to {
                break;
            }
            self.unmap(from..to, false);
            gone += to - from;
        }
        (gone, at - first)
    }
}

impl Model {
    /// Completes what is left to be invalidated anywhere in `vm`. Returns whether pages were.
    pub(crate) fn sync(&mut self, vm: usize) -> bool {
        let spaces = self.vms[vm].spaces.iter_mut().flatten().filter(|space| space.end == End::No);
        spaces.fold(0, |waited, space| waited + space.complete()) != 0
    }

    pub(crate) fn space(&mut self, vm: usize, slot: u8) -> &mut Space {
        self.vms[vm].spaces[usize::from(slot)].as_mut().expect("the slot is in use")
    }

    /// Returns whether `vm` can pay the tables that `pages` need in `slot`. One that was got before they ran out is kept.
    pub(crate) fn pay(&mut self, vm: usize, slot: u8, pages: std::ops::Range<u64>) -> bool {
        let left = self.left(vm);
        let space = self.space(vm, slot);
        let (needed, spare) = (space.needed(pages), u64::from(space.has_spare));
        let is_paid = needed <= left + spare;
        if needed != 0 {
            space.has_spare = !is_paid && left + spare != 0;
        }
        is_paid
    }
}
