//! Ranges: at which addresses borrowed memory may be mapped; the contract allows four (`BORROWED_RANGES`).

/// Pages `first..end` of the address space in a slot.
pub(crate) type Range = (u8, u64, u64);

/// At most four of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(pub(crate) [Option<Range>; 4]);

impl Ranges {
    pub(crate) fn iter(self) -> impl Iterator<Item = Range> {
        self.0.into_iter().flatten()
    }

    /// Returns the next range by its place, from place `place` on.
    pub(crate) fn from(self, place: usize) -> Option<(usize, Range)> {
        (place..self.0.len()).find_map(|place| Some((place, self.0[place]?)))
    }

    pub(crate) fn contains(self, slot: u8, page: u64) -> bool {
        self.iter().any(|(space, first, end)| space == slot && (first..end).contains(&page))
    }

    /// Returns the ranges with `new` joined to the first that it touches, or by itself; `None` when there is no room.
    pub(crate) fn with(mut self, new: Range) -> Option<Self> {
        let touches = |&(space, first, end): &Range| space == new.0 && first <= new.2 && new.1 <= end;
        if let Some(old) = self.0.iter_mut().flatten().find(|old| touches(old)) {
            *old = (new.0, old.1.min(new.1), old.2.max(new.2));
            return Some(self);
        }
        *self.0.iter_mut().find(|range| range.is_none())? = Some(new);
        Some(self)
    }

    /// Takes the pages of `gone` out; those in the middle of a range stay in it when there is no room for two.
    pub(crate) fn without(mut self, gone: Range) -> Self {
        for index in 0..self.0.len() {
            let Some((space, first, end)) = self.0[index] else { continue };
            if space != gone.0 || first >= gone.2 || gone.1 >= end {
                continue;
            }
            let (below, above) = (first < gone.1, gone.2 < end);
            let (below, above) = (below.then_some((space, first, gone.1)), above.then_some((space, gone.2, end)));
            if below.is_some() && above.is_some() {
                let Some(free) = self.0.iter_mut().find(|range| range.is_none()) else { continue };
                *free = above;
            }
            self.0[index] = below.or(above);
        }
        self
    }
}
