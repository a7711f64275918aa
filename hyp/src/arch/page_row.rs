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
    /// Returns the row without a value.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a constant")]
    pub const fn new() -> Self {
        Self { boxes: [const { None }; N], len: 0 }
    }

    /// Adds a value behind the others.
    ///
    /// # Errors
    /// The value, when there are `N` already.
    pub fn push(&mut self, value: PageBox<T>) -> Result<(), PageBox<T>> {
        let Some(place) = self.boxes.get_mut(self.len) else { return Err(value) };
        *place = Some(value);
        self.len = self.len.wrapping_add(1);
        Ok(())
    }

    /// Takes the last value away.
    pub fn pop(&mut self) -> Option<PageBox<T>> {
        let last = self.len.checked_sub(1)?;
        self.len = last;
        self.boxes.get_mut(last)?.take()
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::backing;

    #[test]
    fn a_row_finds_its_values_by_number_and_nothing_beyond() {
        let mut row: PageRow<u32, 4> = PageRow::new();
        for n in 7..10 {
            assert!(row.push(PageBox::new(backing::ram(1, 1), n).unwrap()).is_ok());
        }
        core::mem::forget(row.pop().map(PageBox::into_pages));
        assert_eq!((row.len(), row.iter().copied().collect::<Vec<_>>()), (2, vec![7, 8]));
        assert_eq!([0, 1, 2, 4, usize::MAX].map(|n| row.get(n).copied()), [Some(7), Some(8), None, None, None]);
        assert_eq!([1, 5, 3].map(|n| row.masked(n).copied()), [Some(8), Some(8), None]);
        let mut full: PageRow<u32, 1> = PageRow::new();
        for _ in 0..2 {
            if let Err(left) = full.push(PageBox::new(backing::ram(1, 1), 0).unwrap()) {
                core::mem::forget(left.into_pages());
            }
        }
        assert_eq!(full.len(), 1);
        for frames in full.into_boxes().map(PageBox::into_pages) {
            core::mem::forget(frames);
        }
        for frames in row.into_boxes().map(PageBox::into_pages) {
            core::mem::forget(frames);
        }
    }
}
