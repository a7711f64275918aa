//! Reports of faults: what is said of the access that ends a VM, and when.

use strato_abi::Call;
use strato_abi::plan::VM_FAULT_HANDLER;
use strato_hyp::arch::el1::El1;
use strato_hyp::arch::frame::Frame;
use strato_hyp::arch::{Deed, guest};

use crate::faults::{HOLE, NOT_MAPPED, PC, VECTORS, WRITE, abort, pair};
use crate::plan::{CODE, Guest, System};
use crate::stage::Story;
use crate::talk::A;

#[test]
fn a_report_is_said_a_line_in_a_turn() {
    let mut s = pair(VM_FAULT_HANDLER);
    s.step(A, |frame: &mut Frame| {
        guest::change(|el1| *el1 = El1 { vbar: VECTORS, ..El1::RESET });
        frame.pc = VECTORS + 0x204;
        Deed::Exit(abort(0x24, NOT_MAPPED | WRITE, HOLE))
    });
    let mut lines = 0;
    for _ in 0..400 {
        let before = s.log().len();
        s.turns(1);
        let said = s.log()[before..].iter().filter(|line| line.starts_with("vm a: ")).count();
        assert!(said <= 1, "{:?}", &s.log()[before..]);
        lines += said;
    }
    assert_eq!(lines, 5, "the access, the exception before it, both neighbors, and the end: {:?}", s.log());
    s.close();
}

#[test]
fn a_report_of_one_fault_names_no_exception_before_it() {
    let mut s = pair(0);
    assert!(s.trap(A, PC, abort(0x24, NOT_MAPPED, HOLE)).is_none());
    assert!(!s.log().iter().any(|line| line.contains("it was in its vectors")), "{:?}", s.log());
    s.close();
}

/// One faults in its vectors, its sibling on another core before that core has heard of the end.
#[test]
fn of_two_that_fault_at_the_same_time_the_first_is_reported_and_no_word_of_it_is_the_others() {
    let a = Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], flags: VM_FAULT_HANDLER, ..Guest::new("a") };
    let mut s = Story::on(&System::pair(a, Guest::new("b")), 2);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(4);
    s.step(A, |frame: &mut Frame| {
        guest::change(|el1| *el1 = El1 { vbar: VECTORS, esr: 0x9600_0007, ..El1::RESET });
        frame.pc = VECTORS + 0x204;
        Deed::Exit(abort(0x24, NOT_MAPPED | WRITE, HOLE))
    });
    s.step((0, 1), |frame: &mut Frame| {
        guest::change(|el1| *el1 = El1 { vbar: VECTORS, esr: 0x9600_0045, ..El1::RESET });
        frame.pc = VECTORS + 0x204;
        Deed::Exit(abort(0x24, NOT_MAPPED, HOLE + 0x1000))
    });
    s.turns(200);
    let rest: Vec<String> =
        s.log().into_iter().filter(|line| line.contains("vectors") || line.contains("nearest")).collect();
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert!(rest.iter().all(|line| line.starts_with("vm a: vcpu 0: ")), "{rest:?}");
    assert!(rest[0].contains("syndrome 0x96000007"), "{rest:?}");
    s.close();
}
