//! Deadlines: what is due at a core, and when, with the earliest at hand. A heap that knows where each entry stands. Pure.

use zerocopy::FromZeros;

/// Room of the heap, a power of two above the number of places ([`super::Due`]).
const ROOM: usize = 4096;
const _: () = assert!(super::due::PLACES < ROOM);

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// One deadline per place, in ticks. What a change costs grows with the logarithm of how many are set; the earliest costs
/// nothing. All zeros is a heap in which nothing is due, so that it is made in place.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct Deadlines {
    // Complement of the deadline, so that 0 is NEVER; the root is slot 1, and slot 0 is never used.
    urgency: [u64; ROOM],
    // The place of each slot, and the slot of each place: 0 when nothing is due there.
    place: [u16; ROOM],
    slot: [u16; ROOM],
    count: u64,
}

impl Deadlines {
    /// Sets the deadline of `place` (taken modulo the room) in ticks, or [`NEVER`].
    #[inline]
    pub fn set(&mut self, place: usize, deadline: u64) {
        if deadline != NEVER || self.is_set(place) {
            self.change(place, !deadline);
        }
    }

    /// Returns whether a deadline of `place` is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self, place: usize) -> bool {
        self.slot_of(place) != 0
    }

    /// Returns the earliest deadline and its place; [`NEVER`] when nothing is due.
    #[inline]
    #[must_use]
    pub fn earliest(&self) -> (u64, usize) {
        (!self.urgency(1), self.place_at(1).into())
    }

    /// Returns the earliest deadline that is not that of `place`; [`NEVER`] when no other is set.
    #[inline]
    #[must_use]
    pub fn earliest_but(&self, place: usize) -> u64 {
        match self.earliest() {
            (_, first) if first == place => !self.urgency(2).max(self.urgency(3)),
            (deadline, _) => deadline,
        }
    }

    /// Sets the deadline of the place that is first anew, and returns what is the earliest then.
    #[inline(always)]
    pub fn put_off(&mut self, deadline: u64) -> u64 {
        let (mut urgency, mut name) = (!deadline, self.place_at(1));
        if urgency == 0 {
            if self.count == 1 {
                self.drop_only();
                return NEVER;
            }
            (urgency, name) = self.take_last(name);
        }
        self.sink(1, urgency, name);
        self.earliest().0
    }

    /// Returns whether at most one deadline is set.
    #[inline(always)]
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.count <= 1
    }

    /// Takes away the deadline that is first, when there is no other.
    #[inline(always)]
    pub fn drop_only(&mut self) {
        let name = self.place_at(1);
        self.count = 0;
        self.write(1, 0, 0);
        self.set_slot(name, 0);
    }

    #[inline(never)]
    fn change(&mut self, place: usize, urgency: u64) {
        let at = usize::from(self.slot_of(place));
        #[allow(clippy::cast_possible_truncation, reason = "below the room, which 16 bits hold")]
        let name = (place % ROOM) as u16;
        if urgency == 0 {
            self.remove(at, name);
        } else if at == 0 {
            self.count = self.count.wrapping_add(1);
            self.settle(self.last(), urgency, name);
        } else {
            self.settle(at, urgency, name);
        }
    }

    /// Takes the entry of `name` out of slot `at`, which the last entry fills.
    fn remove(&mut self, at: usize, name: u16) {
        let (last, (urgency, moved)) = (self.last(), self.take_last(name));
        if at != last {
            self.settle(at, urgency, moved);
        }
    }

    /// Takes the last entry out of its slot, for that of `name`, which has none any more. Nothing is set when both are one.
    #[inline(always)]
    fn take_last(&mut self, name: u16) -> (u64, u16) {
        let last = self.last();
        let (urgency, moved) = (self.urgency(last), self.place_at(last));
        self.write(last, 0, 0);
        self.set_slot(name, 0);
        self.count = self.count.wrapping_sub(1);
        (urgency, moved)
    }

    /// Puts an entry where it belongs, seen from the free slot `at`.
    #[inline(never)]
    fn settle(&mut self, mut at: usize, urgency: u64, name: u16) {
        while at > 1 && self.urgency(at / 2) < urgency {
            self.carry(at / 2, at);
            at /= 2;
        }
        self.sink(at, urgency, name);
    }

    /// Does the same for one that does not belong above it.
    #[inline(always)]
    fn sink(&mut self, mut at: usize, urgency: u64, name: u16) {
        loop {
            // Slots behind the last are not urgent at all.
            let (left, right) = (at * 2 % ROOM, at * 2 % ROOM + 1);
            let child = if self.urgency(right) > self.urgency(left) { right } else { left };
            if self.urgency(child) <= urgency || child < at {
                break;
            }
            self.carry(child, at);
            at = child;
        }
        self.write(at, urgency, name);
        self.set_slot(name, at);
    }

    fn carry(&mut self, from: usize, to: usize) {
        let (urgency, name) = (self.urgency(from), self.place_at(from));
        self.write(to, urgency, name);
        self.set_slot(name, to);
    }

    #[inline(always)]
    fn last(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0) % ROOM
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn urgency(&self, slot: usize) -> u64 {
        self.urgency[slot % ROOM]
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn place_at(&self, slot: usize) -> u16 {
        self.place[slot % ROOM]
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn slot_of(&self, place: usize) -> u16 {
        self.slot[place % ROOM]
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn write(&mut self, slot: usize, urgency: u64, name: u16) {
        self.urgency[slot % ROOM] = urgency;
        self.place[slot % ROOM] = name;
    }

    #[inline(always)]
    #[allow(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "taken modulo the length; slots are below the room"
    )]
    fn set_slot(&mut self, name: u16, slot: usize) {
        self.slot[usize::from(name) % ROOM] = slot as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACES: usize = super::super::due::PLACES;

    fn heap() -> Box<Deadlines> {
        Box::new(Deadlines::new_zeroed())
    }

    proptest! {
        #[test]
        fn the_earliest_deadline_is_always_at_hand(sets in prop::collection::vec((0..PLACES, prop_oneof![Just(NEVER), 0..50u64]), 1..300)) {
            let mut heap = heap();
            let mut model = [NEVER; PLACES];
            for (place, deadline) in sets {
                heap.set(place, deadline);
                model[place] = deadline;
                let (earliest, at) = heap.earliest();
                prop_assert_eq!(earliest, *model.iter().min().unwrap());
                prop_assert!(earliest == NEVER || model[at] == earliest);
                prop_assert_eq!(heap.earliest_but(at), *model.clone().select_nth_unstable(1).1);
                prop_assert!(at == place || heap.earliest_but(place) == earliest);
                prop_assert_eq!(heap.is_set(place), deadline != NEVER);
            }
        }

        #[test]
        fn all_come_out_in_their_order(deadlines in prop::collection::vec(0..NEVER, 1..PLACES)) {
            let mut heap = heap();
            for (place, deadline) in deadlines.iter().enumerate() {
                heap.set(place, *deadline);
            }
            let mut sorted = deadlines.clone();
            sorted.sort_unstable();
            for expected in sorted {
                let (deadline, place) = heap.earliest();
                prop_assert_eq!(deadline, expected);
                heap.set(place, NEVER);
            }
            prop_assert_eq!(heap.earliest().0, NEVER);
        }
    }

    proptest! {
        #[test]
        fn the_first_is_put_off(sets in prop::collection::vec((0..PLACES, 0..50u64), 1..40), later in prop::collection::vec(prop_oneof![Just(NEVER), 0..99u64], 1..60)) {
            let (mut heap, mut other) = (heap(), heap());
            for (place, deadline) in sets {
                heap.set(place, deadline);
                other.set(place, deadline);
            }
            for deadline in later {
                let (before, place) = heap.earliest();
                if before == NEVER {
                    break;
                }
                let deadline = deadline.max(before);
                other.set(place, deadline);
                prop_assert_eq!(heap.put_off(deadline), other.earliest().0);
                prop_assert_eq!(heap.is_set(place), deadline != NEVER);
                prop_assert_eq!(heap.count, other.count);
            }
        }
    }

    #[test]
    fn every_place_at_once_fits() {
        let mut heap = heap();
        (0..PLACES).for_each(|place| heap.set(place, 7));
        assert_eq!(heap.earliest().0, 7);
        (0..PLACES).for_each(|place| heap.set(place, NEVER));
        assert_eq!((heap.earliest().0, heap.count), (NEVER, 0));
    }
}
