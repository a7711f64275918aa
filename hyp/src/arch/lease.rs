//! Leases: a value that at most one core holds at a time, without waiting. Used for the private half of a vCPU.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that is lent out exclusively.
#[derive(Debug)]
pub struct Leased<T> {
    is_out: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the flag hands the value to one holder at a time, with Acquire and Release around its use.
unsafe impl<T: Send> Sync for Leased<T> {}

impl<T> Leased<T> {
    /// Returns `value`, at home.
    pub const fn new(value: T) -> Self {
        Self { is_out: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Returns the value for exclusive use, or `None` while another lease is out.
    #[inline]
    pub fn lease(&self) -> Option<Lease<'_, T>> {
        // Acquire: what the previous holder wrote is seen.
        if self.is_out.swap(true, Ordering::Acquire) { None } else { Some(Lease { of: self }) }
    }
}

/// Exclusive use of a [`Leased`] value; ends when dropped.
#[derive(Debug)]
pub struct Lease<'l, T> {
    of: &'l Leased<T>,
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this lease is the only one out (the flag was false when it was made).
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for Lease<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes this borrow the only one of the lease.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for Lease<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: the next holder sees what this one wrote.
        self.of.is_out.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_lent_once_at_a_time() {
        let value = Leased::new(1);
        let mut lease = value.lease().unwrap();
        *lease += 1;
        assert!(value.lease().is_none());
        drop(lease);
        assert_eq!(*value.lease().unwrap(), 2);
    }
}
