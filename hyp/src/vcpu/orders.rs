//! Orders: where a vCPU is at home and what others ask of that core, in one word, so that who asks knows whom to tell even while
//! the vCPU moves. Anybody asks; only the home core takes what was asked, and gives the vCPU to another.

use crate::sync::{AtomicU32, Ordering};

/// Something came for it: wake it if it blocks, refresh its line if it runs.
pub const WAKE: u32 = 1;
/// Start it at the entry that stands in the public half.
pub const START: u32 = 2;
/// Its VM ends: take it off the core for good.
pub const STOP: u32 = 4;
/// It has come from another core: take it in.
pub const MOVE: u32 = 8;

const HOME_SHIFT: u32 = 24;
const REQUESTS: u32 = (1 << HOME_SHIFT) - 1;

/// The home core of a vCPU, and what is asked of it.
#[derive(Debug)]
pub struct Orders(AtomicU32);

impl Orders {
    /// Returns orders of a vCPU at home on core `home`, of which nothing is asked.
    #[must_use]
    pub fn new(home: u8) -> Self {
        Self(AtomicU32::new(u32::from(home) << HOME_SHIFT))
    }

    /// Returns the core that alone changes the run state. For who is not that core it may be another by now.
    #[inline]
    #[must_use]
    pub fn home(&self) -> u8 {
        core_of(self.0.load(Ordering::Acquire))
    }

    /// Makes another core the home of one that is off, before anybody can ask it to start. Forgets that somebody asked to wake it.
    pub fn settle(&self, home: u8) {
        self.0.store(u32::from(home) << HOME_SHIFT, Ordering::Relaxed);
    }

    /// Returns whether the vCPU is at home on `core` with nothing asked of it. What was written before it came is seen then.
    #[inline(always)]
    #[must_use]
    pub fn is_quiet_at(&self, core: u8) -> bool {
        self.0.load(Ordering::Acquire) == u32::from(core) << HOME_SHIFT
    }

    /// Asks for `requests`. Returns the core that must be told: what is asked of a vCPU that moves goes with it.
    #[inline]
    pub fn ask(&self, requests: u32) -> u8 {
        core_of(self.0.fetch_or(requests & REQUESTS, Ordering::Release))
    }

    /// Returns what is asked, and that no more; `None` when the vCPU is not at home on `core`.
    pub fn take(&self, core: u8) -> Option<u32> {
        if self.home() != core {
            return None; // and only this core could make it so
        }
        Some(self.0.fetch_and(!REQUESTS, Ordering::AcqRel) & REQUESTS)
    }

    /// Takes the wake that is all that is asked of the vCPU, at home on `core`. Returns whether that was so; if not, nothing has changed.
    #[inline(always)]
    pub fn take_wake(&self, core: u8) -> bool {
        let home = u32::from(core) << HOME_SHIFT;
        self.0.compare_exchange(home | WAKE, home, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives the vCPU, at home on `from`, to core `to`, which must be told. From here on it is that core's.
    pub fn move_to(&self, from: u8, to: u8) {
        // MOVE is not set: the home core alone sets it, and takes it before it can give the vCPU away again. Release: all that this
        // core did to the vCPU is seen by the other one, which reads this word first.
        self.0.fetch_xor(u32::from(from ^ to) << HOME_SHIFT | MOVE, Ordering::Release);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the upper eight bits")]
const fn core_of(word: u32) -> u8 {
    (word >> HOME_SHIFT) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_goes_with_a_vcpu_that_moves_and_is_taken_once_by_its_home_alone() {
        let orders = Orders::new(1);
        assert!(orders.is_quiet_at(1) && !orders.is_quiet_at(0));
        assert_eq!(orders.ask(WAKE), 1);
        assert_eq!(orders.take(0), None);
        orders.move_to(1, 2);
        assert_eq!(orders.take(1), None);
        assert_eq!(orders.ask(STOP), 2);
        assert!(!orders.is_quiet_at(2));
        assert!(!orders.take_wake(2), "more than that is asked");
        assert_eq!(orders.take(2), Some(WAKE | STOP | MOVE));
        assert_eq!((orders.take(2), orders.home()), (Some(0), 2));
        orders.move_to(2, 1);
        assert_eq!(orders.take(1), Some(MOVE));
        assert!(orders.is_quiet_at(1) && !orders.take_wake(1));
        orders.ask(WAKE);
        assert!(!orders.take_wake(0) && orders.take_wake(1) && orders.is_quiet_at(1));
    }
}
