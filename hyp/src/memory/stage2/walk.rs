//! Walk: what is mapped, read only. For QUERY, for aborts that an older entry caused, and for reports.

use strato_abi::addr::{IPA_BITS, Ipa, PAGE_SIZE};
use strato_abi::address_space::Attributes;

use super::AddressSpace;
use crate::arch::ram::Pa;
use crate::arch::table::{ENTRIES, Look, VALID};
use crate::memory::descriptor::{Attr, Level, decode};

/// Leaves that are joined to one stretch at most.
const STRETCH_LEAVES: usize = 512;
/// Entries that are looked at in one go to find a region, and to follow it: both together, a line and an interrupt of the console take less than
/// the longest call.
const ENTRIES_TO_FIND: usize = 64;
const ENTRIES_TO_FOLLOW: usize = 48;

/// What one address translates to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Physical address of the page that holds the address.
    pub pa: Pa,
    /// Rights and memory type.
    pub attr: Attr,
    /// Level of the leaf.
    pub level: Level,
}

impl Leaf {
    /// Returns whether it lets `access` through.
    #[must_use]
    pub fn permits(&self, access: Access) -> bool {
        self.attr.rights().contains(match access {
            Access::Read => Attributes::READ,
            Access::Write => Attributes::WRITE,
            Access::Execute => Attributes::EXECUTE,
        })
    }
}

/// What a guest wanted to do with an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// Mapped pages in a row with the same rights and memory type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First guest-physical address.
    pub start: Ipa,
    /// Bytes: at least this many, since a region is followed over a bounded number of entries.
    pub bytes: u64,
    /// Rights and memory type.
    pub attr: Attr,
}

/// A region was not found among the entries that are looked at in one go: the address from which to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GoOn(pub Ipa);

/// Mapped pages in a row with the same attributes, whose frames stand in a row too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// First guest-physical address.
    pub start: Ipa,
    /// Bytes: at least this many, since a stretch is followed over a bounded number of leaves.
    pub bytes: u64,
    /// First physical address.
    pub pa: Pa,
    /// Rights and memory type.
    pub attr: Attr,
}

impl AddressSpace {
    /// Returns what `ipa` translates to, or `None` when it is not mapped.
    #[must_use]
    pub fn query(&self, ipa: Ipa) -> Option<Leaf> {
        let (table, level) = self.leaf_table(ipa.bytes());
        let (base, attr) = decode(table.entry(level.index(ipa.bytes())))?;
        let inside = ipa.page_base().bytes() & (level.bytes() - 1);
        Some(Leaf { pa: base.checked_add(inside)?, attr, level })
    }

    /// Returns whether the entries permit `access` to `ipa`: then an abort came from an older entry, and the guest
    /// retries once that is forgotten.
    #[must_use]
    pub fn permits(&self, ipa: Ipa, access: Access) -> bool {
        self.query(ipa).is_some_and(|leaf| leaf.permits(access))
    }

    /// Returns the region that holds `ipa`, or else the last one below it. For reports.
    ///
    /// # Errors
    /// [`GoOn`].
    pub fn region_up_to(&self, ipa: Ipa) -> Result<Option<Region>, GoOn> {
        let leaf = self.leaf_up_to(ipa.bytes(), &mut { ENTRIES_TO_FIND });
        self.region(leaf, false)
    }

    /// The same for the one that holds `ipa`, or else the first one above it.
    ///
    /// # Errors
    /// [`GoOn`].
    pub fn region_from(&self, ipa: Ipa) -> Result<Option<Region>, GoOn> {
        let leaf = self.leaf_from(ipa.bytes(), &mut { ENTRIES_TO_FIND });
        self.region(leaf, true)
    }

    /// Returns the stretch that holds `at`, a number of bytes, or the first one above it, from its first whole leaf on. For
    /// the report at boot.
    #[must_use]
    pub fn stretch_from(&self, at: u64) -> Option<Stretch> {
        let from = |at| self.leaf_from(at, &mut { usize::MAX }).ok().flatten();
        let leaf = from(at)?;
        let mut bytes = leaf.level.bytes();
        for _ in 0..STRETCH_LEAVES {
            let Some(next) = from(leaf.start.saturating_add(bytes)) else { break };
            let in_row = next.start == leaf.start.saturating_add(bytes) && leaf.pa.checked_add(bytes) == Some(next.pa);
            if !in_row || next.attr != leaf.attr {
                break;
            }
            bytes = bytes.saturating_add(next.level.bytes());
        }
        Some(Stretch { start: Ipa::new(leaf.start)?, bytes, pa: leaf.pa, attr: leaf.attr })
    }

    /// Returns the region of `leaf`, followed upwards or downwards.
    fn region(&self, leaf: Search, upwards: bool) -> Result<Option<Region>, GoOn> {
        let leaf = leaf.map_err(|at| Ipa::new(at).map(GoOn));
        let leaf = match leaf {
            Ok(Some(leaf)) => leaf,
            Ok(None) | Err(None) => return Ok(None),
            Err(Some(go_on)) => return Err(go_on),
        };
        let (mut start, mut end) = (leaf.start, leaf.start.saturating_add(leaf.level.bytes()));
        let mut left = ENTRIES_TO_FOLLOW;
        while left != 0 {
            let next = match start.checked_sub(1) {
                _ if upwards => self.leaf_from(end, &mut left),
                Some(at) => self.leaf_up_to(at, &mut left),
                None => break,
            };
            let Some(next) = next.ok().flatten().filter(|next| next.attr.acts_like(leaf.attr)) else { break };
            let next_end = next.start.saturating_add(next.level.bytes());
            match upwards {
                true if next.start == end => end = next_end,
                false if next_end == start => start = next.start,
                _ => break,
            }
        }
        Ok(Ipa::new(start).map(|start| Region { start, bytes: end.saturating_sub(start.bytes()), attr: leaf.attr }))
    }

    /// Returns the leaf that holds `at`, or the first one above it. Takes the entries that are looked at off `left`.
    fn leaf_from(&self, at: u64, left: &mut usize) -> Search {
        if at >> IPA_BITS != 0 { Ok(None) } else { first_leaf(self.root.look(), Level::One, 0, at, left) }
    }

    /// Returns the leaf that holds `at`, or the last one below it. Takes the entries that are looked at off `left`.
    fn leaf_up_to(&self, at: u64, left: &mut usize) -> Search {
        last_leaf(self.root.look(), Level::One, 0, at.min((1 << IPA_BITS) - PAGE_SIZE), left)
    }
}

/// A leaf, if there is one; or the address from which to go on, when no more entries may be looked at.
type Search = Result<Option<Found>, u64>;

/// A leaf and where it stands.
#[derive(Clone, Copy)]
struct Found {
    start: u64,
    level: Level,
    pa: Pa,
    attr: Attr,
}

/// Returns the first leaf of `table`, which translates from `base` on, that ends above `at`.
fn first_leaf(table: Look<'_>, level: Level, base: u64, at: u64, left: &mut usize) -> Search {
    let from = if at > base { level.index(at) } else { 0 };
    for index in from..ENTRIES {
        let start = base.saturating_add((index as u64) << level.shift());
        *left = left.checked_sub(1).ok_or(start.max(at))?;
        let leaf = match (table.child(index), below(level)) {
            (Some(child), Some(below)) => first_leaf(child, below, start, at, left)?,
            _ => found(table.entry(index), level, start),
        };
        if leaf.is_some() {
            return Ok(leaf);
        }
    }
    Ok(None)
}

/// Returns the last leaf of `table`, which translates from `base` on, that starts at or below `at`.
fn last_leaf(table: Look<'_>, level: Level, base: u64, at: u64, left: &mut usize) -> Search {
    let end = base.saturating_add((ENTRIES as u64) << level.shift());
    let to = if at < end { level.index(at) } else { ENTRIES - 1 };
    for index in (0..=to).rev() {
        let start = base.saturating_add((index as u64) << level.shift());
        let last = start.saturating_add(1 << level.shift()).saturating_sub(1);
        *left = left.checked_sub(1).ok_or(last.min(at))?;
        let leaf = match (table.child(index), below(level)) {
            (Some(child), Some(below)) => last_leaf(child, below, start, at, left)?,
            _ => found(table.entry(index), level, start),
        };
        if leaf.is_some() {
            return Ok(leaf);
        }
    }
    Ok(None)
}

fn below(level: Level) -> Option<Level> {
    match level {
        Level::One => Some(Level::Two),
        Level::Two => Some(Level::Three),
        Level::Three => None,
    }
}

fn found(entry: u64, level: Level, start: u64) -> Option<Found> {
    if entry & VALID == 0 {
        return None;
    }
    decode(entry).map(|(pa, attr)| Found { start, level, pa, attr })
}
