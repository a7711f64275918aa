//! Watchdog: the board's own resets the machine when it is not fed, and it is fed only when every core that runs has come by since it was
//! last. A core that hangs in the hypervisor, with its interrupts masked, does not. Called by the dispatcher when a core's beat is due.

use crate::arch::core_base::CoreIndex;
use crate::sync::{AtomicU8, Ordering};

/// Beats of a core in the time in which the board's watchdog runs out. It is fed at the latest two beats after the last time.
const BEATS: u64 = 4;

/// Which cores have come by.
#[derive(Debug)]
pub struct Watchdog {
    /// Seconds after which the board's watchdog runs out; 0 where there is none.
    pub seconds: u32,
    period: u64,
    /// Those that run, a bit each.
    cores: u8,
    /// Those that came since it was fed. Relaxed: each bit stands for itself, and nothing is read because of it.
    beaten: AtomicU8,
}

impl Watchdog {
    /// Returns the watchdog of the `cores` (a bit each) that run, on a machine with `frequency` ticks a second.
    #[must_use]
    pub const fn new(seconds: u32, cores: u8, frequency: u64) -> Self {
        let period = frequency.saturating_mul(seconds as u64) / BEATS;
        Self { seconds, period, cores, beaten: AtomicU8::new(0) }
    }

    /// Returns when a core is to come by that does so at `now`, in ticks; `None` without a watchdog.
    #[must_use]
    pub const fn next(&self, now: u64) -> Option<u64> {
        if self.seconds == 0 { None } else { Some(now.saturating_add(self.period)) }
    }

    /// Says that `core` came by. Returns whether it was the last of all, so that the board's watchdog is to be fed.
    #[must_use]
    pub fn beat(&self, core: CoreIndex) -> bool {
        let bit = 1 << core.index();
        let beaten = (self.beaten.fetch_or(bit, Ordering::Relaxed) | bit) & self.cores;
        // Of two that come last at once one takes them all back.
        beaten == self.cores && self.beaten.swap(0, Ordering::Relaxed) & self.cores == self.cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(watchdog: &Watchdog, cores: &[usize]) -> Vec<bool> {
        cores.iter().map(|core| watchdog.beat(CoreIndex::new(*core).unwrap())).collect()
    }

    #[test]
    fn it_is_fed_when_every_core_has_come_by() {
        let watchdog = Watchdog::new(10, 0b1111, 1000);
        assert_eq!(beats(&watchdog, &[0, 1, 2, 3]), [false, false, false, true]);
        assert_eq!(beats(&watchdog, &[3, 2, 1, 0]), [false, false, false, true]);
    }

    #[test]
    fn it_is_not_fed_when_one_core_does_not_come() {
        let watchdog = Watchdog::new(10, 0b111, 1000);
        assert!(beats(&watchdog, &[0, 1].repeat(50)).iter().all(|is_fed| !is_fed));
        assert_eq!(beats(&watchdog, &[2]), [true], "it was late, not gone");
    }

    #[test]
    fn a_core_that_never_ran_is_not_waited_for() {
        let watchdog = Watchdog::new(10, 0b1011, 1000);
        assert_eq!(beats(&watchdog, &[3, 0, 1, 1]), [false, false, true, false]);
        assert_eq!(beats(&Watchdog::new(1, 1, 1000), &[0, 0]), [true, true]);
    }

    #[test]
    fn a_core_comes_by_four_times_before_it_runs_out() {
        assert_eq!(Watchdog::new(8, 1, 1000).next(500), Some(2500));
        assert_eq!(Watchdog::new(0, 1, 1000).next(500), None);
    }
}
