//! Run: neighboring entries of one table, the piece that every change works on. Called by the other files of this room.

use heapless::Vec;

use super::{AddressSpace, SpaceError, UNITS, UNITS_PER_LOOK};
use crate::arch::ram::{FRAME_SIZE, Pa};
use crate::arch::table::{ENTRIES, Look, VALID, owns};
use crate::memory::descriptor::Level;
use crate::memory::source::TableSource;

/// Neighboring entries of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// First guest-physical address.
    pub(super) ipa: u64,
    /// Level of the table.
    pub(super) level: Level,
    /// Number of entries, at most [`UNITS`].
    pub(super) count: usize,
    /// How many of them are no neighbors in memory of the one before, or of another extent: for each the ledger has to search.
    pub(super) jumps: usize,
}

impl Run {
    /// Returns the pages that the run translates.
    pub(super) const fn pages(self) -> u64 {
        (self.count as u64) << (self.level.shift() - Level::Three.shift())
    }

    /// Returns the bytes that the run translates.
    pub(super) const fn bytes(self) -> u64 {
        (self.count as u64) << self.level.shift()
    }

    /// Returns the index of the run's entry number `unit`.
    #[inline]
    pub(super) const fn index(self, unit: usize) -> usize {
        self.level.index(self.ipa).wrapping_add(unit)
    }
}

/// Units that a search of the ledger counts as, which takes as long.
const JUMP: usize = 12;
/// Units that a block's split counts as.
const SPLIT: usize = 80;
/// Units that a call has whatever it did before.
const LEAST: usize = 16;

/// Returns the units that the searches of `runs` count as.
pub(super) fn searches(runs: &[Run]) -> usize {
    runs.iter().fold(0, |sum, run| run.jumps.saturating_mul(JUMP).saturating_add(sum))
}

/// What says for which leaves the ledger has to search.
pub(super) trait Searches {
    /// Returns whether it has to for the leaf in entry `first` of `table`, and how many leaves from this one on, `most` at most, go
    /// with that search.
    fn next(&mut self, table: Look<'_>, level: Level, first: usize, most: usize) -> (bool, usize);
}

/// Of a change that the ledger does not hear of.
pub(super) struct Unsearched;

impl Searches for Unsearched {
    #[inline(always)]
    fn next(&mut self, table: Look<'_>, _: Level, first: usize, most: usize) -> (bool, usize) {
        (false, table.leaves(first, most))
    }
}

/// Which leaves make the ledger search: those that are no neighbors in memory of the one before, and those of another extent.
pub(super) struct Pieces<'a, S> {
    source: &'a mut S,
    /// Physical address of the leaf before.
    before: u64,
    /// Physical address behind it; 0 before the first.
    next: u64,
    /// Physical address behind its extent; 0 while nobody looked.
    end: u64,
}

impl<'a, S: TableSource> Pieces<'a, S> {
    /// Returns what knows nothing yet.
    pub(super) const fn new(source: &'a mut S) -> Self {
        Self { source, before: 0, next: 0, end: 0 }
    }

    /// Returns whether the ledger has to search for the leaf at `pa`. Not for the first, whose search each call has.
    #[inline(always)]
    fn is_jump(&mut self, pa: u64, level: Level) -> bool {
        let (before, next) = (self.before, self.next);
        (self.before, self.next) = (pa, pa.wrapping_add(level.bytes()));
        if next == pa {
            if self.end == 0 {
                self.end = self.look(before);
            }
            if pa < self.end {
                return false;
            }
        }
        self.end = 0;
        next != 0
    }

    #[inline(never)]
    fn look(&mut self, pa: u64) -> u64 {
        pa.saturating_add(self.source.piece(Pa::of_entry(pa)).saturating_mul(FRAME_SIZE as u64))
    }
}

impl<S: TableSource> Searches for Pieces<'_, S> {
    #[inline(always)]
    fn next(&mut self, table: Look<'_>, level: Level, first: usize, most: usize) -> (bool, usize) {
        let leaf = table.entry(first);
        let pa = Pa::of_entry(leaf).bytes();
        let is_jump = self.is_jump(pa, level);
        // Of the ones behind the leaf nothing is known before somebody looks where its extent ends.
        let inside = usize::try_from(self.end.saturating_sub(pa) >> level.shift()).unwrap_or(ENTRIES);
        if inside <= 1 {
            return (is_jump, 1);
        }
        let leaves = table.in_row(first, inside.min(most), leaf, level.bytes());
        self.next = pa.wrapping_add((leaves as u64) << level.shift());
        self.before = self.next.wrapping_sub(level.bytes());
        (is_jump, leaves)
    }
}

/// Units that a call may still use: so a call that has to complete others, to split and to search does less.
pub(super) struct Budget(usize);

impl Budget {
    /// Returns the budget of a call that has used `used` units already.
    pub(super) fn after(used: usize) -> Self {
        Self(UNITS.saturating_sub(used).max(LEAST))
    }

    /// Counts `blocks` blocks as split.
    pub(super) fn split(&mut self, blocks: usize) {
        self.0 = self.0.saturating_sub(blocks.saturating_mul(SPLIT)).max(LEAST);
    }

    /// Takes off what `leaves` leaves cost, the first with a search of the ledger if `is_jump`, and returns how many of them that
    /// is enough for.
    #[inline(always)]
    fn take(&mut self, is_jump: bool, leaves: usize) -> usize {
        let search = if is_jump { JUMP - 1 } else { 0 };
        let enough = leaves.min(self.0.saturating_sub(search));
        if enough != 0 {
            self.0 = self.0.saturating_sub(search.wrapping_add(enough));
        }
        enough
    }
}

/// How many leaves a call has worked on, and whether an interrupt waits.
#[derive(Default)]
pub(super) struct Pace {
    units: usize,
    pub(super) stopped: bool,
}

impl Pace {
    /// Makes `change` of `count` leaves, so many at a time as go without a look for interrupts: it is given the first, and how
    /// many. Returns how many were changed before one waited.
    #[inline(always)]
    pub(super) fn change(
        &mut self,
        count: usize,
        source: &mut impl TableSource,
        mut change: impl FnMut(usize, usize),
    ) -> usize {
        let mut done = 0;
        while done < count && !self.stopped {
            let some = (UNITS_PER_LOOK - self.units % UNITS_PER_LOOK).min(count.wrapping_sub(done));
            change(done, some);
            done = done.wrapping_add(some);
            self.units = self.units.wrapping_add(some);
            if self.units.is_multiple_of(UNITS_PER_LOOK) {
                self.stopped = source.interrupt_pending();
            }
        }
        done
    }
}

/// The runs of one call. 128 leaves of ascending, then descending size make five; more end the call early.
pub(super) type Runs = Vec<Run, 8>;

/// Returns how many entries from index `first` on a run of `wanted` may have: to the end of the table at most.
#[inline]
pub(super) fn clip(wanted: u64, first: usize) -> usize {
    usize::try_from(wanted).unwrap_or(ENTRIES).min(ENTRIES.saturating_sub(first))
}

impl AddressSpace {
    /// Returns the mapped leaves of `pages` pages from `start` on, as far as the budget reaches: at least one.
    ///
    /// # Errors
    /// [`SpaceError::NotMapped`] when there is a hole.
    pub(super) fn mapped_runs(
        &self,
        start: u64,
        pages: u64,
        mut budget: Budget,
        searches: &mut impl Searches,
    ) -> Result<Runs, SpaceError> {
        let (mut runs, mut at, mut left) = (Runs::new(), start, pages);
        while left != 0 {
            let run = self.mapped_run(at, left, &mut budget, searches)?;
            if run.count == 0 || runs.push(run).is_err() {
                break;
            }
            at = at.saturating_add(run.bytes());
            left = left.saturating_sub(run.pages());
        }
        Ok(runs)
    }

    /// Returns the leaves from `ipa` on that stand in one table and lie inside `pages` pages, as far as the budget reaches.
    fn mapped_run(
        &self,
        ipa: u64,
        pages: u64,
        budget: &mut Budget,
        searches: &mut impl Searches,
    ) -> Result<Run, SpaceError> {
        let (table, level) = self.leaf_table(ipa);
        let first = level.index(ipa);
        if table.entry(first) & VALID == 0 {
            return Err(SpaceError::NotMapped);
        }
        let most = clip(pages / level.pages(), first);
        let (mut count, mut jumps) = (0, 0usize);
        while count < most {
            let entry = table.entry(first.wrapping_add(count));
            if owns(entry) {
                break;
            }
            if entry & VALID == 0 {
                return Err(SpaceError::NotMapped);
            }
            let most = most.wrapping_sub(count).min(budget.0);
            let (is_jump, leaves) = searches.next(table, level, first.wrapping_add(count), most);
            let taken = budget.take(is_jump, leaves);
            if taken == 0 {
                break;
            }
            (count, jumps) = (count.wrapping_add(taken), jumps.wrapping_add(usize::from(is_jump)));
        }
        Ok(Run { ipa, level, count, jumps })
    }

    /// Returns the table whose entry for `ipa` owns no further table, and its level.
    pub(super) fn leaf_table(&self, ipa: u64) -> (Look<'_>, Level) {
        let root = self.root.look();
        let Some(second) = root.child(Level::One.index(ipa)) else { return (root, Level::One) };
        let Some(third) = second.child(Level::Two.index(ipa)) else { return (second, Level::Two) };
        (third, Level::Three)
    }
}
