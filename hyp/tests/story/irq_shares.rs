//! Interrupts of devices beside reserved time: whose they are says whether they come while it runs.

use strato_abi::Call;
use strato_abi::vcpu::RunState;
use strato_hyp::arch::gic_cpu;
use strato_hyp::gic::{Masked, Priority};
use strato_hyp::lock::Held;

use crate::plan::{Guest, RTC, RTC_INTID, SLICE, System};
use crate::stage::Story;
use crate::talk::{A, B};

const IRQ: u64 = 1 << 16 | 2;
const PORT: u64 = 1 << 16 | 3;
const MS: u32 = 1000;

/// A drives the clock and waits for its interrupt; B has a millisecond in each four of the same core, and A as well if `shares` says so.
fn driver_beside_a_share(shares: bool) -> Story {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    system.device(0, RTC).interrupt(0, RTC_INTID).sched(1, 0, MS, 4 * MS, 1);
    if shares {
        system.sched(0, 0, MS, 4 * MS, 1);
    }
    let mut s = Story::new(&system);
    s.pace = SLICE / 16;
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    while !(is_blocked(&mut s) && gic_cpu::mask() == Masked::Low as u8) {
        s.turns(1);
    }
    s
}

fn is_blocked(s: &mut Story) -> bool {
    s.vm(0, |vm| vm.vcpu(0).unwrap().public.state()) == RunState::Blocked
}

/// Returns how urgent the interrupt of the clock is where it is sent to: by that a test knows whether it was sent there anew.
pub(crate) fn priority(s: &Story) -> Priority {
    let line = s.machine.lines.get(0).expect("the clock's");
    line.lock(&mut Held::for_example()).0.priority()
}

/// The device raises its line.
fn raise(s: &Story) {
    gic_cpu::pend_at(RTC_INTID, priority(s) as u8);
}

#[test]
fn that_of_a_vm_without_a_share_waits_until_reserved_time_is_over() {
    let mut s = driver_beside_a_share(false);
    raise(&s);
    let mut waited = 0;
    while gic_cpu::mask() == Masked::Low as u8 {
        assert!(is_blocked(&mut s));
        s.turns(1);
        waited += 1;
    }
    assert!((10..=17).contains(&waited), "{waited} of the sixteen turns of its budget");
    s.take_interrupts(0); // which wakes the core, as nobody else is ready
    s.turns(1);
    assert!(!is_blocked(&mut s));
    s.close();
}

#[test]
fn that_of_a_vm_without_a_share_comes_as_soon_as_who_has_one_waits() {
    let mut s = driver_beside_a_share(false);
    raise(&s);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(1);
    assert_eq!(gic_cpu::mask(), Masked::Nothing as u8);
    s.take_interrupts(0); // which wakes the core
    s.turns(1);
    assert!(!is_blocked(&mut s));
    s.close();
}

#[test]
fn that_of_a_vm_with_a_share_comes_while_another_one_runs() {
    let mut s = driver_beside_a_share(true);
    raise(&s);
    s.turns(1);
    assert!(!is_blocked(&mut s));
    assert_eq!(gic_cpu::mask(), Masked::Low as u8);
    s.close();
}

#[test]
fn one_that_comes_too_often_waits_as_those_without_a_share_do() {
    let mut s = driver_beside_a_share(true);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(1);
    s.pace = SLICE / 256; // so that it is served within the shortest period
    for _ in 0..2 {
        raise(&s);
        s.take_interrupts(0);
        s.turns(1);
        s.call(A, Call::EvtIrqDone, &[IRQ]);
    }
    assert_eq!(priority(&s), Priority::Low);
    s.pace = SLICE;
    s.turns(8);
    raise(&s);
    for _ in 0..8 {
        s.turns(1);
        s.take_interrupts(0); // once its own budget is used up too
    }
    assert_eq!(priority(&s), Priority::Usual, "it came late enough");
    s.close();
}

#[test]
fn nothing_is_masked_when_who_has_the_share_ends_or_runs_without_it() {
    let mut s = driver_beside_a_share(false);
    s.begin(B, Call::CoreExit, &[0, 0]);
    s.turns(2);
    assert_eq!(gic_cpu::mask(), Masked::Nothing as u8);
    s.close();

    let mut s = driver_beside_a_share(false);
    s.call(B, Call::VcpuSchedSet, &[0, 3, 0, 0]);
    s.turns(1);
    assert_eq!(s.cpu(0).turn.map(|turn| turn.vcpu.vm()), Some(1), "it runs on");
    assert_eq!(gic_cpu::mask(), Masked::Nothing as u8);
    s.close();
}
