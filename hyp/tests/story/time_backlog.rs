//! Backlog: much is due at once, and who has a share of the core's time is not late by that.

use strato_abi::Call;

use crate::plan::{Guest, System};
use crate::stage::shown;
use crate::talk::{A, B};
use crate::time_calls::{NEVER, slow};

/// Two VMs on one core. The first has a share of its time, and waits; 32 timers of the second are due before that, all at once.
#[test]
fn who_has_a_share_runs_before_the_timers_of_others_are_served() {
    for waits_by_timer in [false, true] {
        let mut system = System::new([
            Guest { priority: 0, handles: 64, ..Guest::new("a") },
            Guest { priority: 31, handles: 64, ..Guest::new("b") },
        ]);
        system.sched(0, 0, 1000, 4000, 1);
        let mut s = slow(&system);
        let at = shown() + 2000;
        if waits_by_timer {
            let port = s.own_port(A);
            s.call(A, Call::TimeTimerSet, &[port, at, 0, 0]);
            s.begin(A, Call::VcpuWait, &[NEVER]);
        } else {
            s.begin(A, Call::VcpuWait, &[at]);
        }
        for _ in 0..32 {
            let port = s.own_port(B);
            s.call(B, Call::TimeTimerSet, &[port, at - 1, 0, 0]);
        }
        s.begin(B, Call::VcpuWait, &[NEVER]);
        s.turns(10);
        assert!(shown() < at - 2, "nothing is due yet");
        s.pace = 4000;
        s.turns(1);
        s.pace = 1;
        s.ran();
        s.turns(2);
        assert_eq!(s.ran().first(), Some(&A), "by a timer: {waits_by_timer}");
        s.close();
    }
}
