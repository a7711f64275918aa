//! VCPU: who has the core, waiting, starting and stopping.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::vcpu::RunState;
use strato_hyp::arch::{Deed, timer};

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{INTERRUPT, Story, shown};
use crate::talk::{A, B, handle};

fn pair() -> System {
    System::pair(Guest::new("a"), Guest::new("b"))
}

#[test]
fn a_yield_of_a_lone_vcpu_comes_back_at_once() {
    let mut s = Story::new(&System::one(1));
    s.turns(1);
    s.begin(A, Call::VcpuYield, &[0, 0]);
    s.turns(1);
    assert_eq!(s.answer(A, Call::VcpuYield).unwrap()[0], 0, "in the same turn");
    s.close();
}

#[test]
fn a_yield_lets_an_equal_run_before_the_slice_is_over() {
    let mut s = Story::new(&pair());
    s.pace = 1;
    s.turns(2);
    s.begin(A, Call::VcpuYield, &[0, 0]);
    s.ran();
    s.turns(1);
    assert_eq!(s.ran(), [A, B], "in the same turn");
    s.begin(B, Call::VcpuYield, &[0, 0]);
    s.turns(2);
    assert_eq!(s.answer(A, Call::VcpuYield).unwrap()[0], 0);
    s.close();
}

#[test]
fn a_yield_does_not_let_a_lower_priority_run() {
    let mut s = Story::new(&System::pair(Guest { priority: 11, ..Guest::new("a") }, Guest::new("b")));
    s.turns(1);
    s.ran();
    s.call(A, Call::VcpuYield, &[0, 0]);
    s.turns(3);
    assert!(s.ran().iter().all(|&who| who == A));
    s.close();
}

#[test]
fn every_hint_of_a_yield_is_checked_and_none_fails_on_the_state_of_its_target() {
    let mut s = Story::new(&pair());
    for (hint, target) in [(0, u64::MAX), (1, 0), (2, handle(2)), (3, u64::MAX)] {
        s.call(A, Call::VcpuYield, &[hint, target]);
    }
    assert_eq!(s.refused(A, Call::VcpuYield, &[4, 0]), (Code::Invalid, 1, Reason::UnknownValue));
    for vcpu in [1, 8, 256, u64::MAX] {
        assert_eq!(s.refused(A, Call::VcpuYield, &[1, vcpu]), (Code::Invalid, 2, Reason::NoVcpu));
    }
    assert_eq!(s.refused(A, Call::VcpuYield, &[2, 1 << 32]), (Code::Invalid, 2, Reason::TooLarge));
    assert_eq!(s.refused(A, Call::VcpuYield, &[2, handle(9)]).0, Code::BadHandle);
    assert_eq!(s.refused(A, Call::VcpuYield, &[2, handle(2) + (1 << 16)]).0, Code::Stale);
    s.close();
}

#[test]
fn equals_take_turns_of_a_slice_each() {
    let mut s = Story::new(&pair());
    s.turns(1);
    s.pace = SLICE / 4;
    s.ran();
    s.turns(12);
    let ran = s.ran();
    let changes = ran.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((2..=3).contains(&changes), "{ran:?}");
    s.close();
}

#[test]
fn the_timer_is_armed_for_the_end_of_the_slice_only_while_an_equal_waits() {
    let mut s = Story::new(&pair());
    s.turns(1);
    assert_eq!(timer::armed(), Some(timer::now() + SLICE));
    s.ask(B, Call::CoreExit, &[0, 0]);
    s.turns(60);
    assert_eq!(timer::armed(), None);
    s.close();
}

#[test]
fn a_wait_comes_back_with_the_selector_of_an_event_and_lowers_it() {
    let mut s = Story::new(&pair());
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(5);
    assert!(s.answer(A, Call::VcpuWait).is_none());
    assert_eq!(s.vm(0, |vm| vm.vcpu(0).unwrap().public.state()), RunState::Blocked);
    s.call(B, Call::EvtSend, &[handle(2)]);
    s.until_seen(A).unwrap();
    let x = s.answer(A, Call::VcpuWait).unwrap();
    assert_eq!((x[0], x[1]), (0, 1), "port 2 is in word 0");
    assert_eq!(s.call(A, Call::EvtAck, &[])[0], 0, "the wait has taken it");
    s.close();
}

#[test]
fn a_wait_with_news_comes_back_at_once() {
    let mut s = Story::new(&pair());
    s.call(B, Call::EvtSend, &[handle(2)]);
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(2);
    assert_eq!(s.answer(A, Call::VcpuWait).unwrap()[1], 1);
    s.close();
}

#[test]
fn a_deadline_wakes_with_no_selector_and_one_in_the_past_does_not_wait() {
    let mut s = Story::new(&System::one(1));
    for deadline in [0, shown()] {
        assert_eq!(s.call(A, Call::VcpuWait, &[deadline])[0], 0);
    }
    s.pace = 10;
    let deadline = shown() + 1000;
    s.begin(A, Call::VcpuWait, &[deadline]);
    s.turns(50);
    assert!(s.answer(A, Call::VcpuWait).is_none(), "it is {}", shown());
    s.turns(60);
    let x = s.answer(A, Call::VcpuWait).unwrap();
    assert_eq!(x[1], 0);
    assert!((deadline..deadline + 20).contains(&x[2]));
    s.close();
}

#[test]
fn an_event_before_the_deadline_cancels_it() {
    let mut s = Story::new(&pair());
    s.begin(A, Call::VcpuWait, &[shown() + 20 * SLICE]);
    s.turns(4);
    s.call(B, Call::EvtSend, &[handle(2)]);
    s.until_seen(A).unwrap();
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(40);
    assert!(s.answer(A, Call::VcpuWait).is_none(), "the old deadline is forgotten");
    s.close();
}

#[test]
fn a_signal_wait_sends_and_waits_in_one_trap() {
    let mut s = Story::new(&pair());
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    s.begin(A, Call::VcpuSignalWait, &[handle(2), u64::MAX]);
    s.until_seen(B).unwrap();
    assert_eq!(s.answer(B, Call::VcpuWait).unwrap()[1], 1);
    assert!(s.answer(A, Call::VcpuSignalWait).is_none());
    s.begin(B, Call::VcpuSignalWait, &[handle(2), u64::MAX]);
    s.until_seen(A).unwrap();
    assert_eq!(s.answer(A, Call::VcpuSignalWait).unwrap()[1], 1);
    s.close();
}

#[test]
fn a_signal_wait_whose_send_is_refused_waits_for_nothing() {
    let mut s = Story::new(&pair());
    assert_eq!(s.refused(A, Call::VcpuSignalWait, &[handle(7), u64::MAX]), (Code::BadHandle, 1, Reason::None));
    let offered = s.call(A, Call::EvtOffer, &[handle(1)])[0];
    assert_eq!(s.refused(A, Call::VcpuSignalWait, &[offered, u64::MAX]), (Code::State, 1, Reason::None));
    s.ask(B, Call::CoreExit, &[0, 0]);
    assert_eq!(s.refused(A, Call::VcpuSignalWait, &[handle(2), u64::MAX]), (Code::PeerGone, 1, Reason::None));
    s.close();
}

#[test]
fn a_wfi_goes_on_behind_it_when_an_event_comes_and_takes_nothing() {
    let mut s = Story::new(&pair());
    let wfi = strato_hyp::arch::frame::RawExit { esr: 0x01 << 26 | 1 << 25, ..Default::default() };
    s.step(A, move |frame| {
        frame.x[1] = 77;
        frame.pc = CODE + 8;
        Deed::Exit(wfi)
    });
    s.turns(5);
    assert!(s.seen(A).is_none());
    s.call(B, Call::EvtSend, &[handle(2)]);
    let frame = s.until_seen(A).unwrap();
    assert_eq!((frame.pc, frame.x[1]), (CODE + 12, 77));
    assert_eq!(s.call(A, Call::EvtAck, &[])[0], 1, "the selector is still there");
    s.close();
}

#[test]
fn a_started_vcpu_runs_at_its_entry_with_its_argument_and_can_stop_and_start_again() {
    let mut s = Story::new(&System::one(2));
    let second = (0, 1);
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Off as u64);
    for round in 0..3 {
        s.call(A, Call::VcpuStart, &[1, CODE + 0x40, 99 + round]);
        let entry = s.deed(second, move |frame| {
            assert_eq!((frame.x[0], frame.x[1], frame.x[2], frame.x[3]), (99 + round, 0x1_0002, 1, 0x3fe0_0000));
            assert!(frame.x[4..].iter().all(|&x| x == 0));
            assert_eq!((frame.pc, frame.pstate), (CODE + 0x40, 0x3c5));
            Deed::Exit(INTERRUPT)
        });
        assert!(entry.is_some());
        let state = s.call(A, Call::VcpuState, &[1])[0];
        assert!([RunState::Runnable as u64, RunState::Running as u64].contains(&state));
        assert_eq!(s.refused(A, Call::VcpuStart, &[1, CODE, 0]).0, Code::State);
        assert_eq!(s.ask(second, Call::VcpuStop, &[]), None);
        assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Off as u64);
    }
    s.close();
}

#[test]
fn a_vcpu_cannot_start_itself_or_one_that_is_not_there_or_at_a_bad_address() {
    let mut s = Story::new(&System::one(2));
    assert_eq!(s.refused(A, Call::VcpuStart, &[0, CODE, 0]), (Code::State, 1, Reason::None));
    for vcpu in [2, 8, 255, 256, 1 << 32, u64::MAX] {
        assert_eq!(s.refused(A, Call::VcpuStart, &[vcpu, CODE, 0]), (Code::Invalid, 1, Reason::NoVcpu));
        assert_eq!(s.refused(A, Call::VcpuState, &[vcpu]), (Code::Invalid, 1, Reason::NoVcpu));
    }
    for entry in [CODE + 1, CODE + 2, CODE + 3] {
        assert_eq!(s.refused(A, Call::VcpuStart, &[1, entry, 0]), (Code::Misaligned, 2, Reason::Misaligned));
    }
    for entry in [0, 4, 0xffc] {
        assert_eq!(s.refused(A, Call::VcpuStart, &[1, entry, 0]), (Code::BadAddress, 2, Reason::Reserved));
    }
    for entry in [1 << 39, 1 << 63, u64::MAX] {
        assert_eq!(s.refused(A, Call::VcpuStart, &[1, entry, 0]), (Code::BadAddress, 2, Reason::TooLarge));
    }
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Off as u64, "no refusal changed anything");
    s.close();
}

#[test]
fn a_vm_ends_well_when_its_last_vcpu_stops() {
    let mut s = Story::new(&System::one(2));
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(2);
    assert_eq!(s.ask(A, Call::VcpuStop, &[]), None);
    assert!(s.try_vm(0, |_| ()).is_some(), "one is left");
    assert_eq!(s.ask((0, 1), Call::VcpuStop, &[]), None);
    s.turns(50);
    assert!(s.log().iter().any(|line| line == "vm a: ended, exit code 0"), "{:?}", s.log());
    s.audit();
}

#[test]
fn an_exit_stops_all_vcpus_wherever_they_are() {
    let mut guest = Guest { vcpus: 4, ..Guest::new("a") };
    guest.cores = [0, 1, 1, 0, 0, 0, 0, 0];
    let mut s = Story::on(&System::new([guest]), 2);
    for vcpu in 1..4 {
        s.call(A, Call::VcpuStart, &[vcpu, CODE, 0]);
    }
    s.begin((0, 2), Call::VcpuWait, &[u64::MAX]);
    s.turns(10);
    assert_eq!(s.ask((0, 1), Call::CoreExit, &[5, 0]), None);
    s.turns(60);
    assert!(s.log().iter().any(|line| line == "vm a: ended, exit code 5"), "{:?}", s.log());
    s.audit();
}
