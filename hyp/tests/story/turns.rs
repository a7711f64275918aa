//! Turns: what a core does between two guests, and that it is one long thing at most.

use strato_abi::Call;
use strato_abi::vcpu::RunState;
use strato_hyp::arch::{Deed, gic_cpu, timer};
use strato_hyp::timer::{Due, NEVER};

use crate::faults::{HOLE, NOT_MAPPED, abort};
use crate::plan::{CODE, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

/// Returns the machine of one core on which A runs, its second vCPU waits, and B is being given back.
fn giving_back() -> Story {
    let mut s = Story::new(&System::pair(Guest { vcpus: 2, ..Guest::new("a") }, Guest::new("b")));
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
    s.turns(6);
    s.begin(B, Call::CoreExit, &[0, 0]);
    while s.cpu(0).reaping == 0 {
        s.turns(1);
    }
    s.turns(1);
    assert_eq!(s.cpu(0).turn.map(|turn| turn.vcpu.vm()), Some(0));
    s
}

#[test]
fn behind_a_call_that_wakes_somebody_no_step_of_giving_a_vm_back_is_done_in_the_same_turn() {
    let mut s = giving_back();
    for _ in 0..3 {
        gic_cpu::take_sent();
        s.cpu(0).has_reaped = false;
        s.begin(A, Call::VcpuKick, &[2]);
        s.ran();
        s.turn_on(0);
        assert_eq!(s.ran(), [A]);
        assert_eq!(s.vm(0, |vm| vm.vcpu(1).unwrap().public.state()), RunState::Runnable);
        assert!(!s.cpu(0).has_reaped);
        assert_eq!(gic_cpu::take_sent().len(), 1, "its turn comes at once");
        s.turn_on(0);
        assert!(s.cpu(0).has_reaped);
        s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
        s.turns(4);
    }
    s.close();
}

#[test]
fn behind_a_report_no_step_of_giving_a_vm_back_is_done_before_the_next_guest_runs() {
    let mut s = Story::new(&System::new(["a", "b", "c"].map(Guest::new)));
    s.begin((2, 0), Call::CoreExit, &[0, 0]);
    while s.cpu(0).reaping == 0 {
        s.turns(1);
    }
    s.step(B, |_| Deed::Exit(abort(0x24, NOT_MAPPED, HOLE)));
    while s.seen(B).is_none() && !s.log().iter().any(|line| line.starts_with("vm b: vcpu 0: ")) {
        s.cpu(0).has_reaped = false;
        s.ran();
        s.turns(1);
    }
    assert_eq!((s.ran(), s.cpu(0).has_reaped), (vec![B], false));
    assert!(s.cpu(0).was_long, "what chooses next does nothing else");
    s.turns(1);
    assert_eq!(s.ran(), [A]);
    assert!(!s.cpu(0).was_long);
    assert_eq!(s.cpu(0).reaping & 4, 4, "there was something to be done");
    s.close();
}

#[test]
fn no_step_of_giving_a_vm_back_is_done_when_reserved_time_waits_for_something_behind_a_beat() {
    for (is_share_due, is_share_first) in [(false, false), (true, false), (true, true)] {
        let mut s = giving_back();
        let due = timer::now() + s.pace;
        s.cpu(0).has_reaped = false;
        s.cpu(0).set_deadline(Due::Beat, due - 5);
        if is_share_due {
            s.cpu(0).set_deadline(Due::Reservation(0), if is_share_first { due - 6 } else { due - 4 });
        }
        s.turn_on(0);
        assert_eq!(s.cpu(0).has_reaped, !is_share_due);
        s.cpu(0).set_deadline(Due::Beat, NEVER); // this system has no watchdog, which would set it anew
        s.close();
    }
}

#[test]
fn who_was_woken_and_comes_first_has_the_core_behind_a_call_that_may_have_been_long() {
    let mut system = System::new([Guest { vcpus: 2, ..Guest::new("a") }, Guest { priority: 20, ..Guest::new("b") }]);
    system.peer(0, 1).peer(1, 0).channel(0, 1);
    let mut s = Story::new(&system);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    // A letter lies in the box, so that the call cannot go its short way.
    s.machine.mail[0].remind();
    s.begin(A, Call::EvtSend, &[handle(2)]);
    s.ran();
    s.turns(2);
    assert_eq!(s.ran(), [A, B]);
    s.close();
}
