//! Teardown: everything an address space holds, given back in bounded steps.
//!
//! First what was left to be invalidated is. Then all entries of the root become invalid and one invalidation follows; from
//! then on no walker can reach a table, even if a core still selects the address space. Then the tables are emptied and freed
//! from the lowest address on.

use super::{AddressSpace, SpaceError};
use crate::arch::ram::Pa;
use crate::arch::stage2::Scope;
use crate::arch::table::{ENTRIES, Edit, Table, VALID, owns};
use crate::memory::descriptor::Level;
use crate::memory::source::TableSource;

/// How it stands, and how far its end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// In use.
    Alive,
    /// In use, and something is left to be invalidated.
    Late,
    /// Refuses changes; the root's entries are still visible to walkers.
    Hiding,
    /// Nothing is visible; everything from this address on is still held.
    Freeing(u64),
    /// Only the root and the spare table are left.
    Empty,
}

/// Whether a stepwise work is done.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Another step is due.
    More,
    /// Nothing is left to do.
    Done,
}

/// One past the last address that the root translates.
const END: u64 = (ENTRIES as u64) << Level::One.shift();

/// What one step may cost, in looks at an entry that is not used: about ten instructions each. Most of the entries of most
/// address spaces are not used. An interrupt of the console may be served in the same visit.
const BUDGET: usize = 520;
/// What a used entry costs besides.
const CHANGE: usize = 12;
/// What a table costs besides that goes back to the pool.
const FREE: usize = 40;
/// What the ledger's look-up costs when memory is told of that does not follow the last: it searches every size of object.
const TELL: usize = 50;

impl AddressSpace {
    /// Refuses an address space that is being torn down.
    #[inline]
    pub(super) fn check_alive(&self) -> Result<(), SpaceError> {
        if self.is_dying() { Err(SpaceError::Dying) } else { Ok(()) }
    }

    /// Returns whether the teardown has begun.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        !matches!(self.state, State::Alive | State::Late)
    }

    /// Does a bounded part of the way. From the first step on the address space refuses changes; it may still be selected on a
    /// core until [`AddressSpace::finish`].
    pub fn teardown_step(&mut self, source: &mut impl TableSource) -> Progress {
        match self.state {
            State::Late => {
                self.complete(source);
                self.state = State::Hiding;
            }
            State::Alive | State::Hiding => self.hide_all(),
            State::Freeing(at) => self.free_from(at, source),
            State::Empty => return Progress::Done,
        }
        if self.state == State::Empty { Progress::Done } else { Progress::More }
    }

    /// Gives the root back. No core selects the address space any more; its VMID is nobody's until the next generation.
    ///
    /// # Errors
    /// The address space, when [`AddressSpace::teardown_step`] has not said `Done` yet.
    #[allow(clippy::result_large_err, reason = "the address space itself, which would be lost")]
    pub fn finish(mut self, source: &mut impl TableSource) -> Result<(), Self> {
        if self.state != State::Empty {
            return Err(self);
        }
        if let Some(spare) = self.spare.take() {
            self.give_table(spare, source);
        }
        source.give_table_back(self.root.into_pages());
        Ok(())
    }

    fn hide_all(&mut self) {
        let mut root = self.root.edit();
        for index in 0..ENTRIES {
            let entry = root.entry(index);
            if entry == 0 {
                continue;
            }
            if owns(entry) {
                root.hide(index);
            } else {
                root.set_leaf(index, entry & !VALID);
            }
        }
        self.invalidate(Scope::All);
        self.state = State::Freeing(0);
    }

    fn free_from(&mut self, start: u64, source: &mut impl TableSource) {
        let (mut at, mut gone, mut budget) = (start, Gone::default(), BUDGET);
        // A table that has become empty is taken out before anything is stepped over.
        let mut may_skip = false;
        while budget != 0 {
            if may_skip {
                at = self.used_from(at, &mut budget);
            }
            if at >= END {
                break;
            }
            budget = budget.saturating_sub(CHANGE);
            let visit = visit(&mut self.root.edit(), at, &mut gone, source);
            may_skip = matches!(visit, Visit::Passed(_));
            match visit {
                Visit::Emptied => {}
                Visit::Freed(table) => {
                    budget = budget.saturating_sub(FREE);
                    self.give_table(table, source);
                }
                Visit::Passed(level) => at = (at & !(level.bytes() - 1)).saturating_add(level.bytes()),
            }
            budget = budget.saturating_sub(TELL.saturating_mul(core::mem::take(&mut gone.told)));
        }
        gone.tell(source);
        self.state = if at >= END { State::Empty } else { State::Freeing(at) };
    }

    /// Returns the first address from `at` on whose entry is used, or where the budget ended.
    fn used_from(&self, mut at: u64, budget: &mut usize) -> u64 {
        while at < END && *budget != 0 {
            let (table, level) = self.leaf_table(at);
            let from = level.index(at);
            let most = ENTRIES.saturating_sub(from).min(*budget);
            let skipped = (from..).take(most).take_while(|&index| table.entry(index) == 0).count();
            *budget = budget.saturating_sub(skipped);
            if skipped != 0 {
                at = (at & !(level.bytes() - 1)).saturating_add(level.bytes().saturating_mul(skipped as u64));
            }
            if skipped < most {
                break;
            }
        }
        at
    }
}

/// Neighboring pages that are not mapped any more, of which the source has not been told.
#[derive(Default)]
struct Gone {
    /// First page, how many, and how many from there on are in one extent: the ledger looks for each extent by itself.
    stretch: Option<(Pa, u64, u64)>,
    /// How often it was told.
    told: usize,
}

impl Gone {
    fn add(&mut self, pa: Pa, pages: u64, source: &mut impl TableSource) {
        match &mut self.stretch {
            Some((first, before, room))
                if *before < *room && first.bytes().wrapping_add(*before << 12) == pa.bytes() =>
            {
                *before = before.saturating_add(pages);
            }
            _ => {
                self.tell(source);
                self.stretch = Some((pa, pages, source.piece(pa)));
            }
        }
    }

    fn tell(&mut self, source: &mut impl TableSource) {
        if let Some((first, pages, _)) = self.stretch.take() {
            source.unmapped(first, pages);
            self.told = self.told.saturating_add(1);
        }
    }
}

/// What a visit to one entry came to.
enum Visit {
    /// The entry holds nothing any more: the next one of this level is due.
    Passed(Level),
    /// That emptied the table: it is due.
    Emptied,
    /// An empty table was taken out: its entry is due.
    Freed(Table),
}

/// Clears the leaf that holds `at`, or takes the table out that holds it when that is empty.
fn visit(root: &mut Edit<'_>, at: u64, gone: &mut Gone, source: &mut impl TableSource) -> Visit {
    let (top, place) = (Level::One.index(at), Level::Two.index(at));
    let top_used = root.used(top);
    let Some(mut second) = root.child(top) else {
        clear(root, top, Level::One, gone, source);
        return Visit::Passed(Level::One);
    };
    let used = second.used(place);
    let removed = match second.child(place) {
        Some(_) if used == 0 => second.unlink(place).map(Visit::Freed),
        Some(mut third) => {
            let cleared = clear(&mut third, Level::Three.index(at), Level::Three, gone, source);
            if cleared {
                second.sub_used(place, 1);
            }
            return if cleared && used == 1 { Visit::Emptied } else { Visit::Passed(Level::Three) };
        }
        None if top_used == 0 => return root.unlink(top).map_or(Visit::Passed(Level::One), Visit::Freed),
        None => clear(&mut second, place, Level::Two, gone, source).then_some(Visit::Passed(Level::Two)),
    };
    match removed {
        None => Visit::Passed(Level::Two),
        Some(visit) => {
            root.sub_used(top, 1);
            if top_used == 1 && matches!(visit, Visit::Passed(_)) { Visit::Emptied } else { visit }
        }
    }
}

/// Clears entry `index`, a leaf or nothing; returns whether it was a leaf. Neighbors are told to the source in one word.
fn clear(table: &mut Edit<'_>, index: usize, level: Level, gone: &mut Gone, source: &mut impl TableSource) -> bool {
    let entry = table.entry(index);
    if entry == 0 {
        return false;
    }
    table.set_leaf(index, 0);
    gone.add(Pa::of_entry(entry), level.pages(), source);
    true
}
