//! Backlog: much is due at once, and who has a share of the core's time is not late by that.

use strato_abi::Call;
use strato_hyp::arch::{Deed, timer};
use strato_hyp::scheduler::VcpuRef;
use strato_hyp::vcpu::orders;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{BORN, INTERRUPT, shown};
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

/// All vCPUs of the second VM are told something by another core as the first one's deadline comes.
#[test]
fn who_has_a_share_runs_before_the_letters_of_others_are_read() {
    let b = Guest { vcpus: 8, priority: 31, ..Guest::new("b") };
    let mut system = System::new([Guest { priority: 0, ..Guest::new("a") }, b]);
    system.sched(0, 0, 1000, 4000, 1);
    let mut s = slow(&system);
    let at = shown() + 2000;
    s.begin(A, Call::VcpuWait, &[at]);
    for vcpu in 1..8 {
        s.call(B, Call::VcpuStart, &[vcpu, CODE, 0]);
    }
    (0..8).for_each(|vcpu| s.begin((1, vcpu), Call::VcpuWait, &[NEVER]));
    s.turns(20);
    assert!(shown() < at, "nothing is due yet");
    for vcpu in 0..8 {
        s.vm(1, |vm| vm.vcpu(vcpu).unwrap().public.orders.ask(orders::WAKE));
        s.machine.mail[0].put(VcpuRef::new(1, vcpu).unwrap());
    }
    timer::set_now(BORN + at);
    let machine = s.machine;
    s.step(A, move |_| {
        assert!(machine.mail[0].is_full(), "they are read later");
        Deed::Exit(INTERRUPT)
    });
    s.ran();
    s.turns(1);
    assert_eq!(s.ran(), [A]);
    s.turns(1);
    assert!(!s.machine.mail[0].is_full(), "and nothing is lost");
    s.close();
}

/// The first VM has a quarter of the core, and the core at `at`; a timer of the second is due a little later.
#[test]
fn who_runs_in_reserved_time_is_not_interrupted_for_what_is_due_for_others() {
    let mut system = System::new([
        Guest { priority: 0, handles: 64, ..Guest::new("a") },
        Guest { priority: 31, handles: 64, ..Guest::new("b") },
    ]);
    system.sched(0, 0, 1000, 4000, 1);
    let mut s = slow(&system);
    let at = shown() + 2000;
    s.begin(A, Call::VcpuWait, &[at]);
    let port = s.own_port(B);
    s.call(B, Call::TimeTimerSet, &[port, at + 100, 0, 0]);
    timer::set_now(BORN + at);
    s.ran();
    s.turns(3);
    assert_eq!(s.ran().last(), Some(&A));
    let armed = timer::armed().expect("the budget has an end");
    assert!(armed > BORN + at + SLICE / 2, "{} behind the deadline of the wait", armed - BORN - at);
    timer::set_now(BORN + at + 200);
    s.turns(3);
    assert!(s.ran().iter().all(|&who| who == A));
    assert_eq!(s.word(B, 0), 0, "it is not served meanwhile");
    timer::set_now(armed);
    s.turns(2);
    assert_eq!(s.ran().last(), Some(&B), "the budget is used up");
    assert!(s.take(B, port), "and the timer is served");
    s.close();
}

#[test]
fn the_timers_of_a_vm_with_a_share_are_all_served_and_nobody_elses_are_lost_behind_them() {
    let mut system = System::new([
        Guest { priority: 0, handles: 64, ..Guest::new("a") },
        Guest { priority: 31, handles: 64, ..Guest::new("b") },
    ]);
    system.sched(0, 0, 1000, 4000, 1);
    let mut s = slow(&system);
    let at = shown() + 3000;
    let mut ports = Vec::new();
    for who in [A, B] {
        for _ in 0..32 {
            let port = s.own_port(who);
            s.call(who, Call::TimeTimerSet, &[port, at, 0, 0]);
            ports.push((who, port));
        }
        s.begin(who, Call::VcpuWait, &[NEVER]);
        s.turns(4);
    }
    assert!(shown() < at, "nothing is due yet");
    timer::set_now(BORN + at);
    s.turns(12);
    timer::set_now(BORN + at + 2 * SLICE); // the first one's budget is used up
    s.turns(12);
    for (who, port) in ports {
        assert!(s.take(who, port), "{who:?} {port:#x}");
    }
    s.close();
}
