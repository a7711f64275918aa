//! Run: neighboring entries of one table, the piece that every change works on. Called by the other files of this room.

use heapless::Vec;

use super::{AddressSpace, SpaceError, UNITS, UNITS_PER_LOOK};
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

/// How many leaves a call has worked on, and whether an interrupt waits.
#[derive(Default)]
pub(super) struct Pace {
    units: usize,
    pub(super) stopped: bool,
}

impl Pace {
    /// Counts one leaf; returns whether the call may go on to the next.
    #[inline(always)]
    pub(super) fn go_on(&mut self, source: &mut impl TableSource) -> bool {
        self.units = self.units.wrapping_add(1);
        if self.units.is_multiple_of(UNITS_PER_LOOK) {
            self.stopped = source.interrupt_pending();
        }
        !self.stopped
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
    /// Returns the mapped leaves of `pages` pages from `start` on, as far as one call reaches.
    ///
    /// # Errors
    /// [`SpaceError::NotMapped`] when there is a hole.
    pub(super) fn mapped_runs(&self, start: u64, pages: u64) -> Result<Runs, SpaceError> {
        let (mut runs, mut at, mut left, mut units) = (Runs::new(), start, pages, UNITS);
        while left != 0 && units != 0 {
            let run = self.mapped_run(at, left, units)?;
            if run.count == 0 || runs.push(run).is_err() {
                break;
            }
            at = at.saturating_add(run.bytes());
            left = left.saturating_sub(run.pages());
            units = units.saturating_sub(run.count);
        }
        Ok(runs)
    }

    /// Returns the leaves from `ipa` on that stand in one table and lie inside `pages` pages, at most `units`.
    fn mapped_run(&self, ipa: u64, pages: u64, units: usize) -> Result<Run, SpaceError> {
        let (table, level) = self.leaf_table(ipa);
        let first = level.index(ipa);
        if table.entry(first) & VALID == 0 {
            return Err(SpaceError::NotMapped);
        }
        let most = clip(pages / level.pages(), first).min(units);
        let mut count = 0;
        while count < most {
            let entry = table.entry(first.wrapping_add(count));
            if owns(entry) {
                break;
            }
            if entry & VALID == 0 {
                return Err(SpaceError::NotMapped);
            }
            count = count.wrapping_add(1);
        }
        Ok(Run { ipa, level, count })
    }

    /// Returns the table whose entry for `ipa` owns no further table, and its level.
    pub(super) fn leaf_table(&self, ipa: u64) -> (Look<'_>, Level) {
        let root = self.root.look();
        let Some(second) = root.child(Level::One.index(ipa)) else { return (root, Level::One) };
        let Some(third) = second.child(Level::Two.index(ipa)) else { return (second, Level::Two) };
        (third, Level::Three)
    }
}
