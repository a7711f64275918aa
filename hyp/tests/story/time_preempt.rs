//! Time takes the core from a vCPU, from the vector: the guest that has it by then goes on in the same run.

use strato_abi::Call;
use strato_abi::trace::{Crossing, Decision, trace_flags};
use strato_abi::vcpu::RunState;
use strato_hyp::arch::{Deed, gic_cpu, timer};
use strato_hyp::sync::Ordering;

use crate::event_calls::pair;
use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{INTERRUPT, Story, Who, shown};
use crate::talk::{A, B, fill};
use crate::traced::ring;

const NEVER: u64 = u64::MAX;
const HYP_TIMER: u32 = 26;

/// Two VMs, the second of `priority`, which waits until the moment that is returned; the first has the core.
fn waiting(mut system: System, priority: u8) -> (Story, u64) {
    system.guests[1].priority = priority;
    let mut s = Story::new(&system);
    s.pace = 1;
    let deadline = timer::now() + 40 * SLICE;
    s.begin(B, Call::VcpuWait, &[shown() + 40 * SLICE]);
    for _ in 0..4 {
        expire(&mut s); // until the second had its turn, and the first has one
        timer::set_now(timer::now() + SLICE);
    }
    s.deed(A, |_| Deed::Exit(INTERRUPT)).unwrap();
    s.ran();
    gic_cpu::take_ended();
    (s, deadline)
}

/// Lets the timer's interrupt come in one turn.
fn expire(s: &mut Story) {
    gic_cpu::pend(HYP_TIMER);
    s.turns(1);
}

/// Exits of `who` for interrupts.
fn interrupts(s: &mut Story, (vm, _): Who) -> u64 {
    s.vm(vm, |vm| vm.pages[1].word(12).unwrap().load(Ordering::SeqCst))
}

fn state(s: &mut Story, (vm, vcpu): Who) -> RunState {
    s.vm(vm, |vm| vm.vcpu(vcpu).unwrap().public.state())
}

#[test]
fn a_wait_that_is_over_takes_the_core_from_a_lower_priority_in_one_run() {
    let (mut s, deadline) = waiting(pair(), 20);
    s.step(A, |frame| {
        fill(frame, 77, &[78]);
        Deed::Exit(INTERRUPT)
    });
    let before = interrupts(&mut s, A);
    timer::set_now(deadline - 1);
    expire(&mut s);
    assert_eq!(s.ran()[..2], [A, B], "in one turn of the loop");
    assert!(gic_cpu::take_ended().contains(&HYP_TIMER));
    assert_eq!(interrupts(&mut s, A), before + 1, "it is counted once");
    assert_eq!((state(&mut s, A), state(&mut s, B)), (RunState::Runnable, RunState::Running));
    let answer = s.until_seen(B).and_then(|_| s.answer(B, Call::VcpuWait)).unwrap();
    assert_eq!((answer[1], answer[2] + timer::now()), (0, deadline + shown()), "no event, and the time");
    // What was interrupted finds every register as it was.
    s.begin(B, Call::VcpuWait, &[NEVER]);
    let frame = s.until_seen(A).unwrap();
    assert_eq!((frame.x[0], frame.x[1]), (77, 78));
    assert!((2..31).all(|n| frame.x[n] == 0xdead_beef_0000_0000 | n as u64));
    s.close();
}

#[test]
fn a_wait_that_is_over_queues_an_equal_behind_the_slice_and_a_lower_one_behind_all() {
    for priority in [10, 3] {
        let (mut s, deadline) = waiting(pair(), priority);
        timer::set_now(deadline - 1);
        expire(&mut s);
        let ran = s.ran();
        assert_eq!(ran[0], A);
        assert_eq!(state(&mut s, B), if ran.contains(&B) { RunState::Running } else { RunState::Runnable });
        assert!(priority == 10 || !ran.contains(&B), "never before a higher one");
        if priority == 10 {
            timer::set_now(timer::now() + SLICE);
            expire(&mut s);
            s.until_seen(B).unwrap();
        }
        s.close();
    }
}

#[test]
fn the_end_of_a_slice_gives_the_core_to_an_equal_in_one_run_and_not_before_it() {
    let mut s = Story::new(&pair());
    s.turns(2);
    s.pace = 1;
    for _ in 0..3 {
        s.ran();
        timer::set_now(timer::now() + SLICE);
        expire(&mut s);
        let ran = s.ran();
        assert_ne!(ran[0], ran[1], "the other has the core now, {ran:?}");
        let end = timer::armed().unwrap();
        assert_eq!(end, timer::now() + SLICE);
        timer::set_now(end - 2);
        gic_cpu::pend(HYP_TIMER);
        s.turns(1);
        let ran = s.ran();
        assert!(ran.iter().all(|who| *who == ran[0]), "an early interrupt changes nothing");
        assert_eq!(timer::armed(), Some(end));
    }
    s.close();
}

#[test]
fn waits_that_are_over_together_are_all_ended_and_the_highest_has_the_core() {
    let guests = [(10, "a"), (12, "b"), (14, "c"), (11, "d")];
    let guests = guests.map(|(priority, label)| Guest { priority, ..Guest::new(label) });
    let mut s = Story::new(&System::new(guests));
    s.pace = 1;
    let deadline = timer::now() + 10_000;
    let asked = shown() + 10_000;
    for place in [2, 1, 3] {
        s.begin((place, 0), Call::VcpuWait, &[asked]);
        s.turns(2);
    }
    assert!(s.deed(A, |_| Deed::Exit(INTERRUPT)).is_some(), "all others wait");
    s.ran();
    timer::set_now(deadline);
    for _ in 0..2 {
        expire(&mut s);
    }
    assert_eq!(s.ran().last(), Some(&(2, 0)));
    for place in [2, 1, 3] {
        s.until_seen((place, 0)).unwrap();
        assert_eq!(s.answer((place, 0), Call::VcpuWait).unwrap()[1], 0);
        s.begin((place, 0), Call::VcpuWait, &[NEVER]);
        s.turns(2);
    }
    s.close();
}

#[test]
fn what_is_no_plain_wait_is_left_to_the_loop_with_nothing_done_twice() {
    // A watchdog has its deadline where a wait has it.
    let (mut s, deadline) = waiting(pair(), 20);
    s.vm(1, |vm| vm.vcpu(0).unwrap().public.watchdog.store(deadline, Ordering::Relaxed));
    timer::set_now(deadline - 1);
    let before = interrupts(&mut s, A);
    expire(&mut s);
    assert!(interrupts(&mut s, A) > before);
    s.turns(60);
    assert!(s.try_vm(1, |_| ()).is_none(), "it is stopped");
    s.close();
}

/// The level of a lent turn has more bits than a priority: nobody is above it.
#[test]
fn a_wait_that_is_over_takes_the_core_from_a_lent_priority_too() {
    const SECOND: Who = (0, 1);
    let mut s =
        Story::new(&System::new([Guest { vcpus: 2, ..Guest::new("a") }, Guest { priority: 20, ..Guest::new("b") }]));
    s.pace = 1;
    let deadline = timer::now() + SLICE / 2;
    s.begin(B, Call::VcpuWait, &[shown() + SLICE / 2]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin(SECOND, Call::VcpuSchedSet, &[0, 3, 0, 0]);
    s.call(A, Call::VcpuYield, &[0, 0]); // by which the other one has the core, and goes to its level
    s.begin(A, Call::VcpuYield, &[1, 1]);
    s.turns(3);
    let turn = s.cpu(0).turn.unwrap();
    assert!(turn.is_lent() && turn.until > deadline && state(&mut s, SECOND) == RunState::Running);
    timer::set_now(deadline - 1);
    s.ran();
    expire(&mut s);
    assert_eq!(s.ran(), [SECOND], "it does not go on behind the interrupt");
    s.turns(1);
    assert_eq!(s.ran(), [B]);
    s.close();
}

#[test]
fn a_preemption_is_recorded_as_any_interrupt_that_leads_to_another() {
    let mut system = pair();
    system.flags = trace_flags(1);
    let (mut s, deadline) = waiting(system, 20);
    timer::set_now(deadline - 1);
    expire(&mut s);
    assert_eq!(s.ran()[..2], [A, B]);
    let (_, records) = ring(&mut s);
    let is_it = |record: &&strato_abi::trace::Record| {
        record.crossing == Crossing::Interrupt as u8 && (record.from_vm, record.to_vm) == (0, 1)
    };
    let last = records.iter().rev().find(is_it).expect("it is recorded");
    assert_eq!(last.decision, Decision::Resume as u8);
    s.close();
}
