//! VCPU: what one core tells another.

use strato_abi::Call;
use strato_abi::vcpu::RunState;
use strato_hyp::arch::{gic_cpu, timer};
use strato_hyp::machine::SGI_MAIL;
use strato_hyp::scheduler::VcpuRef;
use strato_hyp::vcpu::orders;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{Story, shown};
use crate::talk::{A, B, handle};

#[test]
fn an_event_for_a_vcpu_that_sleeps_on_another_core_lies_in_the_box_there_while_the_sender_goes_on() {
    let on_second = Guest { cores: [1; 8], ..Guest::new("b") };
    let mut s = Story::on(&System::pair(Guest::new("a"), on_second), 2);
    s.turns(1);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(2);
    s.begin(A, Call::EvtSend, &[handle(2)]);
    s.turn_on(0);
    assert_eq!(s.answer(A, Call::EvtSend).unwrap()[0], 0);
    assert!(s.machine.mail[1].is_full() && !s.machine.mail[0].is_full());
    assert!(s.seen(B).is_none(), "it is woken by its own core");
    s.turn_on(1);
    assert_ne!(s.answer(B, Call::VcpuWait).unwrap()[1], 0);
    assert!(!s.machine.mail[1].is_full());
    s.close();
}

/// The letter is put behind the core's last look at its box: all that is left of it as the core sleeps is its interrupt.
#[test]
fn an_interrupt_that_comes_before_a_core_sleeps_is_pending_as_it_does() {
    let on_second = Guest { cores: [1; 8], ..Guest::new("b") };
    let mut s = Story::on(&System::pair(Guest::new("a"), on_second), 2);
    s.turns(1);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(2);
    gic_cpu::pend(SGI_MAIL.into());
    assert!(s.turn_on(1), "nobody is ready there");
    assert_eq!(gic_cpu::highest_pending(), u32::from(SGI_MAIL), "it wakes the core");
    s.vm(1, |vm| vm.vcpu(0).unwrap().public.orders.ask(orders::WAKE));
    s.machine.mail[1].put(VcpuRef::new(1, 0).unwrap());
    s.take_interrupts(1);
    assert!(!s.turn_on(1), "and finds the letter");
    assert_eq!(s.answer(B, Call::VcpuWait).unwrap()[1], 0);
    s.close();
}

#[test]
fn a_full_box_is_read_in_parts_and_to_its_end() {
    const VMS: u8 = 3;
    let guests = ["a", "b", "c"].map(|label| Guest { vcpus: 8, cores: [1; 8], ..Guest::new(label) });
    let mut s = Story::on(&System::new(guests), 2);
    for vm in 0..VMS {
        for vcpu in 1..8 {
            s.call((vm, 0), Call::VcpuStart, &[vcpu, CODE, 0]);
        }
    }
    let all = || (0..VMS).flat_map(|vm| (0..8).map(move |vcpu| (vm, vcpu)));
    for who in all() {
        s.begin(who, Call::VcpuWait, &[u64::MAX]);
    }
    s.turns(60);
    let blocked = |s: &mut Story| {
        all().filter(|&(vm, vcpu)| s.vm(vm, |vm| vm.vcpu(vcpu).unwrap().public.state() == RunState::Blocked)).count()
    };
    assert_eq!(blocked(&mut s), 24);
    for (vm, vcpu) in all() {
        s.vm(vm, |vm| vm.vcpu(vcpu).unwrap().public.orders.ask(orders::WAKE));
        s.machine.mail[1].put(VcpuRef::new(vm, vcpu).unwrap());
    }
    let mut parts = Vec::new();
    while s.machine.mail[1].is_full() {
        let before = blocked(&mut s);
        s.turn_on(1);
        parts.push(before - blocked(&mut s));
    }
    // A turn reads twice when nobody had the core: before a guest runs, and behind it.
    assert_eq!(parts, [16, 8]);
    assert_eq!(blocked(&mut s), 0);
    s.close();
}

/// Three VMs: the first on a core of its own, and two on the second one, of which the last comes first.
fn one_beside_two() -> Story {
    let on_second = |label, priority| Guest { cores: [1; 8], priority, ..Guest::new(label) };
    let mut system = System::new([Guest::new("a"), on_second("b", 3), on_second("c", 9)]);
    system.peer(0, 1).peer(1, 0).channel(0, 1);
    Story::on(&system, 2)
}

#[test]
fn a_deadline_that_has_come_is_served_beside_the_only_letter_of_a_core_that_has_slept() {
    let mut s = one_beside_two();
    s.turns(1);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.begin((2, 0), Call::VcpuWait, &[shown() + 20 * SLICE]);
    s.turns(8);
    s.begin(A, Call::EvtSend, &[handle(2)]);
    s.turn_on(0);
    assert!(s.machine.mail[1].is_full());
    timer::set_now(timer::now() + 20 * SLICE);
    s.ran();
    s.turn_on(1);
    assert_eq!(s.ran(), [(2, 0)], "who comes first has the core first");
    s.begin((2, 0), Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    assert_ne!(s.answer(B, Call::VcpuWait).unwrap()[1], 0);
    s.close();
}

#[test]
fn an_only_letter_that_is_about_more_than_a_wake_is_obeyed() {
    let mut s = one_beside_two();
    s.turns(1);
    for who in [B, (2, 0)] {
        s.begin(who, Call::VcpuWait, &[u64::MAX]);
    }
    s.turns(8);
    s.vm(1, |vm| vm.vcpu(0).unwrap().public.orders.ask(orders::WAKE | orders::STOP));
    s.machine.mail[1].put(VcpuRef::new(1, 0).unwrap());
    s.ran();
    s.turn_on(1);
    assert_eq!(s.ran(), []);
    assert_eq!(s.vm(1, |vm| vm.vcpu(0).unwrap().public.state()), RunState::Stopped);
    assert!(!s.machine.mail[1].is_full());
    s.close();
}
