//! Index set: numbers of entries of one kind, so that these are found without a look at every entry. Used by `handles`.

/// Numbers of entries, below 1,024.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IndexSet {
    words: [u64; 16],
    pub(super) count: u16,
}

impl IndexSet {
    pub(super) fn set(&mut self, index: u16, is_in: bool) {
        let Some(word) = self.words.get_mut(usize::from(index / 64)) else { return };
        let bit = 1u64 << (index % 64);
        match (*word & bit != 0, is_in) {
            (false, true) => self.count = self.count.saturating_add(1),
            (true, false) => self.count = self.count.saturating_sub(1),
            _ => return,
        }
        *word ^= bit;
    }

    /// Returns the numbers below `limit` that are not in the set, in order.
    pub(super) fn others(self, limit: u16) -> impl Iterator<Item = u16> {
        let others = Self { words: self.words.map(|word| !word), count: 0 };
        others.iter().take_while(move |&index| index < limit)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u16> {
        (0u16..).zip(self.words).filter(|(_, word)| *word != 0).flat_map(|(place, word)| {
            let mut left = word;
            core::iter::from_fn(move || {
                let bit = u16::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                left &= left.wrapping_sub(1);
                Some(place.wrapping_mul(64).wrapping_add(bit))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_and_out_of_the_set_come_in_order_and_end_at_the_limit() {
        let mut set = IndexSet::default();
        for index in [0, 63, 64, 1023] {
            set.set(index, true);
        }
        set.set(64, false);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 1023]);
        assert_eq!(set.others(3).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(set.others(1024).count(), 1021);
        assert_eq!(set.others(1).next(), None);
    }
}
