//! Region: ranges of physical addresses and what remains of a set of them when one is taken out. Pure.

use core::mem::size_of;

use heapless::Vec;

/// Bytes of a page and of a frame.
pub const PAGE: u64 = 4096;
/// First address that EL2's own map cannot name (39 bits).
pub const LIMIT: u64 = 1 << 39;

/// Returns the first address that this core cannot form, or [`LIMIT`] if that is lower. `pa_range` is ID_AA64MMFR0_EL1.PARange.
#[must_use]
pub const fn limit(pa_range: u64) -> u64 {
    match pa_range & 0xf {
        0 => 1 << 32,
        1 => 1 << 36,
        _ => LIMIT,
    }
}

const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "an address fits a usize");

/// Returns an address or a length as the type that pointers are made of.
#[allow(clippy::cast_possible_truncation, reason = "both have 64 bits, as asserted above")]
pub(super) const fn native(value: u64) -> usize {
    value as usize
}

/// Physical addresses from `start` up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Byte behind the last.
    pub end: u64,
}

impl Region {
    /// Returns the region of `bytes` bytes at `start`, cut off where addresses end.
    #[must_use]
    pub const fn new(start: u64, bytes: u64) -> Self {
        Self { start, end: start.saturating_add(bytes) }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether every byte of `other` lies in this region.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Returns whether a byte lies in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns the whole pages inside, below [`LIMIT`]; empty if there is none.
    #[must_use]
    pub const fn inner_pages(self) -> Self {
        let start = self.start.saturating_add(PAGE - 1) & !(PAGE - 1);
        let end = if self.end < LIMIT { self.end } else { LIMIT } & !(PAGE - 1);
        Self { start, end: if end > start { end } else { start } }
    }

    /// Returns the pages that hold a byte of the region.
    #[must_use]
    pub const fn outer_pages(self) -> Self {
        Self { start: self.start & !(PAGE - 1), end: self.end.saturating_add(PAGE - 1) & !(PAGE - 1) }
    }
}

/// More regions came up than there is room for; some of the machine's memory would be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRegions;

/// Takes `hole` out of every region of `set`, which stays sorted if it was.
///
/// # Errors
/// [`TooManyRegions`] when a region is split and `set` is full; the set is then not usable.
pub fn take_out<const N: usize>(set: &mut Vec<Region, N>, hole: Region) -> Result<(), TooManyRegions> {
    let mut at = 0;
    while let Some(region) = set.get(at).copied() {
        if !region.overlaps(hole) || hole.bytes() == 0 {
            at += 1;
            continue;
        }
        set.remove(at);
        for part in [Region { start: region.start, end: hole.start }, Region { start: hole.end, end: region.end }] {
            if part.start < part.end {
                set.insert(at, part).map_err(|_| TooManyRegions)?;
                at += 1;
            }
        }
    }
    Ok(())
}

/// Returns the whole pages of `regions`, sorted, with those that touch or overlap made one.
///
/// # Errors
/// [`TooManyRegions`] when more than `N` regions remain.
pub fn merge<const N: usize>(regions: &[Region]) -> Result<Vec<Region, N>, TooManyRegions> {
    let mut set: Vec<Region, N> = Vec::new();
    for pages in regions.iter().map(|region| region.inner_pages()).filter(|pages| pages.bytes() > 0) {
        // Insertion keeps the few regions sorted; core's sort is 3.5 KiB of text.
        let at = set.iter().position(|other| *other > pages).unwrap_or(set.len());
        set.insert(at, pages).map_err(|_| TooManyRegions)?;
    }
    let mut merged: Vec<Region, N> = Vec::new();
    for region in set {
        match merged.last_mut() {
            Some(last) if region.start <= last.end => last.end = last.end.max(region.end),
            _ => merged.push(region).map_err(|_| TooManyRegions)?,
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(parts: &[(u64, u64)]) -> Vec<Region, 4> {
        parts.iter().map(|&(start, end)| Region { start, end }).collect()
    }

    #[test]
    fn a_hole_in_the_middle_splits_a_region() {
        let mut regions = set(&[(0x1000, 0x9000)]);
        take_out(&mut regions, Region { start: 0x3000, end: 0x5000 }).unwrap();
        assert_eq!(regions, set(&[(0x1000, 0x3000), (0x5000, 0x9000)]));
    }

    #[test]
    fn a_hole_over_edges_and_whole_regions_leaves_the_rest() {
        let mut regions = set(&[(0x1000, 0x3000), (0x4000, 0x5000), (0x6000, 0x8000)]);
        take_out(&mut regions, Region { start: 0x2000, end: 0x7000 }).unwrap();
        assert_eq!(regions, set(&[(0x1000, 0x2000), (0x7000, 0x8000)]));
    }

    #[test]
    fn a_split_without_room_is_refused() {
        let mut regions = set(&[(0x1000, 0x4000), (0x5000, 0x6000), (0x7000, 0x8000), (0x9000, 0xa000)]);
        assert_eq!(take_out(&mut regions, Region { start: 0x2000, end: 0x3000 }), Err(TooManyRegions));
    }

    #[test]
    fn overlapping_and_unsorted_memory_becomes_one_region_of_whole_pages() {
        let parts =
            [Region { start: 0x5800, end: 0x9000 }, Region { start: 0x1001, end: 0x5fff }, Region::new(LIMIT, 1)];
        assert_eq!(merge::<4>(&parts).unwrap(), set(&[(0x2000, 0x5000), (0x6000, 0x9000)]));
        let parts = [Region { start: 0x4000, end: 0x9000 }, Region { start: 0x1000, end: 0x6000 }];
        assert_eq!(merge::<4>(&parts).unwrap(), set(&[(0x1000, 0x9000)]));
    }

    #[test]
    fn a_core_forms_addresses_of_32_bits_or_more() {
        assert_eq!([0, 1, 2, 5, 6].map(limit), [1 << 32, 1 << 36, LIMIT, LIMIT, LIMIT]);
    }

    #[test]
    fn a_region_at_the_end_of_addresses_does_not_wrap() {
        let all = Region::new(0xffff_ffff_ffff_f800, u64::MAX);
        assert_eq!(all.inner_pages().bytes(), 0);
        assert_eq!(all.end, u64::MAX);
    }
}
