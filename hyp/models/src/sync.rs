//! Sync: loom's atomics, and what a thread of a model does without: the mutants. In place of the hypervisor's `sync`.

use std::cell::Cell;

pub use loom::sync::atomic::Ordering;

/// What a thread does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    Nothing,
    /// Fences.
    Fence,
    /// The acquire half of every order.
    Acquire,
    /// The release half of every order.
    Release,
    /// Swaps: a load, and a store behind it.
    Atomicity,
    /// Success of every bounded try at a word: somebody hammers it.
    Success,
}

loom::thread_local! {
    static WITHOUT: Cell<Without> = Cell::new(Without::Nothing);
}

/// Takes something away from the thread that calls.
pub fn go_without(without: Without) {
    WITHOUT.with(|now| now.set(without));
}

/// Returns whether the thread that calls does without that.
pub fn is_without(without: Without) -> bool {
    WITHOUT.with(Cell::get) == without
}

fn weaker(order: Ordering) -> Ordering {
    use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    match (WITHOUT.with(Cell::get), order) {
        (Without::Acquire, Acquire) | (Without::Release, Release) => Relaxed,
        (Without::Acquire, AcqRel | SeqCst) => Release,
        (Without::Release, AcqRel | SeqCst) => Acquire,
        _ => order,
    }
}

/// The same for a load, which has no release half.
fn weaker_load(order: Ordering) -> Ordering {
    if is_without(Without::Acquire) { Ordering::Relaxed } else { order }
}

/// The same for a store, which has no acquire half.
fn weaker_store(order: Ordering) -> Ordering {
    if is_without(Without::Release) { Ordering::Relaxed } else { order }
}

pub fn fence(order: Ordering) {
    if !is_without(Without::Fence) {
        loom::sync::atomic::fence(order);
    }
}

macro_rules! atomic {
    ($name:ident $(<$of:ident>)?, $value:ty) => {
        #[derive(Debug, Default)]
        pub struct $name $(<$of>)? (loom::sync::atomic::$name $(<$of>)?);

        impl $(<$of>)? $name $(<$of>)? {
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(weaker_load(order))
            }
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, weaker_store(order));
            }
            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                if is_without(Without::Atomicity) {
                    let old = self.0.load(Ordering::Acquire);
                    self.0.store(value, Ordering::Release);
                    return old;
                }
                self.0.swap(value, weaker(order))
            }
            #[track_caller]
            pub fn compare_exchange(&self, old: $value, new: $value, good: Ordering, bad: Ordering) -> Result<$value, $value> {
                self.0.compare_exchange(old, new, weaker(good), weaker_load(bad))
            }
            #[track_caller]
            pub fn compare_exchange_weak(&self, old: $value, new: $value, good: Ordering, bad: Ordering) -> Result<$value, $value> {
                if is_without(Without::Success) { Err(old) } else { self.compare_exchange(old, new, good, bad) }
            }
        }
    };
}

macro_rules! number {
    ($name:ident, $value:ty) => {
        impl $name {
            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_or(value, weaker(order))
            }
            #[track_caller]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_and(value, weaker(order))
            }
            #[track_caller]
            pub fn fetch_xor(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_xor(value, weaker(order))
            }
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, weaker(order))
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicPtr<T>, *mut T);
atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
number!(AtomicU32, u32);
number!(AtomicU64, u64);
