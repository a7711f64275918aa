//! Deadlines: when each vCPU of a core is to be woken or its watchdog runs out, with the earliest at hand. A tournament tree. Pure.

use zerocopy::FromZeros;

/// Entries of a tree: one per vCPU of the machine.
const LEAVES: usize = 512;
/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// One deadline per place, in ticks. Setting one costs nine comparisons, the earliest none. All zeros is a tree in which
/// nothing is due, so that it is made in place.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct Deadlines {
    // Complement of the deadline: 0 is NEVER.
    remaining: [u64; LEAVES],
    // The place with the earliest deadline below each node, as a distance from the node's first place; node 1 is the root.
    winner: [u16; LEAVES],
}

impl Deadlines {
    /// Sets the deadline of `place` (taken modulo the number of places) in ticks, or [`NEVER`].
    #[inline]
    pub fn set(&mut self, place: usize, deadline: u64) {
        if self.time(place) != deadline {
            self.change(place % LEAVES, deadline);
        }
    }

    #[inline(never)]
    fn change(&mut self, place: usize, deadline: u64) {
        if let Some(slot) = self.remaining.get_mut(place) {
            *slot = !deadline;
        }
        let mut node = (place + LEAVES) / 2;
        while node > 0 {
            let (left, right) = (self.below(node * 2), self.below(node * 2 + 1));
            let winner = if self.time(right.into()) < self.time(left.into()) { right } else { left };
            if let Some(slot) = self.winner.get_mut(node) {
                *slot = winner.wrapping_sub(first_place(node));
            }
            node /= 2;
        }
    }

    fn below(&self, node: usize) -> u16 {
        self.winner.get(node).copied().unwrap_or(0).wrapping_add(first_place(node))
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn time(&self, place: usize) -> u64 {
        !self.remaining[place % LEAVES]
    }

    /// Returns the earliest deadline and its place; [`NEVER`] when nothing is due.
    #[inline]
    #[must_use]
    pub fn earliest(&self) -> (u64, usize) {
        let place = usize::from(self.below(1));
        (self.time(place), place)
    }
}

/// Returns the first place below `node`, which is at least 1 and below twice [`LEAVES`].
fn first_place(node: usize) -> u16 {
    let shift = node.leading_zeros().wrapping_sub(LEAVES.leading_zeros());
    #[allow(clippy::cast_possible_truncation, reason = "below LEAVES")]
    let place = (node << shift) as u16 % LEAVES as u16;
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_earliest_deadline_is_always_at_hand(sets in prop::collection::vec((0..LEAVES, prop_oneof![Just(NEVER), 0..50u64]), 1..300)) {
            let mut tree = Deadlines::new_zeroed();
            let mut model = [NEVER; LEAVES];
            for (place, deadline) in sets {
                tree.set(place, deadline);
                model[place] = deadline;
                let (earliest, at) = tree.earliest();
                prop_assert_eq!(earliest, *model.iter().min().unwrap());
                prop_assert_eq!(model[at], earliest);
            }
        }
    }
}
