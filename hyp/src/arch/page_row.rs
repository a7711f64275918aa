//! Page row: a few boxes that are found by number, such as the vCPUs of a VM. A sender finds one in two instructions, and a
//! core that guesses finds none beyond.

use super::page_box::PageBox;

/// A few values in boxes, found by number.
#[derive(Debug)]
pub struct PageRow<T, const N: usize> {
    boxes: [Option<PageBox<T>>; N],
    len: usize,
}

impl<T, const N: usize> PageRow<T, N> {
    /// Returns how many there are.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns value `index`, for an index that a guest chose too: a core that guesses past the check reads one of the row.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        if index < self.len { self.masked(index) } else { None }
    }

    /// Returns value `index` modulo the row's places, a power of two, or `None` when there is none.
    #[must_use]
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    pub fn masked(&self, index: usize) -> Option<&T> {
        const { assert!(N.is_power_of_two()) };
        self.boxes[index % N].as_deref()
    }

    /// Returns the values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.boxes.iter().flatten().map(|value| &**value)
    }

    /// Returns the boxes.
    pub fn into_boxes(self) -> impl Iterator<Item = PageBox<T>> {
        self.boxes.into_iter().flatten()
    }
}

impl<T, const N: usize> FromIterator<PageBox<T>> for PageRow<T, N> {
    /// Returns the row of the first `N` boxes.
    fn from_iter<I: IntoIterator<Item = PageBox<T>>>(values: I) -> Self {
        let mut values = values.into_iter();
        let boxes = core::array::from_fn(|_| values.next());
        let len = boxes.iter().flatten().count();
        Self { boxes, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::backing;

    #[test]
    fn a_row_finds_its_values_by_number_and_nothing_beyond() {
        let row: PageRow<u32, 4> = (7..9).filter_map(|n| PageBox::new(backing::ram(1, 1), n).ok()).collect();
        assert_eq!((row.len(), row.iter().copied().collect::<Vec<_>>()), (2, vec![7, 8]));
        assert_eq!([0, 1, 2, 4, usize::MAX].map(|n| row.get(n).copied()), [Some(7), Some(8), None, None, None]);
        assert_eq!([1, 5, 3].map(|n| row.masked(n).copied()), [Some(8), Some(8), None]);
        for frames in row.into_boxes().map(PageBox::into_pages) {
            core::mem::forget(frames);
        }
    }
}
