//! A place for one handler that exceptions read while the program may replace it.

use ::core::marker::PhantomData;
use ::core::mem::transmute_copy;
use ::core::ptr::null_mut;
use ::core::sync::atomic::{AtomicPtr, Ordering};

use crate::fault::{Action, Fault};

/// A function pointer type that a [`Hook`] may hold.
///
/// # Safety
/// The type is a function pointer.
pub(crate) unsafe trait Handler: Copy {}

// SAFETY: a function pointer type.
unsafe impl Handler for fn(&Fault) -> Action {}
// SAFETY: a function pointer type.
unsafe impl Handler for fn(u16) {}
// SAFETY: a function pointer type.
unsafe impl Handler for fn() {}

/// A handler, or none.
#[derive(Debug)]
pub(crate) struct Hook<H>(AtomicPtr<()>, PhantomData<H>);

impl<H: Handler> Hook<H> {
    /// Returns a hook without handler.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()), PhantomData)
    }

    /// Sets the handler.
    pub(crate) fn set(&self, handler: H) {
        const { assert!(size_of::<H>() == size_of::<*mut ()>()) };
        // SAFETY: `Handler` types are function pointers, which are as large as a pointer and hold nothing else.
        let pointer = unsafe { transmute_copy::<H, *mut ()>(&handler) };
        self.0.store(pointer, Ordering::Release);
    }

    /// Returns the handler.
    pub(crate) fn get(&self) -> Option<H> {
        let pointer = self.0.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: not null, so `set` stored it from an `H`.
        Some(unsafe { transmute_copy::<*mut (), H>(&pointer) })
    }
}
