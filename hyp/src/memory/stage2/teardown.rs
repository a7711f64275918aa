//! Teardown: everything an address space holds, given back in bounded steps.
//!
//! First all entries of the root become invalid and one invalidation follows; from then on no walker can reach a table,
//! even if a core still selects the address space. Then the tables are emptied and freed from the lowest address on.

use super::{AddressSpace, SpaceError, TEARDOWN_UNITS};
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
    /// Root entries from this index on are still visible to walkers.
    Hiding(usize),
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

    /// Gives back at most [`TEARDOWN_UNITS`] entries' worth of mappings and tables. From the first step on the address
    /// space refuses changes; it may still be selected on a core until [`AddressSpace::finish`].
    pub fn teardown_step(&mut self, source: &mut impl TableSource) -> Progress {
        match self.state {
            State::Alive | State::Late => {
                self.leave_pending();
                self.hide_from(0);
            }
            State::Hiding(index) => self.hide_from(index),
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

    fn hide_from(&mut self, index: usize) {
        let end = index.saturating_add(TEARDOWN_UNITS).min(ENTRIES);
        let mut root = self.root.edit();
        for index in index..end {
            let entry = root.entry(index);
            if owns(entry) {
                root.hide(index);
            } else if entry & VALID != 0 {
                root.set_leaf(index, entry & !VALID);
            }
        }
        if end < ENTRIES {
            self.state = State::Hiding(end);
        } else {
            self.invalidate(Scope::All);
            self.state = State::Freeing(0);
        }
    }

    fn free_from(&mut self, start: u64, source: &mut impl TableSource) {
        let (mut at, mut gone) = (start, None);
        for _ in 0..TEARDOWN_UNITS {
            if at >= END {
                break;
            }
            match visit(&mut self.root.edit(), at, &mut gone, source) {
                Visit::Emptied => {}
                Visit::Freed(table) => self.give_table(table, source),
                Visit::Passed(level) => at = (at & !(level.bytes() - 1)).saturating_add(level.bytes()),
            }
        }
        tell(&mut gone, source);
        self.state = if at >= END { State::Empty } else { State::Freeing(at) };
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
fn visit(root: &mut Edit<'_>, at: u64, gone: &mut Option<(Pa, u64)>, source: &mut impl TableSource) -> Visit {
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
fn clear(
    table: &mut Edit<'_>,
    index: usize,
    level: Level,
    gone: &mut Option<(Pa, u64)>,
    source: &mut impl TableSource,
) -> bool {
    let entry = table.entry(index);
    if entry == 0 {
        return false;
    }
    table.set_leaf(index, 0);
    let pa = Pa::of_entry(entry);
    match gone {
        Some((first, pages)) if first.bytes().wrapping_add(*pages << 12) == pa.bytes() => {
            *pages = pages.saturating_add(level.pages());
        }
        _ => {
            tell(gone, source);
            *gone = Some((pa, level.pages()));
        }
    }
    true
}

fn tell(gone: &mut Option<(Pa, u64)>, source: &mut impl TableSource) {
    if let Some((first, pages)) = gone.take() {
        source.unmapped(first, pages);
    }
}
