//! VCPU: kicks, watchdogs and directed yields.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::event_area::SELECTOR_KICK;
use strato_hyp::arch::timer;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{Story, Who};
use crate::talk::{A, B, handle};

const SECOND: Who = (0, 1);

/// Returns the story of a VM with two vCPUs that run, on `cores` cores.
fn two_vcpus(cores: usize) -> Story {
    let mut s = Story::on(&System::one(2), cores);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(4);
    s
}

#[test]
fn a_kick_wakes_with_its_bit_whatever_is_masked_and_many_are_one() {
    for cores in [1, 2] {
        let mut s = two_vcpus(cores);
        s.begin(SECOND, Call::VcpuWait, &[u64::MAX]);
        s.turns(4);
        s.call(A, Call::VcpuKick, &[0b10]);
        s.until_seen(SECOND).unwrap();
        assert_eq!(s.answer(SECOND, Call::VcpuWait).unwrap()[1], SELECTOR_KICK);
        // One that runs finds it when it looks.
        s.call(A, Call::VcpuKick, &[0b11]);
        s.call(A, Call::VcpuKick, &[0b11]);
        assert_eq!(s.call(A, Call::EvtAck, &[])[0], SELECTOR_KICK);
        assert_eq!(s.call(A, Call::EvtAck, &[])[0], 0);
        assert_eq!(s.call(SECOND, Call::EvtAck, &[])[0], SELECTOR_KICK);
        s.close();
    }
}

#[test]
fn a_kick_of_nobody_and_of_a_vcpu_that_is_not_there_is_refused_and_kicks_nobody() {
    let mut s = two_vcpus(1);
    assert_eq!(s.refused(A, Call::VcpuKick, &[0]), (Code::Invalid, 1, Reason::TooSmall));
    for vcpus in [0b100, 0b110, 1 << 63, u64::MAX] {
        assert_eq!(s.refused(A, Call::VcpuKick, &[vcpus]), (Code::Invalid, 1, Reason::NoVcpu));
    }
    assert_eq!(s.call(SECOND, Call::EvtAck, &[])[0], 0);
    s.close();
}

#[test]
fn a_kick_stays_with_a_vcpu_that_is_off() {
    let mut s = Story::new(&System::one(2));
    s.call(A, Call::VcpuKick, &[0b10]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    assert_eq!(s.call(SECOND, Call::EvtAck, &[])[0], SELECTOR_KICK);
    s.close();
}

#[test]
fn a_vm_whose_watchdog_runs_out_is_stopped_with_a_report() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    s.call(A, Call::VcpuWatchdog, &[3 * SLICE]);
    // Waiting does not stop the clock.
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(400);
    assert!(s.try_vm(0, |_| ()).is_none(), "it is stopped and given back");
    assert!(s.log().iter().any(|line| line == "vm a: stopped: the watchdog of its vcpu 0 ran out"), "{:?}", s.log());
    s.call(B, Call::CoreNop, &[]);
    s.close();
}

/// A line takes longer than all else that is done in a turn.
#[test]
fn of_watchdogs_that_run_out_together_one_line_is_said_in_a_turn() {
    let mut s = Story::new(&System::new(["a", "b", "c", "d"].map(Guest::new)));
    s.pace = 1;
    for vm in 0..4 {
        s.call((vm, 0), Call::VcpuWatchdog, &[SLICE]);
        s.begin((vm, 0), Call::VcpuWait, &[u64::MAX]);
    }
    s.turns(20);
    s.pace = 2 * SLICE;
    let mut said = s.log().len();
    for _ in 0..400 {
        s.turns(1);
        let before = std::mem::replace(&mut said, s.log().len());
        assert!(said <= before + 1, "{:?}", &s.log()[before..]);
    }
    assert_eq!(s.log().iter().filter(|line| line.ends_with("ran out")).count(), 4);
    s.close();
}

#[test]
fn a_watchdog_that_is_renewed_or_ended_in_time_stops_nobody() {
    let mut s = Story::new(&System::one(2));
    for _ in 0..6 {
        s.call(A, Call::VcpuWatchdog, &[20 * SLICE]);
        s.turns(8);
    }
    s.call(A, Call::VcpuWatchdog, &[0]);
    s.turns(40);
    s.call(A, Call::VcpuWatchdog, &[u64::MAX]);
    s.turns(40);
    // One that turns itself off ends its own.
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.call(SECOND, Call::VcpuWatchdog, &[SLICE * 20]);
    s.begin(SECOND, Call::VcpuStop, &[]);
    s.turns(60);
    assert!(!s.log().iter().any(|line| line.contains("watchdog")));
    s.close();
}

#[test]
fn a_watchdog_of_a_vcpu_alone_arms_the_timer() {
    let mut s = Story::new(&System::one(1));
    s.turns(2);
    assert_eq!(timer::armed(), None);
    s.call(A, Call::VcpuWatchdog, &[100 * SLICE]);
    assert!(timer::armed().is_some());
    s.close();
}

#[test]
fn a_yield_to_a_vcpu_of_another_vm_never_lifts_its_priority() {
    let mut s = Story::new(&System::pair(Guest { priority: 11, ..Guest::new("a") }, Guest::new("b")));
    s.turns(1);
    s.ran();
    s.call(A, Call::VcpuYield, &[2, handle(2)]);
    s.turns(3);
    assert!(s.ran().iter().all(|&who| who == A));
    s.close();
}

/// Does turns until `who` has the core, which it keeps for a whole slice then.
fn give_core(s: &mut Story, who: Who, other: Who) {
    s.pace = SLICE;
    loop {
        s.ran();
        s.turns(1);
        if s.ran().last() == Some(&other) {
            break;
        }
    }
    s.pace = 1;
    s.turns(1);
    assert_eq!(s.ran(), [who]);
}

#[test]
fn a_yield_to_an_equal_lets_it_run_for_the_rest_of_the_slice() {
    let pair = || Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    for (mut s, to, target) in [(two_vcpus(1), SECOND, [1, 1]), (pair(), B, [2, handle(2)])] {
        give_core(&mut s, A, to);
        s.begin(A, Call::VcpuYield, &target);
        s.turns(1);
        assert_eq!(s.ran(), [A, to]);
        s.turns(3);
        assert!(s.ran().iter().all(|&who| who == to));
        // A slice between two turns of anybody else: handing it back does not begin another.
        s.begin(to, Call::VcpuYield, &[if to == B { 2 } else { 1 }, if to == B { handle(2) } else { 0 }]);
        s.turns(1);
        assert_eq!(s.ran(), [to, A]);
        s.close();
    }
}
