//! A VM's counter begins with its first start, is the same wherever its vCPUs run, and is what every time counts by that the VM says or
//! is told. Two VMs that were started apart have two counters.

use std::cell::Cell;
use std::mem::offset_of;
use std::rc::Rc;

use strato_abi::Call;
use strato_abi::plan::VM_NATIVE;
use strato_abi::vcpu::RunState;
use strato_abi::vcpu_area::VcpuRecord;
use strato_hyp::arch::{Deed, timer};
use strato_hyp::sync::Ordering;

use crate::event_calls::{PORT, pair};
use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{BORN, INTERRUPT, Story, Who};
use crate::talk::{A, B};

const NEVER: u64 = u64::MAX;
/// How much later the second VM begins.
const LATER: u64 = 1 << 40 | 1;

/// A story of two VMs, of which the second begins later than the first.
fn apart(system: &System) -> Story {
    let mut s = Story::new(system);
    timer::set_now(BORN + LATER);
    s.vm(B.0, |vm| vm.begin_time(timer::now(), None, timer::frequency()));
    s
}

/// Returns what the counter of `who` shows it.
fn counter(s: &mut Story, who: Who) -> u64 {
    let seen = Rc::new(Cell::new(0));
    let here = seen.clone();
    s.deed(who, move |_| {
        here.set(timer::now() - timer::offset());
        Deed::Exit(INTERRUPT)
    });
    seen.get()
}

/// Returns a field of the record of `who`.
fn field(s: &mut Story, (vm, vcpu): Who, offset: usize) -> u64 {
    let at = usize::from(vcpu) * size_of::<VcpuRecord>() + offset;
    s.vm(vm, |vm| vm.pages[1].word(at / 8).unwrap().load(Ordering::SeqCst))
}

#[test]
fn a_counter_begins_with_its_vm_and_tells_nothing_of_the_time_before() {
    let mut s = apart(&pair());
    assert!((1..9 * SLICE).contains(&counter(&mut s, B)), "it has just begun");
    let (first, second) = (counter(&mut s, A), counter(&mut s, B));
    assert!(first.abs_diff(LATER + second) < 9 * SLICE, "they go on side by side: {first} {second}");
    for who in [A, B, A] {
        let before = counter(&mut s, who);
        let [ns, told, _] = s.call(who, Call::TimeClock, &[0]);
        let now = s.call(who, Call::VcpuWait, &[0])[1];
        let after = counter(&mut s, who);
        assert!(before <= told && told <= now && now <= after, "{before} {told} {now} {after}");
        assert_eq!(ns, told * 16);
        let [run, now, _] = s.call(who, Call::TimeClock, &[2]);
        assert!(run <= now * 16, "nobody has run for longer than it lives");
    }
    s.close();
}

#[test]
fn the_answer_of_a_wait_is_the_waiters_time_on_the_short_way_and_on_the_long_one() {
    let mut s = apart(&pair());
    for (waiter, other) in [(A, B), (B, A)] {
        for has_deadline in [false, true] {
            let before = counter(&mut s, waiter);
            s.begin(waiter, Call::VcpuWait, &[if has_deadline { NEVER - 1 } else { NEVER }]);
            s.turns(6);
            assert!(s.answer(waiter, Call::VcpuWait).is_none(), "what no counter reaches is never");
            s.call(other, Call::EvtSend, &[PORT]);
            s.until_seen(waiter).expect("it is woken");
            let told = s.answer(waiter, Call::VcpuWait).unwrap()[2];
            let after = counter(&mut s, waiter);
            assert!(before < told && told <= after, "{before} {told} {after}");
            assert!(s.take(waiter, PORT));
        }
    }
    s.close();
}

#[test]
fn every_vcpu_on_every_core_and_after_a_move_has_the_offset_of_its_vm() {
    let a = Guest { vcpus: 3, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..Guest::new("a") };
    let mut system = System::new([a, Guest { vcpus: 2, cores: [1, 0, 0, 0, 0, 0, 0, 0], ..Guest::new("b") }]);
    for core in 0..2 {
        system.sched(0, core, 500, 1000, 0);
    }
    let mut s = Story::on(&system, 2);
    timer::set_now(BORN + LATER);
    s.vm(B.0, |vm| vm.begin_time(timer::now(), None, timer::frequency()));
    for (who, vcpu) in [(A, 1), (A, 2), (B, 1)] {
        s.call(who, Call::VcpuStart, &[vcpu, CODE, 0]);
    }
    for core in [2, 1, 2] {
        for (who, base) in [(A, BORN), ((0, 1), BORN), ((0, 2), BORN), (B, BORN + LATER), ((1, 1), BORN + LATER)] {
            let seen = s.deed(who, move |_| {
                assert_eq!(timer::offset(), base);
                Deed::Exit(INTERRUPT)
            });
            assert!(seen.is_some());
        }
        s.call(A, Call::VcpuSchedSet, &[1 << 16 | core, 5, 0, 0]);
        s.call(A, Call::VcpuSchedSet, &[0, 10, 0, 0]); // it stays there, and is one of equals
    }
    s.close();
}

#[test]
fn a_vm_that_gets_the_core_on_the_short_way_counts_by_its_own_offset() {
    let mut s = apart(&pair());
    for (waiter, other, base) in [(A, B, BORN), (B, A, BORN + LATER)] {
        s.begin(waiter, Call::VcpuWait, &[NEVER]);
        s.turns(6);
        s.begin(other, Call::EvtSend, &[PORT]);
        s.begin(other, Call::VcpuYield, &[0, 0]);
        s.step(waiter, move |frame| {
            assert_eq!(timer::offset(), base);
            assert_eq!(frame.x[2], timer::now() - base);
            Deed::Exit(INTERRUPT)
        });
        s.until_seen(waiter).expect("it is woken");
        assert!(s.take(waiter, PORT));
    }
    s.close();
}

#[test]
fn a_virtual_timer_that_goes_to_another_core_keeps_the_time_of_its_vm() {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    for core in 0..2 {
        system.sched(1, core, 500, 1000, 0);
    }
    let mut s = Story::on(&system, 2);
    timer::set_now(BORN + LATER);
    s.vm(B.0, |vm| vm.begin_time(timer::now(), None, timer::frequency()));
    let port = s.own_port(B);
    s.call(B, Call::TimeLocal, &[port]);
    let deadline = counter(&mut s, B) + 400 * SLICE;
    s.deed(B, move |_| {
        timer::load_local(timer::LOCAL_ENABLE, deadline);
        Deed::Exit(INTERRUPT)
    });
    for to in [3, 2] {
        s.call(B, Call::VcpuSchedSet, &[1 << 16 | (to - 1), 5, 0, 0]);
        s.deed(B, move |_| {
            assert_eq!(timer::local(), (timer::LOCAL_ENABLE, deadline), "it has not expired");
            Deed::Exit(INTERRUPT)
        });
    }
    s.close();
}

#[test]
fn deadlines_are_times_of_the_vm_that_says_them() {
    let mut s = apart(&pair());
    for (who, base) in [(A, BORN), (B, BORN + LATER)] {
        let deadline = counter(&mut s, who) + 9 * SLICE;
        s.call(who, Call::TimeTimerSet, &[PORT, deadline, 0, 0]);
        while !s.take(who, PORT) {
            assert!(timer::now() - base < deadline + 2 * SLICE, "its time has come");
            s.turns(1);
        }
        assert!(timer::now() - base >= deadline, "not before its time");
        s.call(who, Call::VcpuWait, &[0]); // takes the selector of that
        let deadline = counter(&mut s, who) + 9 * SLICE;
        s.begin(who, Call::VcpuWait, &[deadline]);
        s.until_seen(who).expect("its time has come");
        let told = s.answer(who, Call::VcpuWait).unwrap()[2];
        assert!((deadline..deadline + 3 * SLICE).contains(&told), "{told} {deadline}");
        for far in [NEVER, NEVER - 1, NEVER - base, NEVER - base + 1] {
            s.call(who, Call::TimeTimerSet, &[PORT, far, 0, 0]);
            s.turns(5);
            assert!(!s.take(who, PORT), "it has wrapped");
        }
        s.call(who, Call::TimeTimerCancel, &[PORT]);
    }
    s.close();
}

/// A virtual timer of the second VM expires while the VM is off the core, at its own time.
fn park(flags: u32) {
    let mut s = apart(&System::pair(Guest::new("a"), Guest { flags, ..Guest::new("b") }));
    s.call(B, Call::TimeLocal, &[PORT]);
    let program = |s: &mut Story, deadline| {
        s.deed(B, move |_| {
            timer::load_local(timer::LOCAL_ENABLE, deadline);
            Deed::Exit(INTERRUPT)
        });
    };
    for never in [NEVER, NEVER - 1, NEVER - BORN - LATER] {
        program(&mut s, never);
        s.call(B, Call::VcpuYield, &[0, 0]);
        s.turns(6);
        s.deed(B, move |_| {
            assert_eq!(timer::local(), (timer::LOCAL_ENABLE, never), "it has not expired");
            Deed::Exit(INTERRUPT)
        });
    }
    let deadline = counter(&mut s, B) + 20 * SLICE;
    program(&mut s, deadline);
    s.begin(B, Call::VcpuWait, &[NEVER]);
    s.turns(6);
    assert_eq!(timer::armed(), Some(BORN + LATER + deadline));
    assert!(s.answer(B, Call::VcpuWait).is_none(), "not before its time");
    s.until_seen(B).expect("it is woken");
    assert!(s.answer(B, Call::VcpuWait).unwrap()[2] >= deadline);
    assert!(s.take(B, PORT));
    s.deed(B, move |_| {
        assert_eq!(timer::local(), (timer::LOCAL_ENABLE | timer::LOCAL_MASK, deadline));
        Deed::Exit(INTERRUPT)
    });
    s.close();
}

#[test]
fn a_virtual_timer_off_the_core_expires_at_the_time_of_its_vm() {
    park(0);
}

#[test]
fn so_does_that_of_a_native_vm() {
    park(VM_NATIVE);
}

#[test]
fn records_tell_times_of_their_vm_and_what_they_count_adds_up_to_them() {
    let of = [offset_of!(VcpuRecord, running), offset_of!(VcpuRecord, runnable), offset_of!(VcpuRecord, blocked)];
    for vcpus in [1, 2] {
        let mut s = apart(&System::pair(Guest::new("a"), Guest { vcpus, ..Guest::new("b") }));
        for _ in 0..3 {
            let deadline = counter(&mut s, B) + 3 * SLICE;
            s.begin(B, Call::VcpuWait, &[deadline]);
            s.turns(2);
            if vcpus != 1 && field(&mut s, B, offset_of!(VcpuRecord, run_state)) == RunState::Blocked as u64 {
                assert_eq!(field(&mut s, B, offset_of!(VcpuRecord, deadline)), deadline);
            }
            s.until_seen(B).unwrap();
            s.turns(2);
            let since = field(&mut s, B, offset_of!(VcpuRecord, since));
            let sum: u64 = of.iter().map(|&field_at| field(&mut s, B, field_at)).sum();
            assert_eq!(sum + field(&mut s, B, offset_of!(VcpuRecord, off)), since, "all of its life");
            assert!(since != 0 && since <= counter(&mut s, B), "{since}");
            s.begin(B, Call::VcpuWait, &[NEVER]);
            s.turns(2);
            let told = field(&mut s, B, offset_of!(VcpuRecord, deadline));
            assert_eq!(told, NEVER, "never is never");
            s.call(A, Call::EvtSend, &[PORT]);
            s.until_seen(B).unwrap();
            s.take(B, PORT);
        }
        if vcpus == 2 {
            let second = [0, 1]
                .map(|n| field(&mut s, (1, 1), [offset_of!(VcpuRecord, since), offset_of!(VcpuRecord, sequence)][n]));
            assert_eq!(second, [0, 0], "it was never started: off since the VM began");
        }
        s.close();
    }
}
