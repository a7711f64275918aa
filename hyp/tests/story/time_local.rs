//! TIME.LOCAL: the virtual timer that a vCPU has to itself.

use strato_abi::Call;
use strato_hyp::arch::{Deed, gic_cpu, timer};

use crate::event_calls::{PORT, pair};
use crate::plan::{SLICE, System};
use crate::stage::{BORN, INTERRUPT, Story, Who, shown};
use crate::talk::{A, B};
use crate::time_calls::{NEVER, slow};

/// Sets the virtual timer as the guest's own instructions would.
fn program(s: &mut Story, who: Who, control: u64, deadline: u64) {
    s.deed(who, move |_| {
        timer::load_local(control, deadline);
        Deed::Exit(INTERRUPT)
    });
}

fn local(s: &mut Story, who: Who) -> (u64, u64) {
    let seen = std::rc::Rc::new(std::cell::Cell::new((0, 0)));
    let here = seen.clone();
    s.deed(who, move |_| {
        here.set(timer::local());
        Deed::Exit(INTERRUPT)
    });
    seen.get()
}

#[test]
fn a_virtual_timer_that_expires_on_the_core_raises_its_port_and_is_masked() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    s.call(A, Call::TimeLocal, &[port]);
    let deadline = shown() + 5;
    program(&mut s, A, timer::LOCAL_ENABLE, deadline);
    timer::set_now(BORN + deadline);
    gic_cpu::pend(27);
    s.turns(2);
    assert!(s.take(A, port));
    assert_eq!(local(&mut s, A), (timer::LOCAL_ENABLE | timer::LOCAL_MASK, deadline));
    gic_cpu::pend(27);
    s.turns(2);
    assert!(!s.take(A, port), "the guest has not armed it again");
    s.close();
}

#[test]
fn a_virtual_timer_expires_while_its_vcpu_is_off_the_core_and_is_masked_when_it_comes_back() {
    let mut s = slow(&pair());
    s.call(A, Call::TimeLocal, &[PORT]);
    let deadline = shown() + 60;
    program(&mut s, A, timer::LOCAL_ENABLE, deadline);
    s.begin(A, Call::VcpuWait, &[NEVER]);
    s.turns(10);
    assert_eq!(local(&mut s, B), (0, 0), "the other sees nothing of it");
    assert_eq!(timer::armed(), Some(BORN + deadline));
    s.pace = SLICE; // the other has the core
    s.until_seen(A).expect("it is woken");
    assert_eq!(s.answer(A, Call::VcpuWait).unwrap()[1], 1);
    assert!(s.take(A, PORT));
    assert_eq!(local(&mut s, A), (timer::LOCAL_ENABLE | timer::LOCAL_MASK, deadline));
    s.close();
}

#[test]
fn a_virtual_timer_that_expires_while_its_core_sleeps_wakes_its_vcpu() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    s.call(A, Call::TimeLocal, &[port]);
    let deadline = shown() + 60;
    program(&mut s, A, timer::LOCAL_ENABLE, deadline);
    s.begin(A, Call::VcpuWait, &[NEVER]);
    s.turns(8);
    assert!(s.seen(A).is_none() && timer::local() == (timer::LOCAL_ENABLE, deadline), "it stays on the core");
    timer::set_now(BORN + deadline);
    gic_cpu::pend(27);
    s.take_interrupts(0);
    assert!(s.until_seen(A).is_some(), "it is woken");
    assert!(s.take(A, port));
    s.close();
}

#[test]
fn a_virtual_timer_that_is_off_or_masked_or_not_asked_for_raises_nothing() {
    let mut s = Story::new(&pair());
    for control in [0, timer::LOCAL_MASK, timer::LOCAL_ENABLE | timer::LOCAL_MASK] {
        s.call(A, Call::TimeLocal, &[PORT]);
        program(&mut s, A, control, 5);
        s.call(A, Call::VcpuYield, &[0, 0]);
        s.turns(4);
        assert_eq!((s.word(A, 0), local(&mut s, A)), (0, (control, 5)), "it goes with its vCPU");
    }
    s.call(A, Call::TimeLocal, &[0]);
    program(&mut s, A, timer::LOCAL_ENABLE, 5);
    gic_cpu::pend(27);
    s.turns(3);
    s.call(A, Call::VcpuYield, &[0, 0]);
    s.turns(4);
    assert_eq!(s.word(A, 0), 0);
    s.close();
}
