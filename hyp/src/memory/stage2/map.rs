//! Map: new leaves where nothing was. Pages into a table that exists take a short way; the rest is planned as runs.

use heapless::Vec;
use strato_abi::addr::{Ipa, PAGE_SIZE};

use super::run::{Pace, Run, Runs, clip};
use super::{AddressSpace, SpaceError, UNITS, check_range};
use crate::arch::ram::Pa;
use crate::arch::stage2;
use crate::arch::table::{Edit, Look, Table};
use crate::memory::descriptor::{Attr, Level, encode};
use crate::memory::source::TableSource;

/// What a call mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Pages, from the first on: fewer than asked when the call reached its bound or an interrupt waits.
    pub pages: u64,
    /// Level of the first leaf: 3 for pages, 2 and 1 for blocks.
    pub level: Level,
}

/// Tables taken before anything changes. Runs of one call need two of level 2 and two of level 3 at most.
type Tables = Vec<Table, 4>;

impl AddressSpace {
    /// Maps `pages` pages from `ipa` on to the memory from `pa` on, which the caller may map so.
    ///
    /// # Errors
    /// [`SpaceError::BadRange`], [`SpaceError::Exists`], [`SpaceError::NoMemory`], [`SpaceError::Quota`],
    /// [`SpaceError::Dying`]. Nothing was mapped then.
    pub fn map(
        &mut self,
        ipa: Ipa,
        pa: Pa,
        pages: u64,
        attr: Attr,
        source: &mut impl TableSource,
    ) -> Result<Mapped, SpaceError> {
        let start = check_range(ipa, pages)?;
        let fits = pages.checked_mul(PAGE_SIZE).and_then(|bytes| pa.checked_add(bytes)).is_some();
        if !fits || !pa.is_aligned(PAGE_SIZE) {
            return Err(SpaceError::BadRange);
        }
        self.check_alive()?;
        self.complete(source);
        match self.map_row(ipa, pa.bytes(), pages, attr, source) {
            Some(mapped) => Ok(mapped),
            None => self.map_runs(start, pa.bytes(), pages, attr, source),
        }
    }

    /// The long way: plan, take tables, commit.
    #[cold]
    #[inline(never)]
    fn map_runs(
        &mut self,
        start: u64,
        pa: u64,
        pages: u64,
        attr: Attr,
        source: &mut impl TableSource,
    ) -> Result<Mapped, SpaceError> {
        let (runs, needed) = self.plan(start, pa, pages)?;
        let mut tables = self.take_tables(needed, source)?;
        let (mut done, mut pace) = (0u64, Pace::default());
        for run in &runs {
            let filled =
                self.commit(*run, pa.wrapping_add(done.wrapping_mul(PAGE_SIZE)), attr, &mut tables, &mut pace, source);
            done = done.saturating_add(Run { count: filled, ..*run }.pages());
            if pace.stopped {
                break;
            }
        }
        while let Some(table) = tables.pop() {
            self.put_table(table, source);
        }
        stage2::publish();
        Ok(Mapped { pages: done, level: runs.first().map_or(Level::Three, |run| run.level) })
    }

    /// Returns the runs to map and the number of tables they need, with every entry checked to be free.
    fn plan(&self, start: u64, pa: u64, pages: u64) -> Result<(Runs, usize), SpaceError> {
        let (mut runs, mut needed, mut missing) = (Runs::new(), 0usize, None);
        let (mut at, mut pa, mut left, mut units) = (start, pa, pages, UNITS);
        while left != 0 && units != 0 {
            let level = largest(at | pa, left);
            let first = level.index(at);
            let run = Run { ipa: at, level, count: clip(left / level.pages(), first).min(units), jumps: 0 };
            let (free, tables) = self.is_free(run, missing);
            if !free {
                return Err(SpaceError::Exists);
            }
            if runs.push(run).is_err() {
                break;
            }
            if level != Level::One && self.root.look().child(Level::One.index(at)).is_none() {
                missing = Some(Level::One.index(at)); // counted with this run
            }
            needed = needed.saturating_add(tables);
            let bytes = run.bytes();
            (at, pa) = (at.saturating_add(bytes), pa.saturating_add(bytes));
            left = left.saturating_sub(run.pages());
            units = units.saturating_sub(run.count);
        }
        Ok((runs, needed))
    }

    /// Returns whether nothing is mapped where `run` goes, and how many tables it needs; the one of level 2 for entry
    /// `missing` of the root was counted before.
    fn is_free(&self, run: Run, missing: Option<usize>) -> (bool, usize) {
        let root = self.root.look();
        let top = Level::One.index(run.ipa);
        if run.level == Level::One {
            return (is_empty(root, run), 0);
        }
        let Some(second) = root.child(top) else {
            let tables = usize::from(missing != Some(top)).saturating_add(usize::from(run.level == Level::Three));
            return (root.entry(top) == 0, tables);
        };
        if run.level == Level::Two {
            return (is_empty(second, run), 0);
        }
        match second.child(Level::Two.index(run.ipa)) {
            Some(third) => (is_empty(third, run), 0),
            None => (second.entry(Level::Two.index(run.ipa)) == 0, 1),
        }
    }

    /// Returns `needed` empty tables, or none of them.
    fn take_tables(&mut self, needed: usize, source: &mut impl TableSource) -> Result<Tables, SpaceError> {
        let mut tables = Tables::new();
        for _ in 0..needed {
            match self.take_table(source) {
                Ok(table) => {
                    if let Err(table) = tables.push(table) {
                        self.put_table(table, source);
                        unreachable!("runs of one call need four tables at most")
                    }
                }
                Err(error) => {
                    while let Some(table) = tables.pop() {
                        self.put_table(table, source);
                    }
                    return Err(error);
                }
            }
        }
        Ok(tables)
    }

    /// Writes the entries of `run`, with the tables above them; returns how many before an interrupt waited.
    fn commit(
        &mut self,
        run: Run,
        pa: u64,
        attr: Attr,
        tables: &mut Tables,
        pace: &mut Pace,
        source: &mut impl TableSource,
    ) -> usize {
        let mut root = self.root.edit();
        if run.level == Level::One {
            return fill(&mut root, run, pa, attr, pace, source);
        }
        let top = Level::One.index(run.ipa);
        ensure(&mut root, top, tables);
        let Some(mut second) = root.child(top) else { unreachable!("the table was planned") };
        let (filled, added) = if run.level == Level::Two {
            let filled = fill(&mut second, run, pa, attr, pace, source);
            (filled, filled)
        } else {
            let place = Level::Two.index(run.ipa);
            let is_new = ensure(&mut second, place, tables);
            let Some(mut third) = second.child(place) else { unreachable!("the table was planned") };
            let filled = fill(&mut third, run, pa, attr, pace, source);
            second.add_used(place, filled);
            (filled, usize::from(is_new))
        };
        root.add_used(top, added);
        filled
    }
}

/// Links one of `tables` into entry `index` when it has none; returns whether it did.
fn ensure(table: &mut Edit<'_>, index: usize, tables: &mut Tables) -> bool {
    if table.entry(index) != 0 {
        return false;
    }
    let Some(child) = tables.pop() else { unreachable!("all tables were taken before") };
    if table.link(index, child, 0).is_err() {
        unreachable!("the entry is free")
    }
    true
}

/// Returns whether all entries of `run` are free.
#[inline(always)]
fn is_empty(table: Look<'_>, run: Run) -> bool {
    (0..run.count).all(|unit| table.entry(run.index(unit)) == 0)
}

/// Writes the entries of `run`; returns how many before an interrupt waited: at least one, so that no table is left empty
/// and every call gets on.
#[inline(always)]
fn fill(table: &mut Edit<'_>, run: Run, pa: u64, attr: Attr, pace: &mut Pace, source: &mut impl TableSource) -> usize {
    let mut leaf = encode(pa, attr, run.level);
    pace.change(run.count, source, |unit, count| {
        table.write_leaves(run.index(unit), count, leaf, run.level.bytes());
        leaf = leaf.wrapping_add((count as u64) << run.level.shift());
    })
}

/// Returns the level of the largest leaf that starts at `address` (guest and physical address, or-ed) and fits `pages`.
fn largest(address: u64, pages: u64) -> Level {
    let fits = |level: &Level| address & (level.bytes() - 1) == 0 && pages >= level.pages();
    [Level::One, Level::Two].into_iter().find(fits).unwrap_or(Level::Three)
}
