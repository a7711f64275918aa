//! EVT: sending, masking, binding, and the line.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_hyp::arch::guest;
use strato_hyp::sync::Ordering;

use crate::plan::{CODE, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B};

pub(crate) const PORT: u64 = 1 << 16 | 2;
const MASK: usize = 16;
const SELECTOR: usize = 32;

pub(crate) fn pair() -> System {
    System::pair(Guest::new("a"), Guest::new("b"))
}

impl Story {
    /// Returns word `index` of a vCPU's event record.
    pub(crate) fn word(&mut self, (vm, vcpu): (u8, u8), index: usize) -> u64 {
        self.vm(vm, |vm| vm.area.pages().word(usize::from(vcpu) * 64 + index).unwrap().load(Ordering::SeqCst))
    }

    /// Writes word `index` of a vCPU's event record, as its guest does.
    fn write_word(&mut self, (vm, vcpu): (u8, u8), index: usize, value: u64) {
        self.vm(vm, |vm| {
            vm.area.pages().word(usize::from(vcpu) * 64 + index).unwrap().store(value, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_send_sets_pending_bit_and_selector_of_the_other_end() {
    let mut s = Story::new(&pair());
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!((s.word(B, 0), s.word(B, SELECTOR)), (1 << 2, 1));
    assert_eq!((s.word(A, 0), s.word(A, SELECTOR)), (0, 0));
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!(s.word(B, 0), 1 << 2, "the same event");
    assert_eq!(s.call(B, Call::EvtAck, &[])[0], 1);
    assert_eq!((s.word(B, 0), s.word(B, SELECTOR)), (1 << 2, 0), "an acknowledgement leaves the pending bit");
    assert_eq!(s.call(B, Call::EvtAck, &[])[0], 0);
    s.close();
}

#[test]
fn an_event_that_was_not_taken_stands_for_the_next_one_too() {
    let mut s = Story::new(&pair());
    s.call(A, Call::EvtSend, &[PORT]);
    s.call(B, Call::EvtAck, &[]);
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!((s.word(B, 0), s.word(B, SELECTOR)), (1 << 2, 0), "the guest has not taken the first");
    s.write_word(B, 0, 0);
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!((s.word(B, 0), s.word(B, SELECTOR)), (1 << 2, 1));
    s.close();
}

#[test]
fn a_masked_port_collects_its_bit_and_wakes_nobody_until_unmask_looks_again() {
    let mut s = Story::new(&pair());
    s.write_word(B, MASK, 1 << 2);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    s.call(A, Call::EvtSend, &[PORT]);
    s.turns(6);
    assert!(s.answer(B, Call::VcpuWait).is_none());
    assert_eq!((s.word(B, 0), s.word(B, SELECTOR)), (1 << 2, 0));
    s.ask(A, Call::CoreExit, &[0, 0]);
    s.turns(20);
    assert_eq!(s.word(B, 0), 1 << 2, "what is pending stays when the peer ends");
    s.close();
}

#[test]
fn unmask_answers_whether_the_port_is_pending_and_raises_it() {
    let mut s = Story::new(&pair());
    assert_eq!(s.call(B, Call::EvtUnmask, &[PORT])[0], 0);
    s.write_word(B, MASK, 1 << 2);
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!(s.call(B, Call::EvtUnmask, &[PORT])[0], 1);
    assert_eq!(s.word(B, SELECTOR), 0, "it is still masked");
    s.write_word(B, MASK, 0);
    assert_eq!(s.call(B, Call::EvtUnmask, &[PORT])[0], 1);
    assert_eq!(s.word(B, SELECTOR), 1);
    s.close();
}

#[test]
fn a_guest_that_fills_its_own_area_harms_nobody_else() {
    let mut s = Story::new(&pair());
    for index in 0..512 {
        s.write_word((1, 0), index, u64::MAX);
    }
    s.call(A, Call::EvtSend, &[PORT]);
    assert_eq!(s.call(B, Call::EvtAck, &[])[0], u64::MAX);
    s.call(B, Call::EvtSend, &[PORT]);
    assert_eq!(s.word(A, 0), 1 << 2);
    s.close();
}

#[test]
fn the_line_is_raised_for_a_vcpu_in_upcall_mode_and_lowered_by_ack() {
    let mut s = Story::new(&pair());
    s.call(B, Call::EvtMode, &[0, 1]);
    s.call(A, Call::EvtSend, &[PORT]);
    s.deed(B, |_| {
        assert!(guest::is_line_up(), "an upcall waits for the guest");
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.begin(B, Call::EvtAck, &[]);
    s.step(B, |_| {
        assert!(!guest::is_line_up(), "acknowledged");
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.until_seen(B).unwrap();
    s.deed(A, |_| {
        assert!(!guest::is_line_up(), "the line is its vCPU's own");
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.close();
}

#[test]
fn the_line_goes_with_its_vcpu_whichever_way_the_core_is_given_up() {
    // By a yield, and by a wait of one that has taken what came: each time straight to the other, without leaving `run`.
    for waits in [false, true] {
        let mut s = Story::new(&pair());
        s.call(B, Call::EvtMode, &[0, 1]);
        s.begin(B, Call::VcpuYield, &[0, 0]);
        s.call(A, Call::EvtSend, &[PORT]);
        s.begin(A, Call::VcpuYield, &[0, 0]);
        if waits {
            s.begin(B, Call::EvtAck, &[]);
        }
        s.step(B, move |frame| {
            assert_eq!(guest::is_line_up(), !waits, "an upcall waits until it is acknowledged");
            let call = if waits { (Call::VcpuWait, u64::MAX) } else { (Call::VcpuYield, 0) };
            crate::talk::fill(frame, call.0.function_id().into(), &[call.1]);
            strato_hyp::arch::Deed::Hvc
        });
        s.step(A, |_| {
            assert!(!guest::is_line_up(), "the line is its vCPU's own");
            strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
        });
        s.turns(12);
        if !waits {
            s.deed(B, |_| {
                assert!(guest::is_line_up(), "it still waits");
                strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
            });
        }
        s.close();
    }
}

#[test]
fn an_event_of_poll_mode_is_remembered_and_mode_finds_it() {
    let mut s = Story::new(&pair());
    s.call(A, Call::EvtSend, &[PORT]);
    s.deed(B, |_| {
        assert!(!guest::is_line_up());
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.begin(B, Call::EvtMode, &[0, 1]);
    s.step(B, |_| {
        assert!(guest::is_line_up(), "entering upcall mode raises the line");
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.until_seen(B).unwrap();
    s.begin(B, Call::EvtMode, &[0, 0]);
    s.step(B, |_| {
        assert!(!guest::is_line_up(), "entering poll mode lowers it");
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.until_seen(B).unwrap();
    s.close();
}

#[test]
fn a_return_from_a_wait_lowers_the_line() {
    let mut s = Story::new(&pair());
    s.call(B, Call::EvtMode, &[0, 1]);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.step(B, |_| {
        assert!(!guest::is_line_up());
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    s.turns(3);
    s.call(A, Call::EvtSend, &[PORT]);
    assert!(s.until_seen(B).is_some());
    s.close();
}

#[test]
fn the_mode_of_another_vcpu_is_set_only_while_it_is_off() {
    let mut s = Story::new(&System::one(2));
    s.call(A, Call::EvtMode, &[1, 1]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(2);
    assert_eq!(s.refused(A, Call::EvtMode, &[1, 0]), (Code::State, 1, Reason::None));
    for vcpu in [2, 256, u64::MAX] {
        assert_eq!(s.refused(A, Call::EvtMode, &[vcpu, 0]), (Code::Invalid, 1, Reason::NoVcpu));
    }
    for mode in [2, 1 << 32, u64::MAX] {
        assert_eq!(s.refused(A, Call::EvtMode, &[0, mode]), (Code::Invalid, 2, Reason::UnknownValue));
    }
    s.close();
}

#[test]
fn a_port_that_is_bound_elsewhere_takes_its_pending_bit_along() {
    let mut s = Story::new(&System::pair(Guest { vcpus: 2, ..Guest::new("a") }, Guest::new("b")));
    s.call(B, Call::EvtSend, &[PORT]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
    s.turns(8);
    s.call(A, Call::EvtBindVcpu, &[PORT, 1]);
    assert_eq!((s.word(A, 0), s.word((0, 1), 0)), (0, 1 << 2));
    s.until_seen((0, 1)).unwrap();
    assert_eq!(s.answer((0, 1), Call::VcpuWait).unwrap()[1], 1);
    s.write_word((0, 1), 0, 0); // the guest takes the bit
    s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    s.call(B, Call::EvtSend, &[PORT]);
    s.until_seen((0, 1)).unwrap();
    assert_eq!(s.answer((0, 1), Call::VcpuWait).unwrap()[1], 1);
    assert_eq!(s.refused(A, Call::EvtBindVcpu, &[PORT, 2]), (Code::Invalid, 2, Reason::NoVcpu));
    assert_eq!(s.refused(A, Call::EvtBindVcpu, &[PORT, u64::MAX]), (Code::Invalid, 2, Reason::NoVcpu));
    s.close();
}

#[test]
fn events_for_a_vcpu_that_is_off_wait_until_it_starts() {
    let mut s = Story::new(&System::pair(Guest { vcpus: 2, ..Guest::new("a") }, Guest::new("b")));
    s.call(A, Call::EvtBindVcpu, &[PORT, 1]);
    s.call(B, Call::EvtSend, &[PORT]);
    s.turns(5);
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], 0, "an event starts nobody");
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
    s.until_seen((0, 1)).unwrap();
    assert_eq!(s.answer((0, 1), Call::VcpuWait).unwrap()[1], 1);
    s.close();
}
