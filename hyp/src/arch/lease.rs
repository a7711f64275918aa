//! Leases: two values that at most one core holds at a time, without waiting. Used for the private half of a vCPU: its frame
//! and the rest of it, which are lent together and go separate ways until they are given back together.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use super::attempt;

/// Two values that are lent out exclusively.
#[derive(Debug)]
#[repr(C)]
pub struct Leased<A, B> {
    // First, so that a pointer to it is one to all.
    first: UnsafeCell<A>,
    second: UnsafeCell<B>,
    is_out: AtomicBool,
}

// SAFETY: the flag hands the values to one holder at a time, with Acquire and Release around their use.
unsafe impl<A: Send, B: Send> Sync for Leased<A, B> {}

impl<A, B> Leased<A, B> {
    /// Returns the values, at home.
    pub const fn new(first: A, second: B) -> Self {
        Self { first: UnsafeCell::new(first), second: UnsafeCell::new(second), is_out: AtomicBool::new(false) }
    }

    /// Returns the values for exclusive use, or `None` while another lease is out. [`First::end`] gives them back.
    #[inline]
    pub fn lease(&self) -> Option<(First<'_, A, B>, Second<'_, A, B>)> {
        // Acquire: what the previous holder wrote is seen.
        if attempt::set(&self.is_out) { None } else { Some((First { of: self }, Second { of: self })) }
    }
}

/// Exclusive use of the first value of a [`Leased`].
#[derive(Debug)]
#[repr(transparent)]
#[must_use = "a lease that is dropped is never given back"]
pub struct First<'l, A, B> {
    of: &'l Leased<A, B>,
}

/// Exclusive use of the second value of a [`Leased`].
#[derive(Debug)]
#[repr(transparent)]
#[must_use = "a lease that is dropped is never given back"]
pub struct Second<'l, A, B> {
    of: &'l Leased<A, B>,
}

impl<'l, A, B> First<'l, A, B> {
    /// Returns whether `second` was lent with this.
    #[inline(always)]
    #[must_use]
    pub fn is_lent_with(&self, second: &Second<'l, A, B>) -> bool {
        ptr::eq(self.of, second.of)
    }

    /// Ends the lease of both values.
    ///
    /// # Panics
    /// When `second` belongs to another lease.
    #[inline]
    pub fn end(self, second: Second<'l, A, B>) {
        if !self.is_lent_with(&second) {
            unreachable!("what is lent together is given back together");
        }
        // Release: the next holder sees what this one wrote.
        self.of.is_out.store(false, Ordering::Release);
    }

    /// Returns the lease as a pointer to its value.
    #[inline]
    pub(super) const fn into_raw(self) -> *mut A {
        ptr::from_ref(self.of).cast_mut().cast()
    }

    /// Returns the lease of a pointer to its value.
    ///
    /// # Safety
    /// `value` came from [`First::into_raw`] of a lease of these types and this lifetime, and becomes a lease once.
    #[inline]
    pub(super) const unsafe fn from_raw(value: *mut A) -> Self {
        // SAFETY: `first` stands at the beginning of what `into_raw` pointed to, which lives as long as the lease.
        Self { of: unsafe { &*value.cast_const().cast() } }
    }
}

impl<A, B> Deref for First<'_, A, B> {
    type Target = A;

    #[inline]
    fn deref(&self) -> &A {
        // SAFETY: this lease is the only one out (the flag was false when it was made).
        unsafe { &*self.of.first.get() }
    }
}

impl<A, B> DerefMut for First<'_, A, B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut A {
        // SAFETY: as in `deref`, and `&mut self` makes this borrow the only one of the lease.
        unsafe { &mut *self.of.first.get() }
    }
}

impl<A, B> Deref for Second<'_, A, B> {
    type Target = B;

    #[inline]
    fn deref(&self) -> &B {
        // SAFETY: this lease is the only one out (the flag was false when it was made).
        unsafe { &*self.of.second.get() }
    }
}

impl<A, B> DerefMut for Second<'_, A, B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B {
        // SAFETY: as in `deref`, and `&mut self` makes this borrow the only one of the lease.
        unsafe { &mut *self.of.second.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_are_lent_once_at_a_time_and_given_back_together() {
        let values = Leased::new(1, 'a');
        let (mut first, mut second) = values.lease().unwrap();
        assert!(values.lease().is_none());
        (*first, *second) = (2, 'b');
        // SAFETY: the pointer came from this lease the moment before.
        let first = unsafe { First::from_raw(first.into_raw()) };
        first.end(second);
        let (first, second) = values.lease().unwrap();
        assert_eq!((*first, *second), (2, 'b'));
        first.end(second);
    }

    #[test]
    #[should_panic(expected = "given back together")]
    fn halves_of_two_leases_end_neither() {
        let (one, other) = (Leased::new(1, 1), Leased::new(2, 2));
        let ((first, _), (_, second)) = (one.lease().unwrap(), other.lease().unwrap());
        first.end(second);
    }
}
