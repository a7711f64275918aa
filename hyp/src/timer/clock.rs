//! Clock: ticks and nanoseconds, and what time it is. Pure.

const BILLION: u64 = 1_000_000_000;

/// Returns `ticks` of a counter of `hz` ticks a second in nanoseconds, rounded down; the most there is when they do not fit.
#[must_use]
pub const fn nanoseconds(ticks: u64, hz: u64) -> u64 {
    scale(ticks, hz, BILLION)
}

/// Returns `nanoseconds` in ticks of a counter of `hz` ticks a second, rounded down; the most there is when they do not fit.
#[must_use]
pub const fn ticks_of(nanoseconds: u64, hz: u64) -> u64 {
    scale(nanoseconds, BILLION, hz)
}

/// Returns `value * to / from` without an intermediate result that does not fit: `from` and `to` are below 2^32.
const fn scale(value: u64, from: u64, to: u64) -> u64 {
    let from = if from == 0 { 1 } else { from };
    let (whole, rest) = (value / from, value % from);
    whole.saturating_mul(to).saturating_add(rest.saturating_mul(to) / from)
}

/// What time it was once, as the machine's clock said it at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Nanoseconds since 1970.
    pub ns: u64,
    /// The counter then, in ticks.
    pub counter: u64,
}

impl Wall {
    /// Returns the time by a clock that shows `seconds` since 1970 at `counter`, or `None` for one that was never set.
    #[must_use]
    pub fn of(seconds: u32, counter: u64) -> Option<Self> {
        (seconds != 0).then(|| Self { ns: u64::from(seconds).saturating_mul(BILLION), counter })
    }

    /// Returns the nanoseconds since 1970 at `counter`, of `hz` ticks a second.
    #[must_use]
    pub const fn at(self, counter: u64, hz: u64) -> u64 {
        self.ns.saturating_add(nanoseconds(counter.saturating_sub(self.counter), hz))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_the_exact_quotient(ticks: u64, hz in 1..=u64::from(u32::MAX)) {
            let exact = u128::from(ticks) * 1_000_000_000 / u128::from(hz);
            prop_assert_eq!(nanoseconds(ticks, hz), u64::try_from(exact).unwrap_or(u64::MAX));
        }
    }

    #[test]
    fn the_time_goes_on_from_what_the_clock_said() {
        assert_eq!(Wall::of(0, 5), None);
        let wall = Wall::of(u32::MAX, 1000).unwrap();
        assert_eq!(wall.at(1000, 62_500_000), 4_294_967_295_000_000_000);
        assert_eq!(wall.at(1000 + 62_500_000, 62_500_000) - wall.at(1000, 62_500_000), 1_000_000_000);
        assert_eq!(wall.at(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn what_does_not_fit_is_the_most_there_is() {
        assert_eq!(nanoseconds(u64::MAX, 1_000_000), u64::MAX);
        assert_eq!(nanoseconds(u64::MAX, 1_000_000_000), u64::MAX);
        assert_eq!(ticks_of(100_000, 62_500_000), 6250);
        assert_eq!(nanoseconds(5, 0), 5_000_000_000, "a counter that does not count divides nothing by zero");
    }
}
