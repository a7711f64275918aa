//! VCPU.SIGNAL_WAIT: the receiver takes over from the sender where it would be the next anyway, and nowhere else.

use strato_abi::Call;
use strato_abi::trace::{Decision, trace_flags};
use strato_abi::vcpu::RunState;
use strato_hyp::arch::Deed;
use strato_hyp::sync::Ordering;

use crate::event_calls::{PORT, pair};
use crate::plan::{Guest, System};
use crate::stage::{INTERRUPT, Story, Who};
use crate::talk::{A, B};
use crate::traced::ring;

const NEVER: u64 = u64::MAX;
const C: Who = (2, 0);

fn state(s: &mut Story, (vm, vcpu): Who) -> RunState {
    s.vm(vm, |vm| vm.vcpu(vcpu).unwrap().public.state())
}

/// The second VM waits, and the first has the core.
fn waiting(system: &System) -> Story {
    let mut s = Story::new(system);
    s.begin(B, Call::VcpuWait, &[NEVER]);
    s.turns(4);
    s.pace = 1;
    s.deed(A, |_| Deed::Exit(INTERRUPT)).unwrap();
    assert_eq!(state(&mut s, B), RunState::Blocked);
    s.ran();
    s
}

/// Lets `from` send an event to `to`, which waits, and wait; checks that `to` has the core in the same run.
fn hand_over(s: &mut Story, from: Who, to: Who) {
    s.deed(from, |_| Deed::Exit(INTERRUPT)).unwrap();
    s.ran();
    s.begin(from, Call::VcpuSignalWait, &[PORT, NEVER]);
    s.turns(1);
    assert_eq!(s.ran()[..2], [from, to], "in one turn of the loop");
    assert_eq!((state(s, from), state(s, to)), (RunState::Blocked, RunState::Running));
    s.until_seen(to).unwrap();
    let answer = s.answer(to, Call::VcpuWait).unwrap();
    assert_eq!(answer[1], 1, "the selector");
    s.vm(to.0, |vm| vm.area.pages().word(0).unwrap().store(0, Ordering::SeqCst)); // the guest takes it
}

#[test]
fn two_that_send_and_wait_hand_the_core_to_each_other() {
    let mut s = waiting(&pair());
    for _ in 0..3 {
        hand_over(&mut s, A, B);
        hand_over(&mut s, B, A);
    }
    s.close();
}

#[test]
fn an_equal_that_is_ready_comes_first_so_that_two_partners_starve_nobody() {
    let mut system = System::new(["a", "b", "c"].map(Guest::new));
    system.peer(0, 1).peer(1, 0).channel(0, 1);
    let mut s = Story::new(&system);
    s.begin(B, Call::VcpuWait, &[NEVER]);
    s.turns(6);
    s.pace = 1; // no slice ends from here on
    for (from, to) in [(A, B), (B, A), (A, B)] {
        give(&mut s, from);
        s.begin(from, Call::VcpuSignalWait, &[PORT, NEVER]);
        s.turns(2);
        let ran = s.ran();
        assert_eq!(ran.last(), Some(&C), "it was ready first: {ran:?}");
        assert!(!ran.contains(&to));
        assert_eq!((state(&mut s, from), state(&mut s, to)), (RunState::Blocked, RunState::Runnable));
        give(&mut s, to);
        s.until_seen(to).unwrap();
        s.vm(to.0, |vm| vm.area.pages().word(0).unwrap().store(0, Ordering::SeqCst));
    }
    s.close();
}

/// Makes whoever has the core yield until `who` has it.
fn give(s: &mut Story, who: Who) {
    for _ in 0..5 {
        s.turns(1);
        let last = s.ran().last().copied().unwrap();
        if last == who {
            return;
        }
        s.begin(last, Call::VcpuYield, &[0, 0]);
    }
    panic!("{who:?} is not ready");
}

#[test]
fn one_that_has_news_goes_on_at_once_and_its_receiver_is_ready_behind_it() {
    let mut s = waiting(&pair());
    s.vm(0, |vm| vm.area.kick(0, &vm.vcpu(0).unwrap().public.sink));
    s.begin(A, Call::VcpuSignalWait, &[PORT, NEVER]);
    s.turns(2);
    assert!(s.ran().iter().all(|who| *who == A));
    assert_ne!(s.answer(A, Call::VcpuSignalWait).unwrap()[1], 0, "the kick");
    assert_eq!(state(&mut s, B), RunState::Runnable);
    s.begin(A, Call::VcpuWait, &[NEVER]);
    s.until_seen(B).unwrap();
    assert_eq!(s.answer(B, Call::VcpuWait).unwrap()[1], 1);
    s.close();
}

#[test]
fn whatever_is_not_that_simple_comes_to_the_same() {
    // Of another priority; in another manner; with a watchdog; FP on the core is the loop's affair.
    let higher = System::pair(Guest::new("a"), Guest { priority: 20, ..Guest::new("b") });
    let lower = System::pair(Guest::new("a"), Guest { priority: 3, ..Guest::new("b") });
    let mut calls = [u32::MAX; 8];
    calls[7] = 0;
    let closed = System::pair(Guest::new("a"), Guest { calls, ..Guest::new("b") });
    let mut traced = pair();
    traced.flags = trace_flags(1);
    for (system, has_watchdog) in [(higher, false), (lower, false), (closed, false), (pair(), true), (traced, false)] {
        let mut s = waiting_by_any(&system);
        if has_watchdog {
            s.call(A, Call::VcpuWatchdog, &[1 << 40]);
        }
        s.begin(A, Call::VcpuSignalWait, &[PORT, NEVER]);
        s.until_seen(B).unwrap();
        assert_eq!(s.answer(B, Call::VcpuWait).unwrap()[1], 1);
        s.begin(B, Call::EvtSend, &[PORT]);
        s.begin(B, Call::VcpuWait, &[NEVER]);
        s.until_seen(A).unwrap();
        assert_eq!(s.answer(A, Call::VcpuSignalWait).unwrap()[1], 1);
        if system.flags != 0 {
            let (_, records) = ring(&mut s);
            let waits = records.iter().filter(|record| record.decision == Decision::Wait as u8);
            assert!(waits.clone().any(|record| (record.from_vm, record.to_vm, record.results[0]) == (0, 1, NEVER)));
        }
        s.close();
    }
}

/// As [`waiting`], whoever of the two comes first.
fn waiting_by_any(system: &System) -> Story {
    let mut s = Story::new(system);
    // One of a lower priority runs while the other waits.
    s.begin(A, Call::VcpuWait, &[crate::stage::shown() + 100 * crate::plan::SLICE]);
    s.begin(B, Call::VcpuWait, &[NEVER]);
    for _ in 0..60 {
        s.turns(10);
        if s.seen(A).is_some() {
            break;
        }
    }
    s.until_seen(A).unwrap();
    assert_eq!(state(&mut s, B), RunState::Blocked);
    s
}
