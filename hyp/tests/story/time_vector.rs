//! Timers of the VM that has the core, served from the vector: the guest goes on without having been left.

use strato_abi::Call;
use strato_hyp::arch::{gic_cpu, guest, timer};
use strato_hyp::sync::Ordering;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{BORN, Story, shown};
use crate::talk::A;

const NEVER: u64 = u64::MAX;
const HYP_TIMER: u32 = 26;
const VIRTUAL_TIMER: u32 = 27;

fn pending(s: &mut Story, vcpu: usize) -> u64 {
    s.vm(0, |vm| vm.area.pages().word(vcpu * 64).unwrap().load(Ordering::SeqCst))
}

/// Interrupts that the guest of vCPU 0 of the first VM was counted for.
fn interrupts(s: &mut Story) -> u64 {
    s.vm(0, |vm| vm.pages[1].word(12).unwrap().load(Ordering::SeqCst))
}

/// A VM in upcall mode with a port of its own, and nobody else on the core.
fn listener() -> (Story, u64) {
    let mut s = Story::new(&System::one(1));
    s.pace = 1;
    let port = s.call(A, Call::EvtOffer, &[0])[0];
    s.call(A, Call::EvtMode, &[0, 1]);
    (s, port)
}

#[test]
fn a_timer_that_is_due_raises_the_line_of_the_guest_that_runs() {
    let (mut s, port) = listener();
    let deadline = shown() + 6500;
    s.call(A, Call::TimeTimerSet, &[port, deadline, 6250, 0]);
    timer::set_now(BORN + deadline - 1); // a turn takes a tick, and the deadline is found by the interrupt alone
    gic_cpu::take_ended();
    gic_cpu::pend(HYP_TIMER);
    let before = interrupts(&mut s);
    s.turns(1);
    assert!(guest::is_line_up());
    assert_eq!(pending(&mut s, 0), 1 << (port & 63));
    assert_eq!(timer::armed(), Some(BORN + deadline + 6250), "its next deadline");
    assert!(gic_cpu::take_ended().contains(&HYP_TIMER));
    assert!(interrupts(&mut s) > before, "it is counted");
    s.close();
}

/// One by one from the vector they would keep the core from the guest, and it from its equals, for good.
#[test]
fn a_timer_that_is_late_behind_many_is_left_to_the_loop() {
    for (late, times) in [(4095, 2), (4096, 1)] {
        let (mut s, port) = listener();
        let deadline = shown() + 6500;
        s.call(A, Call::TimeTimerSet, &[port, deadline, SLICE / 10, 0]);
        timer::set_now(BORN + deadline + late - 1); // a turn takes a tick
        gic_cpu::pend(HYP_TIMER);
        s.ran();
        s.turns(1);
        assert_eq!(s.ran().len(), times, "{late}: the guest goes on from the vector, or leaves");
        assert_eq!(pending(&mut s, 0), 1 << (port & 63), "it is raised in either way");
        s.close();
    }
}

#[test]
fn a_virtual_timer_raises_the_line_and_one_that_was_turned_off_nothing() {
    let (mut s, port) = listener();
    s.call(A, Call::TimeLocal, &[port]);
    gic_cpu::pend(VIRTUAL_TIMER);
    s.turns(1);
    assert_eq!((guest::is_line_up(), pending(&mut s, 0)), (false, 0));
    timer::load_local(timer::LOCAL_ENABLE, shown());
    gic_cpu::pend(VIRTUAL_TIMER);
    s.turns(1);
    assert_eq!((guest::is_line_up(), pending(&mut s, 0)), (true, 1 << (port & 63)));
    assert_eq!(timer::local().0, timer::LOCAL_ENABLE | timer::LOCAL_MASK);
    s.close();
}

#[test]
fn a_timer_for_a_sibling_that_waits_leaves_the_guest_to_wake_it() {
    let mut s = Story::new(&System::new([Guest { vcpus: 2, ..Guest::new("a") }]));
    s.pace = 1;
    let sibling = (0, 1);
    let port = s.call(A, Call::EvtOffer, &[0])[0];
    s.call(A, Call::EvtBindVcpu, &[port, 1]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin(sibling, Call::VcpuWait, &[NEVER]);
    s.pace = SLICE;
    s.turns(4);
    s.pace = 1;
    let deadline = shown() + 100;
    s.call(A, Call::TimeTimerSet, &[port, deadline, 0, 0]);
    timer::set_now(BORN + deadline - 1);
    gic_cpu::pend(HYP_TIMER);
    s.turns(1);
    s.pace = SLICE;
    s.until_seen(sibling).unwrap();
    assert_eq!(s.answer(sibling, Call::VcpuWait).unwrap()[1], 1);
    s.close();
}
