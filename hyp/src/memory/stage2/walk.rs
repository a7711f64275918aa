//! Walk: what is mapped, read only. For QUERY, for aborts that an older entry caused, and for reports.

use strato_abi::addr::{IPA_BITS, Ipa, PAGE_SIZE};
use strato_abi::address_space::Attributes;

use super::AddressSpace;
use crate::arch::ram::Pa;
use crate::arch::table::{ENTRIES, Look, VALID};
use crate::memory::descriptor::{Attr, Level, decode};

/// Leaves that [`AddressSpace::nearest`] joins to one region at most.
const REGION_LEAVES: usize = 512;

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
    /// Bytes: at least this many, since a region is followed over a bounded number of leaves.
    pub bytes: u64,
    /// Rights and memory type.
    pub attr: Attr,
}

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

    /// Returns the regions that end at or below and start at or above `ipa`; the one that holds `ipa` is both. For
    /// reports: it visits at most some thousands of entries.
    #[must_use]
    pub fn nearest(&self, ipa: Ipa) -> (Option<Region>, Option<Region>) {
        let at = ipa.bytes();
        (
            self.leaf_up_to(at).and_then(|leaf| self.region(leaf, false)),
            self.leaf_from(at).and_then(|leaf| self.region(leaf, true)),
        )
    }

    /// Returns the stretch that holds `at`, a number of bytes, or the first one above it, from its first whole leaf on. For
    /// the report at boot.
    #[must_use]
    pub fn stretch_from(&self, at: u64) -> Option<Stretch> {
        let leaf = self.leaf_from(at)?;
        let mut bytes = leaf.level.bytes();
        for _ in 0..REGION_LEAVES {
            let Some(next) = self.leaf_from(leaf.start.saturating_add(bytes)) else { break };
            let in_row = next.start == leaf.start.saturating_add(bytes) && leaf.pa.checked_add(bytes) == Some(next.pa);
            if !in_row || next.attr != leaf.attr {
                break;
            }
            bytes = bytes.saturating_add(next.level.bytes());
        }
        Some(Stretch { start: Ipa::new(leaf.start)?, bytes, pa: leaf.pa, attr: leaf.attr })
    }

    /// Returns the region of `leaf`, followed upwards or downwards.
    fn region(&self, leaf: Found, upwards: bool) -> Option<Region> {
        let (mut start, mut end) = (leaf.start, leaf.start.saturating_add(leaf.level.bytes()));
        for _ in 0..REGION_LEAVES {
            let next =
                if upwards { self.leaf_from(end) } else { start.checked_sub(1).and_then(|at| self.leaf_up_to(at)) };
            let Some(next) = next.filter(|next| next.attr.acts_like(leaf.attr)) else { break };
            let next_end = next.start.saturating_add(next.level.bytes());
            match upwards {
                true if next.start == end => end = next_end,
                false if next_end == start => start = next.start,
                _ => break,
            }
        }
        Some(Region { start: Ipa::new(start)?, bytes: end.saturating_sub(start), attr: leaf.attr })
    }

    /// Returns the leaf that holds `at`, or the first one above it.
    fn leaf_from(&self, at: u64) -> Option<Found> {
        if at >> IPA_BITS != 0 { None } else { first_leaf(self.root.look(), Level::One, 0, at) }
    }

    /// Returns the leaf that holds `at`, or the last one below it.
    fn leaf_up_to(&self, at: u64) -> Option<Found> {
        last_leaf(self.root.look(), Level::One, 0, at.min((1 << IPA_BITS) - PAGE_SIZE))
    }
}

/// A leaf and where it stands.
#[derive(Clone, Copy)]
struct Found {
    start: u64,
    level: Level,
    pa: Pa,
    attr: Attr,
}

/// Returns the first leaf of `table`, which translates from `base` on, that ends above `at`.
fn first_leaf(table: Look<'_>, level: Level, base: u64, at: u64) -> Option<Found> {
    let from = if at > base { level.index(at) } else { 0 };
    (from..ENTRIES).find_map(|index| {
        let start = base.saturating_add((index as u64) << level.shift());
        match (table.child(index), below(level)) {
            (Some(child), Some(below)) => first_leaf(child, below, start, at),
            _ => found(table.entry(index), level, start),
        }
    })
}

/// Returns the last leaf of `table`, which translates from `base` on, that starts at or below `at`.
fn last_leaf(table: Look<'_>, level: Level, base: u64, at: u64) -> Option<Found> {
    let end = base.saturating_add((ENTRIES as u64) << level.shift());
    let to = if at < end { level.index(at) } else { ENTRIES - 1 };
    (0..=to).rev().find_map(|index| {
        let start = base.saturating_add((index as u64) << level.shift());
        match (table.child(index), below(level)) {
            (Some(child), Some(below)) => last_leaf(child, below, start, at),
            _ => found(table.entry(index), level, start),
        }
    })
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
