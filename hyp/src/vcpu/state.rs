//! Run states of a vCPU: which moves there are.

use strato_abi::vcpu::RunState;

/// Returns whether a vCPU may move from `from` to `to`.
#[inline]
#[must_use]
pub const fn is_legal(from: RunState, to: RunState) -> bool {
    match (from, to) {
        (RunState::Off | RunState::Running | RunState::Blocked, RunState::Runnable)
        | (RunState::Runnable | RunState::Blocked, RunState::Running)
        | (RunState::Running, RunState::Blocked | RunState::Off) => true,
        (RunState::Stopped, _) => false,
        (_, RunState::Stopped) => true,
        _ => false,
    }
}

/// Returns the number under which a state is stored.
#[inline]
#[must_use]
pub const fn number(state: RunState) -> u8 {
    match state {
        RunState::Off => 0,
        RunState::Runnable => 1,
        RunState::Running => 2,
        RunState::Blocked => 3,
        RunState::Stopped => 4,
    }
}

/// The number of `Blocked` when an event alone is waited for: there is no deadline to be taken back. Like all others it is read by
/// [`from_number`] and [`is_attentive`].
pub const BLOCKED_PLAIN: u8 = 7;

/// Returns the state of a number that [`number`] gave.
#[inline]
#[must_use]
pub const fn from_number(number: u8) -> RunState {
    match number {
        0 => RunState::Off,
        1 => RunState::Runnable,
        2 => RunState::Running,
        3 | BLOCKED_PLAIN => RunState::Blocked,
        _ => RunState::Stopped,
    }
}

/// Returns whether a number is that of a vCPU that waits for an event alone.
#[inline(always)]
#[must_use]
pub const fn is_blocked_plain(number: u8) -> bool {
    number == BLOCKED_PLAIN
}

/// Returns whether the state of a number that [`number`] gave is `Running` or `Blocked`: one bit says it.
#[inline(always)]
#[must_use]
pub const fn is_attentive(number: u8) -> bool {
    number & 2 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RunState; 5] =
        [RunState::Off, RunState::Runnable, RunState::Running, RunState::Blocked, RunState::Stopped];

    #[test]
    fn a_stopped_vcpu_stays_stopped() {
        assert!(ALL.iter().all(|&to| !is_legal(RunState::Stopped, to)));
    }

    #[test]
    fn every_state_can_be_stopped_and_only_a_vcpu_that_is_ready_or_has_news_runs() {
        for from in ALL {
            assert_eq!(is_legal(from, RunState::Stopped), from != RunState::Stopped);
            let runs = matches!(from, RunState::Runnable | RunState::Blocked);
            assert_eq!(is_legal(from, RunState::Running), runs);
            assert_eq!(from_number(number(from)), from);
            assert_eq!(is_attentive(number(from)), matches!(from, RunState::Running | RunState::Blocked));
        }
    }
}
