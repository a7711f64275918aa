//! Time: the virtual counter, which needs no call, and group TIME: one function per call. [`Timer`](crate::Timer) and
//! [`LocalTimer`](crate::LocalTimer) are the convenient form.

use ::core::time::Duration;

use strato_abi::PortHandle;
use strato_abi::call::{TimeClock, TimeLocal, TimeTimerCancel, TimeTimerSet};
use strato_abi::info_page::FEATURE_CYCLES;
pub use strato_abi::time::ClockKind;

use crate::Info;
use crate::conduit::wrappers;

const BILLION: u64 = 1_000_000_000;

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds.
    pub ns: u64,
    /// CNTVCT_EL0 at that moment.
    pub counter: u64,
    /// Another value after the clock has jumped.
    pub epoch: u64,
}

wrappers! {
    /// Sets the timer of `port`, which is raised at `deadline` and, unless `period` is 0, after each `period`; up to `slack` late.
    /// All three are ticks of CNTVCT_EL0 (TIME.TIMER_SET).
    ///
    /// # Errors
    /// `INVALID` a period that is too short; `FULL` no timer is free; handle errors.
    fn timer_set(port: PortHandle, deadline: u64, period: u64, slack: u64) -> () = TimeTimerSet { port, deadline, period, slack }, |_| ();
    /// Ends the timer of `port` and returns whether it was still to be due (TIME.TIMER_CANCEL).
    ///
    /// # Errors
    /// Handle errors.
    fn timer_cancel(port: PortHandle) -> bool = TimeTimerCancel { port }, |reply| reply.was_set;
    /// Returns what a clock shows (TIME.CLOCK).
    ///
    /// # Errors
    /// `STATE` there is no such clock.
    fn clock(kind: ClockKind) -> Reading = TimeClock { kind },
        |reply| Reading { ns: reply.ns, counter: reply.counter, epoch: reply.epoch };
    /// Gives the calling vCPU its virtual timer, which raises `port` when it expires; `None` ends that (TIME.LOCAL).
    ///
    /// # Errors
    /// Handle errors.
    fn local(port: Option<PortHandle>) -> () = TimeLocal { port: port.unwrap_or(NO_PORT) }, |_| ();
}

const NO_PORT: PortHandle = PortHandle(strato_abi::Handle::from_bits(0));

/// A moment, as CNTVCT_EL0 counts; all vCPUs see the same counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Returns this moment.
    #[must_use]
    #[inline(always)]
    pub fn now() -> Self {
        Self(counter())
    }

    /// Returns the moment at which the counter shows `ticks`.
    #[must_use]
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Returns what the counter shows then.
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Returns the moment `duration` later; the last there is when that is beyond it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        self.after_at(duration, counter_hz())
    }

    const fn after_at(self, duration: Duration, hz: u64) -> Self {
        Self(self.0.saturating_add(ticks_in(duration, hz)))
    }

    /// Returns how long after `earlier` this is; zero when it is before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.since_at(earlier, counter_hz())
    }

    const fn since_at(self, earlier: Self, hz: u64) -> Duration {
        duration_of(self.0.saturating_sub(earlier.0), hz)
    }

    /// Returns how long ago this was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

/// Returns the time since 1970, by no call: the vCPU area says it. `None` on a machine without a clock that is set.
#[must_use]
pub fn since_1970() -> Option<Duration> {
    let record = crate::vcpu_area::record(0).filter(|record| record.wall_base != 0)?;
    let since = Instant::now().since(Instant::from_ticks(record.wall_counter));
    Some(Duration::from_nanos(record.wall_base).saturating_add(since))
}

/// Returns `duration` in ticks of a counter of `hz` ticks a second, rounded down; the most there is when it does not fit.
#[must_use]
pub const fn ticks_in(duration: Duration, hz: u64) -> u64 {
    let rest = (duration.subsec_nanos() as u64).saturating_mul(hz) / BILLION;
    duration.as_secs().saturating_mul(hz).saturating_add(rest)
}

/// Returns `ticks` of a counter of `hz` ticks a second, rounded down to nanoseconds.
#[must_use]
pub const fn duration_of(ticks: u64, hz: u64) -> Duration {
    let hz = if hz == 0 { 1 } else { hz };
    #[allow(clippy::cast_possible_truncation, reason = "the rest of a second has less than 2^30 nanoseconds")]
    let rest = ((ticks % hz).saturating_mul(BILLION) / hz) as u32;
    Duration::new(ticks / hz, rest)
}

/// Returns CNTVCT_EL0 in ticks, not read before what precedes it in the program.
#[must_use]
#[inline(always)]
pub fn counter() -> u64 {
    crate::arch::counter()
}

/// The cycle counter of the core that the vCPU runs on, where `cycle_counter = true` in the system's file lets guests read it.
///
/// It counts what the core does at all exception levels, for every VM on it; another core has another count. Any guest of the system can
/// stop it or set it anew.
#[derive(Clone, Copy, Debug)]
pub struct CycleCounter(());

impl CycleCounter {
    /// Returns the counter, or `None` where guests may not read it.
    #[must_use]
    pub fn of(info: &Info) -> Option<Self> {
        (info.header().features & FEATURE_CYCLES != 0).then_some(Self(()))
    }

    /// Returns PMCCNTR_EL0 in cycles, not read before what precedes it in the program.
    #[must_use]
    #[inline(always)]
    pub fn read(self) -> u64 {
        crate::arch::cycles()
    }
}

/// Returns the ticks of CNTVCT_EL0 in a second, as the info page says.
#[must_use]
pub fn counter_hz() -> u64 {
    crate::info::get().counter_hz()
}

/// Returns the counter's value `microseconds` from now, as a deadline of a wait.
#[must_use]
pub fn deadline_in(microseconds: u64) -> u64 {
    counter().saturating_add(counter_hz().saturating_mul(microseconds) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_ticks_are_each_others() {
        for (duration, hz, ticks) in [
            (Duration::from_micros(1), 62_500_000, 62),
            (Duration::from_secs(3), 1_000_000_000, 3_000_000_000),
            (Duration::from_millis(1500), 54_000_000, 81_000_000),
            (Duration::MAX, 54_000_000, u64::MAX),
        ] {
            assert_eq!(ticks_in(duration, hz), ticks);
        }
        assert_eq!(duration_of(81_000_000, 54_000_000), Duration::from_millis(1500));
        assert_eq!(duration_of(1, 62_500_000), Duration::from_nanos(16));
        assert_eq!(duration_of(7, 0), Duration::from_secs(7));
    }

    #[test]
    fn moments_are_ordered_and_never_wrap() {
        let (early, late) = (Instant::from_ticks(5), Instant::from_ticks(9));
        assert!(early < late);
        assert_eq!(late.since_at(early, 1_000_000_000), Duration::from_nanos(4));
        assert_eq!(early.since_at(late, 1_000_000_000), Duration::ZERO);
        assert_eq!(Instant::from_ticks(u64::MAX).after_at(Duration::MAX, 54_000_000).ticks(), u64::MAX);
    }
}
