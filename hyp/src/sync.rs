//! Sync: the atomics that every room uses, in one place. `hyp/models` puts those of loom in their place.

pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
