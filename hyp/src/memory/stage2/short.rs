//! Short: leaves of one table that exists and stays, by the shortest ways there are. Most calls are that.
//!
//! All check everything first and refuse whatever is not that simple, without a reason; the ways of `map` and `unmap` know
//! reasons, tables, blocks and pieces.

use strato_abi::addr::{Ipa, PAGE_SIZE};

use super::run::clip;
use super::teardown::State;
use super::{AddressSpace, Mapped, UNITS, UNITS_PER_LOOK};
use crate::arch::ram::Pa;
use crate::arch::stage2::{self, Scope};
use crate::arch::table::Counted;
use crate::memory::descriptor::{Attr, Level, decode, encode};
use crate::memory::source::TableSource;

/// A free entry of a table that exists.
pub struct Vacant<'a> {
    table: Counted<'a>,
    index: usize,
    level: Level,
}

impl AddressSpace {
    /// Returns whether it is in use and has nothing left to be invalidated.
    #[inline(always)]
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == State::Alive
    }

    /// Returns the entry of level `level`, two or three, that translates `ipa`: `None` when `ipa` is not aligned to that or in
    /// page 0, the entry is used, or has no table. For an address space that [is settled](AddressSpace::is_settled).
    #[inline(always)]
    #[must_use]
    pub fn vacant(&mut self, ipa: Ipa, level: Level) -> Option<Vacant<'_>> {
        let index = level.index(ipa.bytes());
        let table = self.table_of(ipa, level)?;
        (table.entry(index) == 0).then_some(Vacant { table, index, level })
    }

    /// Takes the mapping of page `ipa` away, if it is to a page that `may_take` accepts, and returns what was mapped there, the
    /// invalidation complete. `None`, and nothing done, when it is not mapped as a page, is the last of its table, or in the
    /// cases of [`AddressSpace::vacant`].
    #[inline(always)]
    #[must_use]
    pub fn take_page(&mut self, ipa: Ipa, may_take: impl FnOnce(Pa) -> bool) -> Option<Pa> {
        let (vttbr, index) = (self.selector.vttbr, Level::Three.index(ipa.bytes()));
        let mut table = self.table_of(ipa, Level::Three)?;
        let (pa, _) = decode(table.entry(index)).filter(|(pa, _)| table.used() > 1 && may_take(*pa))?;
        table.remove_leaves(index, 1);
        stage2::invalidate(vttbr, Scope::Page(ipa.bytes()));
        Some(pa)
    }

    /// Maps pages whose entries stand in one table and are free; `None`, and nothing done, otherwise. For checked arguments.
    pub(super) fn map_row(
        &mut self,
        ipa: Ipa,
        pa: u64,
        pages: u64,
        attr: Attr,
        source: &mut impl TableSource,
    ) -> Option<Mapped> {
        let (first, count) = row(ipa, pages)?;
        let mut table = self.table_of(ipa, Level::Three).filter(|table| table.is_free(first, count))?;
        let mut leaf = encode(pa, attr, Level::Three);
        let done = paced(first, count, source, |at, some| {
            table.add_leaves(at, some, leaf, PAGE_SIZE);
            leaf = leaf.wrapping_add((some as u64).wrapping_mul(PAGE_SIZE));
        });
        stage2::publish();
        Some(Mapped { pages: done as u64, level: Level::Three })
    }

    /// Unmaps pages whose entries stand in one table that keeps others, and whose frames stand in a row in one extent; `None`, and
    /// nothing done, otherwise. Returns how many.
    pub(super) fn unmap_row(&mut self, ipa: Ipa, pages: u64, source: &mut impl TableSource) -> Option<u64> {
        let (first, count) = row(ipa, pages)?;
        let mut table = self.table_of(ipa, Level::Three).filter(|table| table.used() > count)?;
        let leaf = table.entry(first);
        let (pa, _) = decode(leaf).filter(|_| table.is_row(first, count, leaf, PAGE_SIZE))?;
        if source.piece(pa) < pages {
            return None;
        }
        let done = paced(first, count, source, |at, some| table.remove_leaves(at, some));
        self.invalidate(if done == 1 { Scope::Page(ipa.bytes()) } else { Scope::All });
        source.unmapped(pa, done as u64);
        Some(done as u64)
    }

    /// Returns the table of level `level` with the entry of `ipa`.
    #[inline(always)]
    fn table_of(&mut self, ipa: Ipa, level: Level) -> Option<Counted<'_>> {
        let is_aligned = ipa.bytes().is_multiple_of(level.bytes());
        if !is_aligned || ipa.bytes() < PAGE_SIZE {
            return None;
        }
        let (root, top) = (self.root.edit(), Level::One.index(ipa.bytes()));
        match level {
            Level::One => None,
            Level::Two => root.into_counted(top),
            Level::Three => root.into_child(top)?.into_counted(Level::Two.index(ipa.bytes())),
        }
    }
}

impl Vacant<'_> {
    /// Maps what the entry translates to the memory from `pa` on, which the caller may map so.
    #[inline(always)]
    pub fn fill(mut self, pa: Pa, attr: Attr) {
        self.table.add_leaves(self.index, 1, encode(pa.bytes(), attr, self.level), 0);
        stage2::publish();
    }
}

/// Returns index and number of the entries of `pages` pages, when one table and one call are enough for them.
fn row(ipa: Ipa, pages: u64) -> Option<(usize, usize)> {
    let first = Level::Three.index(ipa.bytes());
    let count = clip(pages, first).min(UNITS);
    (count as u64 == pages).then_some((first, count))
}

/// Does `change` to `count` entries from `first` on, some at a time, until an interrupt waits; returns how many.
#[inline(always)]
fn paced(first: usize, count: usize, source: &mut impl TableSource, mut change: impl FnMut(usize, usize)) -> usize {
    let mut done = 0;
    while done < count {
        let some = count.wrapping_sub(done).min(UNITS_PER_LOOK);
        change(first.wrapping_add(done), some);
        done = done.wrapping_add(some);
        if some == UNITS_PER_LOOK && source.interrupt_pending() {
            break;
        }
    }
    done
}
