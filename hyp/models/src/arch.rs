//! Arch: what stands in for the machine below the hypervisor's files. The clock of epochs is the hypervisor's own.
#![allow(unsafe_code, reason = "what stands in for a box of pages is one, and the clock of epochs is arch's own file")]

#[path = "../../src/arch/epoch.rs"]
pub mod epoch;

pub mod attempt {
    use std::cell::Cell;

    use crate::sync::{AtomicBool, AtomicU64, Ordering, Without, is_without};

    loom::thread_local! {
        static HAS_FAILED: Cell<bool> = Cell::new(false);
    }

    /// One try, as LDXR and STLXR make it.
    pub fn or(word: &AtomicU64, bits: u64) -> Option<u64> {
        if is_without(Without::Success) {
            return None;
        }
        let now = word.load(Ordering::Relaxed);
        let tried = word.compare_exchange(now, now | bits, Ordering::Release, Ordering::Relaxed).ok();
        HAS_FAILED.with(|failed| failed.set(failed.get() || tried.is_none()));
        tried
    }

    /// Returns whether a try of the thread that calls has failed.
    pub fn has_failed() -> bool {
        HAS_FAILED.with(Cell::get)
    }

    /// One try, as LDAXR and STXR make it.
    pub fn take(word: &AtomicU64) -> Option<u64> {
        let now = word.load(Ordering::Relaxed);
        word.compare_exchange(now, 0, Ordering::Acquire, Ordering::Relaxed).ok()
    }

    /// Two flags that are looked at together.
    #[derive(Debug, Default)]
    pub struct FlagPair {
        /// The first.
        pub first: AtomicBool,
        /// The other one.
        pub second: AtomicBool,
    }

    impl FlagPair {
        /// Returns whether one of them is set.
        #[must_use]
        pub fn is_any_set(&self) -> bool {
            self.first.load(Ordering::Relaxed) || self.second.load(Ordering::Relaxed)
        }
    }

    pub fn set(flag: &AtomicBool) -> bool {
        flag.swap(true, Ordering::AcqRel)
    }

    pub fn clear(flag: &AtomicBool) {
        flag.swap(false, Ordering::AcqRel);
    }
}

pub mod ram {
    /// Records of two vCPUs.
    pub const FRAME_SIZE: usize = 1024;
}

pub mod shared {
    use super::ram::FRAME_SIZE;
    use crate::sync::AtomicU64;

    /// The page that guest and hypervisor share.
    #[derive(Debug)]
    pub struct SharedPages(Box<[AtomicU64; FRAME_SIZE / 8]>);

    impl SharedPages {
        pub fn zeroed() -> Self {
            Self(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
        }

        pub fn first(&self) -> &[AtomicU64; FRAME_SIZE / 8] {
            &self.0
        }
    }
}

pub mod page_box {
    use core::ptr::NonNull;

    /// A box, of the heap.
    #[derive(Debug)]
    pub struct PageBox<T>(Box<T>);

    impl<T> PageBox<T> {
        pub fn new(value: T) -> Self {
            Self(Box::new(value))
        }

        pub fn into_inner(self) -> T {
            *self.0
        }

        pub(super) fn into_raw(self) -> NonNull<T> {
            NonNull::from(Box::leak(self.0))
        }

        /// # Safety
        /// `at` came from [`PageBox::into_raw`], and becomes a box once.
        pub(super) unsafe fn from_raw(at: NonNull<T>) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { Box::from_raw(at.as_ptr()) })
        }
    }
}
