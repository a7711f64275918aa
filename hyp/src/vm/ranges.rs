//! Ranges: the addresses at which borrowed memory may be mapped, at most four ranges in three words.
//!
//! Pure. They over-approximate: whatever is mapped of the memory lies inside, and there may be holes.

use strato_abi::share::BORROWED_RANGES;

/// Most ranges.
const COUNT: usize = 4;
const _: () = assert!(COUNT as u64 == BORROWED_RANGES);

/// Pages in a row of one address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Slot of the address space; below 8.
    pub space: u8,
    /// Number of the first page; never 0, below 2^27.
    pub first: u64,
    /// How many; 1 to 2^18.
    pub pages: u64,
}

const PAGES_MAX: u64 = 1 << 18;
/// The number of the first page in a packed range.
const FIRST: u64 = 0x7ff_ffff;

impl Range {
    const fn end(self) -> u64 {
        self.first.saturating_add(self.pages)
    }

    // first page[26:0] | pages - 1[44:27] | space[47:45]; 0 is no range, since page 0 is never mapped.
    fn pack(self) -> u64 {
        self.first | self.pages.saturating_sub(1) << 27 | u64::from(self.space & 7) << 45
    }

    #[allow(clippy::cast_possible_truncation, reason = "three bits")]
    fn unpack(word: u64) -> Option<Self> {
        let (first, pages) = (word & FIRST, (word >> 27 & 0x3_ffff).wrapping_add(1));
        (first != 0).then_some(Self { space: (word >> 45 & 7) as u8, first, pages })
    }

    fn of(space: u8, first: u64, end: u64) -> Option<Self> {
        (first < end).then(|| Self { space, first, pages: end.saturating_sub(first) })
    }
}

/// At most four ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges([u64; 3]);

const LOW: u64 = (1 << 48) - 1;

impl Ranges {
    pub(super) const fn from_words(words: [u64; 3]) -> Self {
        Self(words)
    }

    pub(super) const fn to_words(self) -> [u64; 3] {
        self.0
    }

    fn unpack(self) -> [Option<Range>; COUNT] {
        let [a, b, c] = self.0;
        // 48 bits each, the fourth in the upper 16 bits of the three words.
        [a & LOW, b & LOW, c & LOW, a >> 48 | b >> 48 << 16 | c >> 48 << 32].map(Range::unpack)
    }

    fn pack(ranges: [Option<Range>; COUNT]) -> Self {
        let [a, b, c, d] = ranges.map(|range| range.map_or(0, Range::pack));
        Self([a | d << 48, b | d >> 16 << 48, c | d >> 32 << 48])
    }

    /// Returns the only page of the only range, with its address space.
    #[inline(always)]
    #[must_use]
    pub fn only_page(self) -> Option<(u8, u64)> {
        let [word, 0, 0] = self.0 else { return None };
        Range::unpack(word).filter(|range| range.pages == 1 && word <= LOW).map(|range| (range.space, range.first))
    }

    /// Returns the ranges with page `page` of `space` in the first of them, when that is the only one and it is there, at its
    /// end or there is none.
    #[inline(always)]
    #[must_use]
    pub fn with_page(self, space: u8, page: u64) -> Option<Self> {
        let [word, 0, 0] = self.0 else { return None };
        if word == 0 {
            return Some(Self([Range { space, first: page, pages: 1 }.pack(), 0, 0]));
        }
        let is_next = |range: &Range| range.space == space && range.end() == page && range.pages < PAGES_MAX;
        let next = Range::unpack(word).filter(|range| word <= LOW && is_next(range))?;
        Some(Self([Range { pages: next.pages.wrapping_add(1), ..next }.pack(), 0, 0]))
    }

    /// Returns the ranges.
    pub fn iter(self) -> impl Iterator<Item = Range> {
        self.unpack().into_iter().flatten()
    }

    /// Returns the next range by its number, from `number` on. A number stays with its range while others go.
    #[must_use]
    pub fn next_from(self, number: u8) -> Option<(u8, Range)> {
        let mut ranges = (0..).zip(self.unpack()).skip(usize::from(number));
        ranges.find_map(|(number, range)| Some((number, range?)))
    }

    /// Returns the ranges without those in `space`, which has ended. The others keep their numbers.
    #[must_use]
    pub fn outside(self, space: u8) -> Self {
        Self::pack(self.unpack().map(|range| range.filter(|range| range.space != space)))
    }

    /// Returns whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self.0, [0, 0, 0])
    }

    /// Returns whether page `page` of `space` lies in one.
    #[must_use]
    #[inline]
    pub fn contains(self, space: u8, page: u64) -> bool {
        // In the packed form: faults look through the ranges of all memory that was taken back.
        let is_in = |word: u64| {
            let first = word & FIRST;
            first != 0 && word >> 45 & 7 == u64::from(space) && page.wrapping_sub(first) <= word >> 27 & 0x3_ffff
        };
        let [a, b, c] = self.0;
        is_in(a) || is_in(b) || is_in(c) || is_in(a >> 48 | b >> 48 << 16 | c >> 48 << 32)
    }

    /// Returns the ranges with `new` in one of them, or `None` when there is no room for it.
    #[must_use]
    pub fn with(self, new: Range) -> Option<Self> {
        let mut ranges = self.unpack();
        let merge = |old: &Range| {
            let (first, end) = (old.first.min(new.first), old.end().max(new.end()));
            let touches = old.space == new.space && old.first <= new.end() && new.first <= old.end();
            Range::of(new.space, first, end).filter(|merged| touches && merged.pages <= PAGES_MAX)
        };
        for slot in &mut ranges {
            if let Some(merged) = slot.as_ref().and_then(merge) {
                *slot = Some(merged);
                return Some(Self::pack(ranges));
            }
        }
        let free = ranges.iter_mut().find(|slot| slot.is_none())?;
        *free = Some(new);
        Some(Self::pack(ranges))
    }

    /// Returns the ranges without the pages of `gone`, where nothing is mapped any more. What is cut out of the middle of one
    /// stays in it when there is no room for two.
    #[must_use]
    pub fn without(self, gone: Range) -> Self {
        let mut ranges = self.unpack();
        for index in 0..COUNT {
            let Some(old) = ranges.get(index).copied().flatten() else { continue };
            if old.space != gone.space || old.first >= gone.end() || gone.first >= old.end() {
                continue;
            }
            let below = Range::of(old.space, old.first, gone.first);
            let above = Range::of(old.space, gone.end(), old.end());
            if below.is_some() && above.is_some() {
                let Some(free) = ranges.iter_mut().find(|slot| slot.is_none()) else { continue };
                *free = above;
            }
            if let Some(slot) = ranges.get_mut(index) {
                *slot = below.or(above);
            }
        }
        Self::pack(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const fn range(space: u8, first: u64, pages: u64) -> Range {
        Range { space, first, pages }
    }

    #[test]
    fn a_range_keeps_its_number_while_those_of_an_ended_space_go() {
        let [a, b, c] = [range(1, 5, 2), range(0, 5, 2), range(1, 50, 2)];
        let ranges = Ranges::pack([Some(a), Some(b), Some(c), None]);
        let found = |ranges: Ranges| [0, 1, 2, 3, 4].map(|number| ranges.next_from(number));
        assert_eq!(found(ranges), [Some((0, a)), Some((1, b)), Some((2, c)), None, None]);
        assert_eq!(found(ranges.outside(1)), [Some((1, b)), Some((1, b)), None, None, None]);
        assert_eq!(found(ranges.outside(0)), [Some((0, a)), Some((2, c)), Some((2, c)), None, None]);
        assert!(ranges.outside(0).outside(1).is_empty());
    }

    #[test]
    fn four_ranges_of_any_size_come_back_out_of_three_words() {
        let largest = range(7, (1 << 27) - (1 << 18), 1 << 18);
        let all = [largest, range(0, 1, 1), range(5, 0x5_5555, 0x2_aaaa), largest];
        assert_eq!(Ranges::pack(all.map(Some)).unpack(), all.map(Some));
        assert_eq!(Ranges::default().iter().count(), 0);
        let packed = Ranges::pack(all.map(Some));
        for r in all {
            let pages = [r.first - 1, r.first, r.first + r.pages - 1, r.first + r.pages];
            assert_eq!(pages.map(|page| packed.contains(r.space, page)), [false, true, true, false], "{r:?}");
            assert!(!packed.contains(r.space ^ 2, r.first));
        }
        assert!(!Ranges::default().contains(0, 0));
    }

    #[test]
    fn a_fifth_range_finds_no_room_but_one_that_touches_another_does() {
        let four = (1..5).try_fold(Ranges::default(), |ranges, n| ranges.with(range(0, n * 10, 2))).unwrap();
        assert_eq!(four.with(range(0, 60, 1)), None);
        assert_eq!(four.with(range(1, 12, 1)), None, "the other side of an address space does not touch");
        assert!(four.with(range(0, 12, 8)).unwrap().contains(0, 19));
    }

    #[test]
    fn ranges_are_trimmed_at_both_ends_cut_in_two_and_emptied() {
        let one = Ranges::default().with(range(2, 10, 10)).unwrap();
        assert_eq!(one.without(range(2, 5, 8)).iter().collect::<Vec<_>>(), [range(2, 13, 7)]);
        assert_eq!(one.without(range(2, 15, 50)).iter().collect::<Vec<_>>(), [range(2, 10, 5)]);
        assert_eq!(one.without(range(2, 12, 2)).iter().collect::<Vec<_>>(), [range(2, 10, 2), range(2, 14, 6)]);
        assert_eq!(one.without(range(1, 0, 1 << 20)), one);
        assert!(one.without(range(2, 10, 10)).is_empty());
    }

    #[test]
    fn the_only_page_is_that_of_a_range_of_one_page_without_others() {
        let one = Ranges::default().with(range(2, 10, 1)).unwrap();
        assert_eq!((one.only_page(), Ranges::default().only_page()), (Some((2, 10)), None));
        assert_eq!(Ranges::default().with(range(2, 10, 2)).unwrap().only_page(), None);
        let four = (1..5).try_fold(Ranges::default(), |ranges, n| ranges.with(range(0, n * 10, 1))).unwrap();
        assert_eq!((four.only_page(), one.with(range(2, 20, 1)).unwrap().only_page()), (None, None));
        let fourth = (1..4).fold(four, |ranges, n| ranges.without(range(0, n * 10, 1)));
        assert_eq!((fourth.iter().count(), fourth.only_page()), (1, None), "it is found the long way");
    }

    proptest! {
        #[test]
        fn a_page_that_is_added_the_short_way_is_added_as_by_the_long(
            steps in prop::collection::vec((0..2u8, 1..8u64, 1..4u64), 0..6), space in 0..2u8, page in 1..12u64
        ) {
            let add = |ranges: Ranges, (space, first, pages)| ranges.with(range(space, first, pages));
            if let Some(ranges) = steps.into_iter().try_fold(Ranges::default(), add)
                && let Some(more) = ranges.with_page(space, page)
            {
                prop_assert_eq!(Some(more), ranges.with(range(space, page, 1)));
            }
        }

        #[test]
        fn whatever_is_added_and_not_taken_away_lies_in_a_range(
            steps in prop::collection::vec((any::<bool>(), 0..2u8, 1..40u64, 1..12u64), 0..40)
        ) {
            let (mut ranges, mut mapped) = (Ranges::default(), BTreeSet::new());
            for (adds, space, first, pages) in steps {
                let step = range(space, first, pages);
                let all = (first..first + pages).map(|page| (space, page));
                if !adds {
                    ranges = ranges.without(step);
                    all.for_each(|page| { mapped.remove(&page); });
                } else if let Some(more) = ranges.with(step) {
                    ranges = more;
                    mapped.extend(all);
                }
                prop_assert!(mapped.iter().all(|&(space, page)| ranges.contains(space, page)));
                prop_assert!(!mapped.is_empty() || ranges.iter().all(|r| r.pages < 60));
            }
        }
    }
}
