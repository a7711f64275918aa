//! Split: a block replaced by a table of the next level that translates the same, so that a part of it can change.

use super::run::Budget;
use super::{AddressSpace, SpaceError};
use crate::arch::stage2::{self, Scope};
use crate::arch::table::{ENTRIES, Edit, Table, owns};
use crate::memory::descriptor::{Level, decode, encode};
use crate::memory::source::TableSource;

impl AddressSpace {
    /// Makes leaf boundaries at both ends of a range, and counts that against `budget`. All translations stay as they are,
    /// also when this fails. Returns the pages up to the second boundary, at least one: fewer than `pages` when blocks at the
    /// first had to be split, and the one at the other end is left to the next call. Two blocks are split at most.
    pub(super) fn split_around(
        &mut self,
        start: u64,
        pages: u64,
        budget: &mut Budget,
        source: &mut impl TableSource,
    ) -> Result<u64, SpaceError> {
        let end = start.saturating_add(pages << Level::Three.shift());
        let first = self.split_at(start, source)?;
        // What is left to the next call is never all: a split of 1 GiB may put the block across the end right behind `start`.
        let before = self.block_across(end).map(|level| end & !(level.bytes() - 1));
        let (blocks, end) = match before.filter(|&before| first != 0 && before > start) {
            Some(before) => (first, before),
            None => (self.split_at(end, source)?.saturating_add(first), end),
        };
        budget.split(blocks);
        Ok(end.saturating_sub(start) >> Level::Three.shift())
    }

    /// Makes a leaf boundary at address `at`; returns how many blocks that split.
    fn split_at(&mut self, at: u64, source: &mut impl TableSource) -> Result<usize, SpaceError> {
        let mut blocks = 0usize;
        while let Some(level) = self.block_across(at) {
            let table = self.take_table(source)?;
            let vttbr = self.selector.vttbr;
            let mut root = self.root.edit();
            let top = Level::One.index(at);
            let unused = if level == Level::One {
                replace(&mut root, top, table, Level::Two, vttbr)
            } else {
                match root.child(top) {
                    Some(mut second) => replace(&mut second, Level::Two.index(at), table, Level::Three, vttbr),
                    None => Some(table),
                }
            };
            if let Some(table) = unused {
                self.put_table(table, source);
                break;
            }
            blocks = blocks.wrapping_add(1);
        }
        Ok(blocks)
    }

    /// Returns the level of the block that reaches over the boundary at `at`, if there is one.
    fn block_across(&self, at: u64) -> Option<Level> {
        let (table, level) = self.leaf_table(at);
        let across = at & (level.bytes() - 1) != 0 && table.entry(level.index(at)) != 0;
        across.then_some(level)
    }
}

/// Puts `table`, filled with leaves of level `below`, in the place of the block in entry `index`. Break-before-make: the
/// size of what a core may hold changes. Returns the table when the entry is no block.
fn replace(parent: &mut Edit<'_>, index: usize, mut table: Table, below: Level, vttbr: stage2::Vttbr) -> Option<Table> {
    let entry = parent.entry(index);
    let Some((pa, attr)) = decode(entry).filter(|_| !owns(entry)) else { return Some(table) };
    table.edit().write_leaves(0, ENTRIES, encode(pa.bytes(), attr, below), below.bytes());
    parent.set_leaf(index, 0);
    stage2::invalidate(vttbr, Scope::All);
    let unused = parent.link(index, table, ENTRIES).err();
    stage2::publish();
    unused
}
