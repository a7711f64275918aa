//! Page box: values that stand in frames of their own. [`PageBox`] holds one value, [`PageSlice`] a row of them.
//!
//! Both own their frames and give them back by `into_pages`. Dropping one loses the frames and does not drop the value;
//! the allocator's audit finds such a loss. Called by whoever stores hypervisor objects; never shown to a guest.

use core::fmt;
use core::mem::{ManuallyDrop, align_of, size_of};
use core::num::NonZeroUsize;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::slice;

use zerocopy::FromZeros;

use super::backing;
use super::ram::{FRAME_SIZE, Pa, Pages};
use super::region::native;

/// A value in [`PageBox::PAGES`] frames of its own.
#[must_use = "a box that is dropped loses its frames: use into_pages"]
pub struct PageBox<T> {
    at: NonNull<T>,
}

// SAFETY: the box is the only way to the value, as a `Box` is.
unsafe impl<T: Send> Send for PageBox<T> {}
// SAFETY: a shared box gives shared references to the value and nothing else.
unsafe impl<T: Sync> Sync for PageBox<T> {}

impl<T> PageBox<T> {
    /// Frames that the box takes: a power of two, as the allocator gives them.
    pub const PAGES: usize = {
        assert!(align_of::<T>() <= FRAME_SIZE);
        let pages = size_of::<T>().div_ceil(FRAME_SIZE).next_power_of_two();
        if pages == 0 { 1 } else { pages }
    };
    /// The same as an order: [`PageBox::PAGES`] is `1 << ORDER`.
    pub const ORDER: u32 = Self::PAGES.trailing_zeros();

    /// Returns the box that holds `value`.
    ///
    /// # Errors
    /// The frames, when they are not exactly [`PageBox::PAGES`]; `value` is dropped.
    pub fn new(pages: Pages, value: T) -> Result<Self, Pages> {
        let at = Self::place(pages)?;
        // SAFETY: `place` gave frames that are large enough, aligned and reachable by this box alone.
        unsafe { at.write(value) };
        Ok(Self { at })
    }

    /// Returns the box whose value is all zeros; made in place, so that a large value never stands on the stack.
    ///
    /// # Errors
    /// The frames, when they are not exactly [`PageBox::PAGES`].
    pub fn zeroed(mut pages: Pages) -> Result<Self, Pages>
    where
        T: FromZeros,
    {
        pages.scrub();
        // `FromZeros` says that zeros are a value of `T`.
        Self::place(pages).map(|at| Self { at })
    }

    /// Returns the place for the value.
    fn place(pages: Pages) -> Result<NonNull<T>, Pages> {
        if pages.count() != Self::PAGES {
            return Err(pages);
        }
        let at = pages.pointer().cast::<T>();
        pages.dissolve();
        Ok(at)
    }

    /// Returns the physical address of the value.
    #[must_use]
    pub fn pa(&self) -> Pa {
        backing::address(self.at.as_ptr().cast::<u8>())
    }

    /// Returns the frames, with the value dropped.
    pub fn into_pages(self) -> Pages {
        // SAFETY: the value is initialized since the box was made, and the box ends here.
        unsafe { self.at.drop_in_place() };
        self.vacate()
    }

    /// Returns the value and the frames it stood in.
    pub fn into_parts(self) -> (T, Pages) {
        // SAFETY: the value is initialized since the box was made, and the box ends here without dropping it.
        let value = unsafe { self.at.read() };
        (value, self.vacate())
    }

    /// Returns the place of the value; the box lives on behind it until [`PageBox::from_raw`].
    pub(super) const fn into_raw(self) -> NonNull<T> {
        self.at
    }

    /// Returns the box again.
    ///
    /// # Safety
    /// `at` came from [`PageBox::into_raw`], once for each call, and no reference to the value is alive.
    pub(super) const unsafe fn from_raw(at: NonNull<T>) -> Self {
        Self { at }
    }

    fn vacate(self) -> Pages {
        let count = NonZeroUsize::new(Self::PAGES).unwrap_or(NonZeroUsize::MIN);
        // SAFETY: `place` dissolved the owner of exactly these frames, and the box, its successor, ends here.
        unsafe { Pages::revive(self.pa(), count, false) }
    }
}

impl<T, const N: usize> PageBox<[T; N]> {
    /// Returns the box of the row that `item` makes, one element after the other, in place.
    ///
    /// # Errors
    /// The frames, when they are not exactly [`PageBox::PAGES`].
    pub fn from_fn(pages: Pages, mut item: impl FnMut(usize) -> T) -> Result<Self, Pages> {
        let at = Self::place(pages)?;
        for index in 0..N {
            // SAFETY: `index` is inside the row, and the row is inside frames that this box alone reaches.
            unsafe { at.cast::<T>().add(index).write(item(index)) };
        }
        Ok(Self { at })
    }
}

impl<T> Deref for PageBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value is initialized, and a shared borrow of the box lets nobody change it.
        unsafe { self.at.as_ref() }
    }
}

impl<T> DerefMut for PageBox<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value is initialized, and the box, its only owner, is borrowed alone.
        unsafe { self.at.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for PageBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A row of values in frames of its own, its length chosen at run time.
#[must_use = "a row that is dropped loses its frames: use into_pages"]
#[repr(C)]
pub struct PageSlice<T> {
    at: NonNull<T>,
    // Below `len`, or 0: with it any number becomes an index.
    mask: usize,
    len: usize,
    pages: NonZeroUsize,
}

// SAFETY: the row is the only way to its values, as a `Box` is.
unsafe impl<T: Send> Send for PageSlice<T> {}
// SAFETY: a shared row gives shared references to its values and nothing else.
unsafe impl<T: Sync> Sync for PageSlice<T> {}

impl<T> PageSlice<T> {
    /// Returns the row of `len` values that `item` makes, one after the other, in place.
    ///
    /// # Errors
    /// The frames, when they are too few.
    pub fn from_fn(pages: Pages, len: usize, mut item: impl FnMut(usize) -> T) -> Result<Self, Pages> {
        let mut row = Self::place(pages, len)?;
        for index in 0..len {
            // SAFETY: `index` is inside the row, and the row is inside frames that it alone reaches.
            unsafe { row.at.add(index).write(item(index)) };
        }
        row.len = len;
        row.mask = mask_of(len);
        Ok(row)
    }

    /// Returns value `index`, taken modulo the length where that is a power of two; the row must have a value. Any core reads
    /// inside the row, whatever it guesses: there is no check to guess past.
    #[inline(always)]
    #[must_use]
    pub fn masked(&self, index: u64) -> &T {
        self.masked_at(index).1
    }

    /// Returns the same, and the index that it has.
    #[inline(always)]
    #[must_use]
    pub fn masked_at(&self, index: u64) -> (usize, &T) {
        debug_assert!(self.len != 0, "an empty row is asked for a value");
        let index = native(index) & self.mask;
        // SAFETY: `index & mask` is at most `mask`, which is below `len`; `zeroed` makes no empty row.
        (index, unsafe { self.at.add(index).as_ref() })
    }

    /// Returns the row of as many zero values as the frames hold.
    pub fn zeroed(mut pages: Pages) -> Self
    where
        T: FromZeros,
    {
        const { assert!(size_of::<T>() != 0 && size_of::<T>() <= FRAME_SIZE) };
        pages.scrub();
        let len = pages.bytes() / size_of::<T>();
        let at = pages.pointer().cast::<T>();
        let (_, pages, _) = pages.dissolve();
        Self { at, mask: mask_of(len), len, pages }
    }

    /// Returns the row, still empty, with room for `len` values.
    fn place(pages: Pages, len: usize) -> Result<Self, Pages> {
        const { assert!(align_of::<T>() <= FRAME_SIZE) };
        let fits = size_of::<T>().checked_mul(len).is_some_and(|bytes| bytes <= pages.bytes());
        if !fits {
            return Err(pages);
        }
        let at = pages.pointer().cast::<T>();
        let (_, pages, _) = pages.dissolve();
        Ok(Self { at, mask: 0, len: 0, pages })
    }

    /// Returns the frames, with the values dropped.
    pub fn into_pages(self) -> Pages {
        let this = ManuallyDrop::new(self);
        // SAFETY: the first `len` values are initialized, and the row ends here.
        unsafe { ptr::slice_from_raw_parts_mut(this.at.as_ptr(), this.len).drop_in_place() };
        let first = backing::address(this.at.as_ptr().cast::<u8>());
        // SAFETY: the row dissolved the owner of exactly these frames when it was made, and ends here.
        unsafe { Pages::revive(first, this.pages, false) }
    }
}

/// Returns what makes an index of a row of `len` values out of any number: all below a power of two, if `len` is one.
const fn mask_of(len: usize) -> usize {
    match len {
        0 => 0,
        _ if len.is_power_of_two() => len - 1,
        _ => 0,
    }
}

impl<T> Deref for PageSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` values are initialized, and a shared borrow lets nobody change them.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for PageSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` values are initialized, and the row, their only owner, is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}
