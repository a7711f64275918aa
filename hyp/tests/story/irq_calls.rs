//! Interrupts of devices: one comes, its driver hears of it, and it comes again when the driver is done.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::event::IRQ_ROUNDS_MAX;
use strato_hyp::arch::gic_cpu;
use strato_hyp::gic::Priority;
use strato_hyp::sync::Ordering::Relaxed;

use crate::irq_shares::priority;
use crate::plan::{Guest, RTC_INTID, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

const IRQ: u64 = 1 << 16 | 2;
const PORT: u64 = 1 << 16 | 3;
const STATE: (Code, usize, Reason) = (Code::State, 1, Reason::None);
const STUCK: (Code, usize, Reason) = (Code::State, 1, Reason::LineStuck);

/// Raises the line of the device until the core has acknowledged the interrupt.
fn come(s: &mut Story) {
    gic_cpu::pend(RTC_INTID);
    s.turns(2);
}

/// Returns whether the port is pending, and takes that.
fn took(s: &mut Story, port: u64) -> bool {
    let is_pending = s.call(A, Call::EvtUnmask, &[port])[0] == 1;
    s.vm(0, |vm| vm.withdraw((port & 0xffff) as u16));
    is_pending
}

#[test]
fn an_interrupt_raises_its_port_once_until_its_driver_is_done() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    assert_eq!(s.refused(A, Call::EvtIrqDone, &[IRQ]), STATE);
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    assert!(!took(&mut s, PORT));
    for _ in 0..3 {
        come(&mut s);
        assert!(took(&mut s, PORT));
        // Active: a controller would not signal it again; one that did is not believed.
        come(&mut s);
        assert!(!took(&mut s, PORT));
        s.call(A, Call::EvtIrqDone, &[IRQ]);
        assert_eq!(s.refused(A, Call::EvtIrqDone, &[IRQ]), STATE);
    }
    s.close();
}

#[test]
fn a_driver_that_waits_is_woken() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(5);
    assert!(s.answer(A, Call::VcpuWait).is_none(), "nothing has come");
    gic_cpu::pend(RTC_INTID);
    // The core is idle: its loop takes what woke it.
    s.take_interrupts(0);
    let x = s.until_seen(A).expect("it is woken").x;
    assert_eq!((x[0], x[1]), (0, 1));
    s.close();
}

/// Twelve interrupts are acknowledged before the core looks at what they mean.
#[test]
fn what_has_come_of_devices_is_told_in_parts_and_none_is_lost() {
    const COUNT: u64 = 12;
    let mut system = System::new([Guest { handles: 64, ..Guest::new("a") }, Guest::new("b")]);
    for n in 0..COUNT as u32 {
        system.interrupt(0, 40 + n);
    }
    let mut s = Story::new(&system);
    for n in 0..COUNT {
        s.call(A, Call::EvtBindIrq, &[handle(1 + 2 * n), handle(2 + 2 * n), 0]);
    }
    s.turns(4);
    for n in 0..COUNT as u32 {
        gic_cpu::pend(40 + n);
        s.take_interrupts(0);
    }
    let told = |s: &mut Story| {
        (0..COUNT).filter(|n| s.vm(0, |vm| vm.area.pages().first()[0].load(Relaxed) >> (2 + 2 * n) & 1 != 0)).count()
    };
    let before = told(&mut s);
    s.turn_on(0);
    assert_eq!((before, told(&mut s)), (0, 8));
    s.turn_on(0);
    assert_eq!(told(&mut s), 12);
    s.close();
}

#[test]
fn any_open_port_will_do_and_a_closed_one_masks_the_interrupt() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.interrupt(0, RTC_INTID);
    let mut s = Story::new(&system);
    let (irq, own, near) = (handle(3), handle(4), handle(2));
    s.call(A, Call::EvtBindIrq, &[irq, own, 0]);
    s.call(A, Call::EvtBindIrq, &[irq, near, 0]);
    come(&mut s);
    assert!(took(&mut s, near) && !took(&mut s, own));
    s.call(A, Call::EvtIrqDone, &[irq]);
    s.call(A, Call::EvtClose, &[near]);
    come(&mut s);
    assert_eq!(s.refused(A, Call::EvtIrqDone, &[irq]), STATE, "it raised nobody and is masked");
    s.call(A, Call::EvtBindIrq, &[irq, own, 0]);
    come(&mut s);
    assert!(took(&mut s, own));
    s.call(A, Call::EvtBindIrq, &[irq, own, 1]);
    assert_eq!(s.refused(A, Call::EvtIrqDone, &[irq]), STATE, "the binding ended");
    s.close();
}

#[test]
fn a_port_of_ones_own_leads_to_itself() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    s.call(A, Call::EvtSend, &[PORT]);
    assert!(took(&mut s, PORT));
    s.call(A, Call::EvtClose, &[PORT]);
    assert_eq!(s.refused(A, Call::EvtSend, &[PORT]), (Code::Stale, 1, Reason::None));
    s.close();
}

#[test]
fn what_is_no_interrupt_or_no_port_is_refused() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.interrupt(0, RTC_INTID);
    let mut s = Story::new(&system);
    let (irq, port) = (handle(3), handle(4));
    for (wrong, code) in [
        (0, Code::BadHandle),
        (handle(0), Code::WrongKind),
        (handle(1), Code::WrongKind),
        (port, Code::WrongKind),
        (2 << 16 | 3, Code::Stale),
        (handle(900), Code::BadHandle),
    ] {
        assert_eq!(s.refused(A, Call::EvtBindIrq, &[wrong, port, 0]), (code, 1, Reason::None), "{wrong:#x}");
        assert_eq!(s.refused(A, Call::EvtIrqDone, &[wrong]), (code, 1, Reason::None), "{wrong:#x}");
    }
    for (wrong, code) in [(0, Code::BadHandle), (irq, Code::WrongKind), (2 << 16 | 4, Code::Stale)] {
        assert_eq!(s.refused(A, Call::EvtBindIrq, &[irq, wrong, 0]), (code, 2, Reason::None), "{wrong:#x}");
    }
    assert_eq!(s.refused(A, Call::EvtBindIrq, &[irq, port, 2]), (Code::Invalid, 3, Reason::ReservedBits));
    // The other VM has no such handle, whatever it writes.
    for index in 0..16 {
        let refused = s.refused(B, Call::EvtIrqDone, &[handle(index)]);
        assert!([Code::WrongKind, Code::BadHandle].contains(&refused.0), "{refused:?}");
    }
    s.close();
}

#[test]
fn a_line_that_never_falls_is_masked_and_said_so_and_can_be_bound_again() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    come(&mut s);
    for _ in 1..IRQ_ROUNDS_MAX {
        gic_cpu::pend(RTC_INTID);
        s.call(A, Call::EvtIrqDone, &[IRQ]);
        s.turns(1);
    }
    gic_cpu::pend(RTC_INTID);
    let x = s.ask(A, Call::EvtIrqDone, &[IRQ]).unwrap();
    assert_eq!(x[1] >> 16, IRQ_ROUNDS_MAX);
    assert_eq!(s.refused(A, Call::EvtIrqDone, &[IRQ]), STUCK);
    assert!(s.log().contains(&"vm a: interrupt 34 is masked: its line does not fall".to_owned()));
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    assert_eq!(s.refused(A, Call::EvtIrqDone, &[IRQ]), STATE);
    come(&mut s);
    s.call(A, Call::EvtIrqDone, &[IRQ]);
    s.close();
}

#[test]
fn an_interrupt_goes_to_the_core_of_the_vcpu_that_its_port_is_bound_to() {
    let guest = Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..Guest::new("a") };
    let mut system = System::driver(guest);
    system.sched(0, 1, 500, 1000, 0);
    let mut s = Story::on(&system, 2);
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    assert_eq!(priority(&s), Priority::Low, "its VM has no share of the first core");
    s.call(A, Call::EvtBindVcpu, &[PORT, 1]);
    assert_eq!(priority(&s), Priority::Usual, "it is sent to the other one, of which its VM has a share");
    s.call(A, Call::VcpuStart, &[1, strato_abi::addr::RAM_BASE, 0]);
    s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
    s.turns(5);
    gic_cpu::pend(RTC_INTID);
    s.take_interrupts(1);
    let x = s.until_seen((0, 1)).expect("its vCPU is woken").x;
    assert_eq!((x[0], x[1]), (0, 1));
    s.call(A, Call::EvtIrqDone, &[IRQ]);
    s.close();
}

#[test]
fn an_interrupt_that_comes_while_its_vm_ends_raises_nobody() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.interrupt(0, RTC_INTID);
    let mut s = Story::new(&system);
    s.call(A, Call::EvtBindIrq, &[handle(3), handle(4), 0]);
    come(&mut s);
    gic_cpu::pend(RTC_INTID);
    s.begin(A, Call::CoreExit, &[0, 0]);
    s.turns(50);
    assert!(s.try_vm(0, |_| ()).is_none());
    let claimed = s.machine.lines.iter().filter(|line| line.try_lock().unwrap().owner().is_some()).count();
    assert_eq!(claimed, 0, "the next VM can have it");
    s.close();
}

#[test]
fn a_stuck_line_is_in_the_report_of_its_vms_end() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    s.call(A, Call::EvtBindIrq, &[IRQ, PORT, 0]);
    come(&mut s);
    for _ in 0..IRQ_ROUNDS_MAX {
        gic_cpu::pend(RTC_INTID);
        s.ask(A, Call::EvtIrqDone, &[IRQ]);
        s.turns(1);
    }
    s.begin(A, Call::CoreExit, &[3, 0]);
    s.turns(50);
    let log = s.log();
    let line = |text: &str| log.iter().position(|line| line == text).unwrap_or_else(|| panic!("{text}: {log:?}"));
    assert!(line("vm a: interrupt 34 was masked: its line did not fall") < line("vm a: ended, exit code 3"));
    s.close();
}
