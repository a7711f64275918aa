//! Epochs: when may an object go that other cores look up without a lock?
//!
//! A core's pass through EL2 (one turn of the dispatcher's loop) is a [`Stay`]. References out of a [`Slot`] live no longer
//! than the stay they were made in. An object taken out of its slot is given back only when every core has begun another
//! stay, or idles. The fast path of a call pays nothing for this.

use core::ptr::{self, NonNull};

use super::page_box::PageBox;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};

/// Most that take part: eight cores, and boot while it builds.
pub const VISITORS: usize = 9;
/// What a core shows while it holds no reference: idle, or never started.
const OUTSIDE: u64 = u64::MAX;

/// The clock that cores begin their stays by.
#[derive(Debug)]
pub struct Epochs {
    now: AtomicU64,
    seen: [AtomicU64; VISITORS],
    joined: [AtomicBool; VISITORS],
}

/// A core's right to begin stays: one per core, for ever.
#[derive(Debug)]
pub struct Visitor<'e> {
    epochs: &'e Epochs,
    seen: &'e AtomicU64,
}

/// One pass of a core through EL2.
#[derive(Debug)]
pub struct Stay<'v> {
    epochs: &'v Epochs,
}

impl Default for Epochs {
    fn default() -> Self {
        Self::new()
    }
}

impl Epochs {
    /// Returns the clock before any core took part.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: AtomicU64::new(1),
            seen: core::array::from_fn(|_| AtomicU64::new(OUTSIDE)),
            joined: core::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// Returns the right of core `index` to begin stays, or `None` when it was given before or there is no such core.
    pub fn join(&self, index: usize) -> Option<Visitor<'_>> {
        let (joined, seen) = (self.joined.get(index)?, self.seen.get(index)?);
        if joined.swap(true, Ordering::Relaxed) { None } else { Some(Visitor { epochs: self, seen }) }
    }

    /// Starts a new epoch and returns it: what is unreachable now is unused once [`Epochs::passed`] it.
    pub fn advance(&self) -> u64 {
        let target = self.now.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        // Pairs with the fence of `begin`: either that core sees what was taken away before, or we see its old epoch.
        fence(Ordering::SeqCst);
        target
    }

    /// Returns whether every core has begun a stay since [`Epochs::advance`] returned `epoch`, or holds no reference.
    #[must_use]
    pub fn passed(&self, epoch: u64) -> bool {
        self.lagging(epoch) == 0
    }

    /// Returns the cores, one bit each, that may still use what was taken away before `epoch`.
    #[must_use]
    pub fn lagging(&self, epoch: u64) -> u16 {
        let mut mask = 0;
        for (index, seen) in self.seen.iter().enumerate() {
            // Acquire: that core's last uses happened before it showed the new epoch.
            if seen.load(Ordering::Acquire) < epoch {
                mask |= 1 << index;
            }
        }
        mask
    }
}

impl<'e> Visitor<'e> {
    /// Begins a stay; the borrow of `self` shows that the previous one, and all its references, are gone.
    #[inline]
    pub fn begin(&mut self) -> Stay<'_> {
        let now = self.epochs.now.load(Ordering::Acquire);
        // Release: what the previous stay read is done with.
        self.seen.store(now, Ordering::Release);
        fence(Ordering::SeqCst); // our look-ups come after our epoch is seen; pairs with `advance`
        Stay { epochs: self.epochs }
    }

    /// Runs `rest` while this core holds no reference, so that nobody waits for it.
    pub fn outside<R>(&mut self, rest: impl FnOnce() -> R) -> R {
        self.seen.store(OUTSIDE, Ordering::Release);
        rest()
    }
}

impl Stay<'_> {
    /// Returns the clock that the stay belongs to.
    #[must_use]
    pub const fn epochs(&self) -> &Epochs {
        self.epochs
    }
}

/// Room for one object that cores look up without a lock.
#[derive(Debug)]
pub struct Slot<T> {
    at: AtomicPtr<T>,
}

/// An object that was taken out of its slot and that other cores may still use.
#[derive(Debug)]
#[must_use = "a retired object that is dropped loses its frames"]
pub struct Retired<T> {
    at: NonNull<T>,
    epoch: u64,
}

// SAFETY: a slot shares `T` between cores and hands it out whole, as an `Arc` would.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: a retired object has no further way to it than this value and the stays that end before it is given back.
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slot<T> {
    /// Returns an empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self { at: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the object for the rest of the stay, or `None` when the slot is empty.
    #[inline]
    pub fn get<'s>(&self, _stay: &'s Stay<'_>) -> Option<&'s T> {
        let at = NonNull::new(self.at.load(Ordering::Acquire))?;
        // SAFETY: the slot is filled with boxes only, and `Retired::reclaim` waits for the end of every stay that could
        // have loaded the pointer before it was taken out.
        Some(unsafe { at.as_ref() })
    }

    /// Puts an object into the empty slot.
    ///
    /// # Errors
    /// The object, when the slot is taken.
    pub fn fill(&self, object: PageBox<T>) -> Result<(), PageBox<T>> {
        let at = object.into_raw();
        match self.at.compare_exchange(ptr::null_mut(), at.as_ptr(), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            // SAFETY: `at` came from `into_raw` just now and nobody saw it.
            Err(_) => Err(unsafe { PageBox::from_raw(at) }),
        }
    }

    /// Takes the object out; from now on it is not found any more.
    pub fn retire(&self, epochs: &Epochs) -> Option<Retired<T>> {
        let at = NonNull::new(self.at.swap(ptr::null_mut(), Ordering::SeqCst))?;
        Some(Retired { at, epoch: epochs.advance() })
    }
}

impl<T> Retired<T> {
    /// Returns the cores, one bit each, that may still use the object.
    #[must_use]
    pub fn lagging(&self, epochs: &Epochs) -> u16 {
        epochs.lagging(self.epoch)
    }

    /// Returns the box once no core can use the object any more.
    ///
    /// `epochs` must be the clock that the object was retired by; with another one nothing is ever given back too early
    /// only because the image has a single clock.
    ///
    /// # Errors
    /// The object again, while a core lags.
    pub fn reclaim(self, epochs: &Epochs) -> Result<PageBox<T>, Self> {
        if !epochs.passed(self.epoch) {
            return Err(self);
        }
        // SAFETY: the pointer came out of the slot by a swap, so it is here once; each core has begun a stay since, or is
        // outside, so no reference that `get` gave is alive.
        Ok(unsafe { PageBox::from_raw(self.at) })
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        // Release: its last uses come before.
        self.seen.store(OUTSIDE, Ordering::Release);
    }
}
