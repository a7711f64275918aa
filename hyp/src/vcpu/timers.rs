//! Timers of a VM: which port each raises, when, and which core has it among its deadlines.
//!
//! Owns the slots, which stand in the frame of the VM's first vCPU. Called by the calls of group TIME and by the core at which one is due. Never raises a port itself.
//! A core's deadline of a timer that has moved or ended since is found to be old when it comes: nobody is asked to take it away.

use strato_abi::Handle;
use strato_abi::time::TIMERS_PER_VM;

use crate::timer::{NEVER, Schedule};

/// Timers of a VM.
#[allow(clippy::cast_possible_truncation, reason = "32")]
pub const TIMERS: usize = TIMERS_PER_VM as usize;

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timer {
    /// What it raises; [`NOTHING`] when it is not set.
    port: Handle,
    /// Whose deadline it is; [`NOBODY`] when it is not set.
    core: u8,
    schedule: Schedule,
}

/// The handle of no port.
const NOTHING: Handle = Handle::from_bits(0);
/// No core.
const NOBODY: u8 = u8::MAX;

impl Timer {
    const FREE: Self = Self { port: NOTHING, core: NOBODY, schedule: Schedule { deadline: 0, period: 0, slack: 0 } };
}

/// The timers of a VM.
#[derive(Debug)]
pub struct Timers {
    slots: [Timer; TIMERS],
    /// So many of them can be set at once.
    limit: u8,
}

/// What a timer that is due raises, and when it is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The port.
    pub port: Handle,
    /// The moment of its next deadline, or [`NEVER`].
    pub next: u64,
}

impl Timers {
    /// Returns timers of which none is set, and none can be.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [Timer::FREE; TIMERS], limit: 0 }
    }

    /// Lets so many be set at once from now on, or [`TIMERS`] if that is less.
    pub const fn allow(&mut self, limit: u8) {
        self.limit = limit;
    }

    /// Sets the timer of `port`, in place of one that it has, among the deadlines of `core`. Returns its slot.
    ///
    /// # Errors
    /// As many as can be are set; returns how many that are.
    #[inline]
    pub fn set(&mut self, port: Handle, core: u8, schedule: Schedule) -> Result<u8, u8> {
        let full = self.limit;
        // The first free one is taken, so that those beyond the limit never are.
        let at = self.find(port).or_else(|| self.find(NOTHING).filter(|at| *at < usize::from(full))).ok_or(full)?;
        *self.slots.get_mut(at).ok_or(full)? = Timer { port, core, schedule };
        u8::try_from(at).map_err(|_| full)
    }

    /// Ends the timer of `port`. Returns whether there was one.
    #[inline]
    pub fn cancel(&mut self, port: Handle) -> bool {
        let slot = self.find(port).and_then(|at| self.slots.get_mut(at));
        slot.map(|slot| *slot = Timer::FREE).is_some()
    }

    /// Returns what the timer of `slot` raises whose deadline of `core` has come, at `now`. `None` when that deadline is an old one.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    pub fn expire(&mut self, slot: u8, core: u8, now: u64) -> Option<Expiry> {
        let slot = &mut self.slots[usize::from(slot) % TIMERS];
        // Whoever sets a timer of this core sets its deadline there as well, so that what has come is what is set.
        if slot.core != core {
            return None;
        }
        debug_assert!(slot.schedule.moment() <= now, "a deadline that nobody has set");
        let port = slot.port;
        let Some(schedule) = slot.schedule.after(now) else {
            (slot.port, slot.core) = (NOTHING, NOBODY);
            return Some(Expiry { port, next: NEVER });
        };
        slot.schedule = schedule;
        Some(Expiry { port, next: schedule.moment() })
    }

    #[inline(always)]
    fn find(&self, port: Handle) -> Option<usize> {
        self.slots.iter().position(|slot| slot.port == port)
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(deadline: u64, period: u64) -> Schedule {
        Schedule { deadline, period, slack: 0 }
    }

    fn port(index: u16) -> Handle {
        Handle::new(index, 1)
    }

    fn all() -> Timers {
        let mut timers = Timers::new();
        timers.allow(u8::try_from(TIMERS).unwrap());
        timers
    }

    #[test]
    fn no_more_are_set_than_are_allowed() {
        let mut timers = Timers::new();
        assert_eq!(timers.set(port(1), 0, at(1, 0)), Err(0));
        timers.allow(2);
        assert_eq!([1, 2].map(|index| timers.set(port(index), 0, at(1, 0))), [Ok(0), Ok(1)]);
        assert_eq!(timers.set(port(3), 0, at(1, 0)), Err(2));
        assert_eq!(timers.set(port(1), 0, at(2, 0)), Ok(0), "one that is there is replaced");
        assert!(timers.cancel(port(1)));
        assert_eq!(timers.set(port(3), 0, at(1, 0)), Ok(0));
    }

    #[test]
    fn a_timer_is_due_once_and_a_periodic_one_again() {
        let mut timers = all();
        let slot = timers.set(port(3), 0, at(100, 0)).unwrap();
        assert_eq!(timers.expire(slot, 0, 100), Some(Expiry { port: port(3), next: NEVER }));
        assert_eq!(timers.expire(slot, 0, 200), None);
        let slot = timers.set(port(3), 0, at(100, 10)).unwrap();
        assert_eq!(timers.expire(slot, 0, 135), Some(Expiry { port: port(3), next: 140 }));
    }

    #[test]
    fn a_deadline_of_a_core_that_no_longer_has_the_timer_is_an_old_one() {
        let mut timers = all();
        let slot = timers.set(port(3), 0, at(100, 0)).unwrap();
        assert_eq!(timers.set(port(3), 1, at(50, 0)), Ok(slot), "a port has one timer");
        assert_eq!(timers.expire(slot, 0, 100), None);
        assert!(timers.expire(slot, 1, 100).is_some());
    }

    #[test]
    fn there_are_so_many_and_each_ends_once() {
        let mut timers = all();
        let all = 0..u16::try_from(TIMERS).unwrap();
        assert!(all.clone().all(|index| timers.set(port(index), 0, at(1, 0)).is_ok()));
        assert_eq!(timers.set(port(99), 0, at(1, 0)), Err(32));
        assert!(timers.set(port(5), 0, at(2, 0)).is_ok(), "one that is there is replaced");
        assert!(all.clone().all(|index| timers.cancel(port(index))));
        assert!(all.clone().all(|index| !timers.cancel(port(index))));
        assert!(!timers.cancel(Handle::new(0, 2)), "another owner of the number");
    }
}
