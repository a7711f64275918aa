//! Index set: numbers of entries of one kind, so that these are found without a look at every entry. Used by `handles`.

const WORDS: usize = 16;

/// Numbers of entries, below 1,024.
#[derive(Clone, Debug)]
pub(super) struct IndexSet {
    words: [u64; WORDS],
}

impl IndexSet {
    /// Returns the empty set.
    pub(super) const fn new() -> Self {
        Self { words: [0; WORDS] }
    }

    /// Returns the word of `index`, which is taken modulo how many there are.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    const fn word(&mut self, index: u16) -> &mut u64 {
        &mut self.words[index as usize / 64 % WORDS]
    }

    #[inline(always)]
    pub(super) fn set(&mut self, index: u16, is_in: bool) {
        let (word, bit) = (self.word(index), 1u64 << (index % 64));
        *word = if is_in { *word | bit } else { *word & !bit };
    }

    /// Returns the lowest number below `limit` that is not in the set.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "below 1,024")]
    pub(super) fn first_other(&self, limit: u16) -> Option<u16> {
        let mut first = 0;
        for word in &self.words {
            if *word != u64::MAX {
                let index = first + word.trailing_ones();
                return (index < u32::from(limit)).then_some(index as u16);
            }
            first += 64;
        }
        None
    }

    /// Returns the numbers below `limit` that are not in the set, in order.
    pub(super) fn others(&self, limit: u16) -> impl Iterator<Item = u16> {
        let all = (0u16..).zip(&self.words).flat_map(|(place, word)| numbers(place, !word));
        all.take_while(move |&index| index < limit)
    }

    /// Returns the numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        (0u16..).zip(&self.words).filter(|(_, word)| **word != 0).flat_map(|(place, word)| numbers(place, *word))
    }
}

/// Numbers of entries, and how many there are.
#[derive(Clone, Debug)]
pub(super) struct CountedSet {
    set: IndexSet,
    pub(super) count: u16,
}

impl CountedSet {
    /// Returns the empty set.
    pub(super) const fn new() -> Self {
        Self { set: IndexSet::new(), count: 0 }
    }

    #[inline(always)]
    pub(super) fn set(&mut self, index: u16, is_in: bool) {
        if (*self.set.word(index) >> (index % 64) & 1 != 0) != is_in {
            self.set.set(index, is_in);
            self.count = if is_in { self.count.wrapping_add(1) } else { self.count.wrapping_sub(1) };
        }
    }

    /// Returns the numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        self.set.iter()
    }
}

/// Returns the numbers whose bits are set in word `place`.
#[inline]
fn numbers(place: u16, word: u64) -> impl Iterator<Item = u16> {
    let mut left = word;
    core::iter::from_fn(move || {
        let bit = u16::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
        left &= left.wrapping_sub(1);
        Some(place.wrapping_mul(64).wrapping_add(bit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_and_out_of_the_set_come_in_order_and_end_at_the_limit() {
        let mut set = IndexSet::new();
        for index in [0, 63, 64, 1023] {
            set.set(index, true);
        }
        set.set(64, false);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 1023]);
        assert_eq!(set.others(3).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(set.others(1024).count(), 1021);
        assert_eq!(set.others(1).next(), None);
        assert_eq!((set.first_other(2), set.first_other(1)), (Some(1), None));
    }

    #[test]
    fn a_full_set_has_no_number_outside_of_it_up_to_the_last_of_all() {
        let mut set = IndexSet::new();
        (0..1023).for_each(|index| set.set(index, true));
        assert_eq!((set.first_other(1024), set.first_other(1023)), (Some(1023), None));
        set.set(1023, true);
        assert_eq!((set.first_other(1024), set.others(1024).next()), (None, None));
    }
}
