//! Sync: the atomics that every room uses, in one place. `tests/loom.rs` mirrors the protocols made of them.

pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
