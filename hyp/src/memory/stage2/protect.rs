//! Protect: permissions of what is mapped. The entry is rewritten and then invalidated, without a break in between, so
//! that a sibling vCPU never faults on a page that it may use (DDI 0487: permissions need no break-before-make).

use strato_abi::addr::Ipa;
use strato_abi::address_space::Attributes;

use super::run::{Budget, Pace, Run, Runs, Unsearched};
use super::{AddressSpace, SpaceError, check_range};
use crate::arch::stage2::Scope;
use crate::arch::table::Edit;
use crate::memory::descriptor::{Attr, Level, PERMISSIONS, decode};
use crate::memory::source::TableSource;

impl AddressSpace {
    /// Gives `pages` mapped pages from `ipa` on the rights of `attr`; returns how many pages, from the first on. Fewer
    /// than asked when the call reached its bound or an interrupt waits.
    ///
    /// # Errors
    /// [`SpaceError::BadRange`], [`SpaceError::NotMapped`], [`SpaceError::Dying`]; [`SpaceError::BadAttribute`] when a
    /// page has another memory type than `attr`; [`SpaceError::NoRight`] when it cannot get the rights; [`SpaceError::NoMemory`] and [`SpaceError::Quota`] when a block must be
    /// split. All rights are as before then.
    pub fn protect(
        &mut self,
        ipa: Ipa,
        pages: u64,
        attr: Attr,
        source: &mut impl TableSource,
    ) -> Result<u64, SpaceError> {
        let budget = Budget::after(self.complete(source));
        let runs = self.runs_to_protect(ipa, pages, attr, budget, source)?;
        let done = self.rewrite_runs(&runs, attr, source);
        let one_page = matches!(runs.as_slice(), [Run { level: Level::Three, count: 1, .. }]);
        self.invalidate(if one_page { Scope::Page(ipa.bytes()) } else { Scope::All });
        Ok(done)
    }

    /// Returns the mapped leaves of the range, with boundaries at both ends, as far as the budget reaches; all of them can
    /// get `attr`.
    pub(super) fn runs_to_protect(
        &mut self,
        ipa: Ipa,
        pages: u64,
        attr: Attr,
        mut budget: Budget,
        source: &mut impl TableSource,
    ) -> Result<Runs, SpaceError> {
        let start = check_range(ipa, pages)?;
        self.check_alive()?;
        let pages = self.split_around(start, pages, &mut budget, source)?;
        let runs = self.mapped_runs(start, pages, budget, &mut Unsearched)?;
        self.check_leaves(&runs, attr)?;
        Ok(runs)
    }

    /// Gives the leaves of `runs` the rights of `attr`; returns how many pages before an interrupt waited.
    pub(super) fn rewrite_runs(&mut self, runs: &Runs, attr: Attr, source: &mut impl TableSource) -> u64 {
        let (mut done, mut pace) = (0u64, Pace::default());
        for run in runs {
            let count = self.with_table(*run, |table| rewrite(table, *run, attr, &mut pace, source));
            done = done.saturating_add(Run { count, ..*run }.pages());
            if pace.stopped {
                break;
            }
        }
        done
    }

    /// Checks that all leaves of `runs` have the memory type of `attr` and can get its rights.
    fn check_leaves(&self, runs: &Runs, attr: Attr) -> Result<(), SpaceError> {
        let mut most = Attributes::all();
        for run in runs {
            let (table, _) = self.leaf_table(run.ipa);
            for unit in 0..run.count {
                match decode(table.entry(run.index(unit))) {
                    Some((_, old)) if old.memory() == attr.memory() => most = most.intersection(old.most()),
                    Some(_) | None => return Err(SpaceError::BadAttribute),
                }
            }
        }
        let missing = attr.rights().difference(most);
        if missing.is_empty() { Ok(()) } else { Err(SpaceError::NoRight(missing)) }
    }

    /// Returns what `change` makes of the table that `run` stands in.
    fn with_table(&mut self, run: Run, change: impl FnOnce(&mut Edit<'_>) -> usize) -> usize {
        let mut root = self.root.edit();
        if run.level == Level::One {
            return change(&mut root);
        }
        let second = root.child(Level::One.index(run.ipa));
        let table = match run.level {
            Level::Three => second.and_then(|second| second.into_child(Level::Two.index(run.ipa))),
            Level::One | Level::Two => second,
        };
        table.map_or(0, |mut table| change(&mut table))
    }
}

fn rewrite(table: &mut Edit<'_>, run: Run, attr: Attr, pace: &mut Pace, source: &mut impl TableSource) -> usize {
    let rights = attr.bits() & PERMISSIONS;
    pace.change(run.count, source, |unit, count| table.change_leaves(run.index(unit), count, !PERMISSIONS, rights))
}
