//! Schedule: when a timer is due next. Pure.

/// Timers with slack meet at multiples of at most so many ticks, a power of two. They are multiples of the machine's counter, for timers of
/// several VMs to meet: of more, the moment at which a timer comes would tell for how long the machine has been up.
const MEETING_MOST: u64 = 1 << 20;

/// When a timer is due, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When it is due, or [`super::NEVER`].
    pub deadline: u64,
    /// From one deadline to the next; 0 for a single one.
    pub period: u64,
    /// How late it may be.
    pub slack: u64,
}

impl Schedule {
    /// Returns the moment at which the core is to look at it: the deadline, or with slack the last multiple of a power of two that
    /// is within it. So timers with slack meet, and one interrupt serves them all.
    #[inline]
    #[must_use]
    pub const fn moment(&self) -> u64 {
        if self.slack == 0 {
            return self.deadline;
        }
        let slack = if self.slack < MEETING_MOST { self.slack } else { MEETING_MOST };
        let meeting = self.deadline.saturating_add(self.slack) & !((1 << slack.ilog2()) - 1);
        // Less only at the end of time.
        if meeting < self.deadline { self.deadline } else { meeting }
    }

    /// Returns what follows when it was due at `now`, or `None` after a single deadline. Deadlines that have passed are left out, and
    /// the rest stay multiples of the period after the first: a late core makes none of them later.
    #[inline]
    #[must_use]
    pub const fn after(self, now: u64) -> Option<Self> {
        if self.period == 0 {
            return None;
        }
        let mut deadline = self.deadline.saturating_add(self.period);
        if deadline <= now {
            let missed = now.saturating_sub(self.deadline) / self.period;
            deadline = self.deadline.saturating_add(missed.saturating_add(1).saturating_mul(self.period));
        }
        Some(Self { deadline, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NEVER;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slack_is_never_early_and_never_exceeded(deadline: u64, slack: u64) {
            let moment = Schedule { deadline, period: 0, slack }.moment();
            prop_assert!(moment >= deadline && moment <= deadline.saturating_add(slack));
        }

        #[test]
        fn the_next_deadline_is_ahead_and_on_the_grid(first in 0..1u64 << 62, period in 1..1u64 << 40, late in 0..1u64 << 60) {
            let now = first + late;
            let next = Schedule { deadline: first, period, slack: 0 }.after(now).unwrap().deadline;
            prop_assert!(next > now && next - now <= period);
            prop_assert_eq!((next - first) % period, 0);
        }
    }

    #[test]
    fn a_deadline_that_is_now_has_passed() {
        let next = |now| Schedule { deadline: 100, period: 10, slack: 0 }.after(now).unwrap().deadline;
        assert_eq!([100, 109, 110, 111, 119, 120].map(next), [110, 110, 120, 120, 120, 130]);
    }

    #[test]
    fn timers_with_slack_meet() {
        let moment = |deadline| Schedule { deadline, period: 0, slack: 100 }.moment();
        assert_eq!(moment(1000), 1088);
        assert_eq!((moment(1001), moment(1024)), (1088, 1088));
    }

    #[test]
    fn much_slack_tells_little_of_the_machines_counter() {
        let moment = |deadline| Schedule { deadline, period: 0, slack: 1 << 40 }.moment();
        let up_for = (1 << 41) - 5 * MEETING_MOST;
        assert_eq!(moment(up_for), up_for + (1 << 40), "not where bit 40 changes");
        assert_eq!(moment(up_for + MEETING_MOST / 2), up_for + (1 << 40), "and still they meet");
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        for period in [1, 1 << 63, u64::MAX] {
            let schedule = Schedule { deadline: u64::MAX - 1, period, slack: u64::MAX };
            assert!(schedule.moment() >= schedule.deadline);
            assert_eq!(schedule.after(u64::MAX - 1).unwrap().deadline, NEVER);
        }
        assert_eq!(Schedule { deadline: 5, period: 0, slack: 0 }.after(9), None);
    }
}
