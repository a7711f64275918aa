//! Unmap: leaves taken away, in the order of break-before-make: split at both ends, check, break, invalidate, sweep.
//!
//! Entries first lose their VALID bit and keep the address; after the one invalidation they become 0, and only then the
//! ledger hears of the pages and empty tables go. So nobody can be given a page that some core still reaches.

use heapless::Vec;
use strato_abi::addr::Ipa;

use super::run::{Budget, Pace, Pieces, Run, Runs};
use super::{AddressSpace, SpaceError, check_range};
use crate::arch::ram::Pa;
use crate::arch::stage2::Scope;
use crate::arch::table::{Edit, Table, VALID};
use crate::memory::descriptor::Level;
use crate::memory::source::TableSource;

/// Tables that became empty in one call: at most one of level 2 and one of level 3 for each run.
pub(super) type Emptied = Vec<Table, 16>;

impl AddressSpace {
    /// Takes the mappings of `pages` pages from `ipa` on away; returns how many pages, from the first on. Fewer than
    /// asked when the call reached its bound or an interrupt waits.
    ///
    /// # Errors
    /// [`SpaceError::BadRange`], [`SpaceError::NotMapped`], [`SpaceError::Dying`]; [`SpaceError::NoMemory`] and
    /// [`SpaceError::Quota`] when a block must be split. All translations are as before then.
    pub fn unmap(&mut self, ipa: Ipa, pages: u64, source: &mut impl TableSource) -> Result<u64, SpaceError> {
        check_range(ipa, pages)?;
        self.check_alive()?;
        let used = self.complete(source);
        // The short way knows no budget.
        if used == 0
            && let Some(done) = self.unmap_row(ipa, pages, source)
        {
            return Ok(done);
        }
        let runs = self.runs_to_unmap(ipa, pages, Budget::after(used), source)?;
        let broken = self.break_runs(&runs, source);
        let one_page = matches!(runs.as_slice(), [Run { level: Level::Three, count: 1, .. }]);
        self.invalidate(if one_page { Scope::Page(ipa.bytes()) } else { Scope::All });
        self.sweep_runs(&broken, source);
        Ok(broken.iter().fold(0u64, |sum, run| sum.saturating_add(run.pages())))
    }

    /// Returns the mapped leaves of the range, with boundaries at both ends, as far as the budget reaches.
    pub(super) fn runs_to_unmap(
        &mut self,
        ipa: Ipa,
        pages: u64,
        mut budget: Budget,
        source: &mut impl TableSource,
    ) -> Result<Runs, SpaceError> {
        let start = check_range(ipa, pages)?;
        self.check_alive()?;
        let pages = self.split_around(start, pages, &mut budget, source)?;
        self.mapped_runs(start, pages, budget, &mut Pieces::new(source))
    }

    /// Makes the leaves of `runs` invalid; returns those that were before an interrupt waited.
    pub(super) fn break_runs(&mut self, runs: &Runs, source: &mut impl TableSource) -> Runs {
        let (mut broken, mut pace) = (Runs::new(), Pace::default());
        for run in runs {
            let count = self.break_run(*run, &mut pace, source);
            let _ = broken.push(Run { count, ..*run }); // as many as `runs` at most
            if pace.stopped {
                break;
            }
        }
        broken
    }

    /// Makes the leaves of `run` invalid, and hides the tables that become empty by that; returns how many leaves before
    /// an interrupt waited.
    fn break_run(&mut self, run: Run, pace: &mut Pace, source: &mut impl TableSource) -> usize {
        let mut root = self.root.edit();
        let top = Level::One.index(run.ipa);
        if run.level == Level::One {
            return break_leaves(&mut root, run, pace, source);
        }
        let top_used = root.used(top);
        let Some(mut second) = root.child(top) else { unreachable!("the run was found in this table") };
        let (count, second_empties) = if run.level == Level::Two {
            let count = break_leaves(&mut second, run, pace, source);
            (count, count == top_used)
        } else {
            let place = Level::Two.index(run.ipa);
            let used = second.used(place);
            let Some(mut third) = second.child(place) else { unreachable!("the run was found in this table") };
            let count = break_leaves(&mut third, run, pace, source);
            if count == used {
                second.hide(place);
            }
            (count, count == used && top_used == 1)
        };
        if second_empties {
            root.hide(top);
        }
        count
    }

    /// Clears the broken leaves of `run`, tells the source, and takes empty tables out; returns whether one of those was
    /// still visible to walkers.
    pub(super) fn sweep_run(&mut self, run: Run, emptied: &mut Emptied, source: &mut impl TableSource) -> bool {
        let mut root = self.root.edit();
        let top = Level::One.index(run.ipa);
        if run.level == Level::One {
            sweep_leaves(&mut root, run, source);
            return false;
        }
        let Some(mut second) = root.child(top) else { unreachable!("the run was found in this table") };
        let mut visible = false;
        let removed = if run.level == Level::Two {
            sweep_leaves(&mut second, run, source);
            run.count
        } else {
            let place = Level::Two.index(run.ipa);
            let Some(mut third) = second.child(place) else { unreachable!("the run was found in this table") };
            sweep_leaves(&mut third, run, source);
            drop_used(&mut second, place, run.count, emptied, &mut visible)
        };
        if removed != 0 {
            drop_used(&mut root, top, removed, emptied, &mut visible);
        }
        visible
    }
}

/// Takes `removed` off the used entries of the table that entry `index` owns, and takes the table out when none is left;
/// returns the number of entries that this freed in `parent`.
fn drop_used(parent: &mut Edit<'_>, index: usize, removed: usize, emptied: &mut Emptied, visible: &mut bool) -> usize {
    if parent.used(index) > removed {
        parent.sub_used(index, removed);
        return 0;
    }
    *visible |= parent.entry(index) & VALID != 0;
    let Some(table) = parent.unlink(index) else { unreachable!("the entry owns the table that was worked on") };
    if emptied.push(table).is_err() {
        unreachable!("a run empties two tables at most")
    }
    1
}

fn break_leaves(table: &mut Edit<'_>, run: Run, pace: &mut Pace, source: &mut impl TableSource) -> usize {
    pace.change(run.count, source, |unit, count| table.change_leaves(run.index(unit), count, !VALID, 0))
}

/// Clears the leaves of `run` and tells the source of them, neighbors in memory in one word.
fn sweep_leaves(table: &mut Edit<'_>, run: Run, source: &mut impl TableSource) {
    table.clear_leaves(run.index(0), run.count, run.level.bytes(), |leaf, count| {
        source.unmapped(Pa::of_entry(leaf), Run { count, ..run }.pages());
    });
}
