//! Faults: what stage 2 refuses reaches the guest's handler exactly, or ends the VM with a report; what traps is answered.

use strato_abi::Call;
use strato_abi::plan::VM_FAULT_HANDLER;
use strato_hyp::arch::el1::El1;
use strato_hyp::arch::frame::{Frame, RawExit};
use strato_hyp::arch::{Deed, guest};
use strato_hyp::lock::Held;
use strato_hyp::vm::Vm;

use crate::plan::{CODE, DATA, Guest, System};
use crate::stage::{INTERRUPT, Story};
use crate::talk::{A, B};

pub(crate) const HOLE: u64 = 0x6000_0123;
pub(crate) const VECTORS: u64 = CODE + 0x800;
pub(crate) const PC: u64 = CODE + 0x20;
pub(crate) const NOT_MAPPED: u64 = 0x07;
const PERMISSION: u64 = 0x0f;
pub(crate) const WRITE: u64 = 1 << 6;
const UNDEFINED: u64 = 1 << 25;

/// A data abort (class 0x24) or instruction abort (0x20) at `address`, with an instruction syndrome as hardware gives it.
pub(crate) fn abort(class: u64, iss: u64, address: u64) -> RawExit {
    let valid = if class == 0x24 { 1 << 24 | 3 << 22 | 5 << 16 } else { 0 };
    RawExit { vector: 0, esr: class << 26 | 1 << 25 | valid | iss, far: address, hpfar: address >> 12 << 4 }
}

pub(crate) fn exception(class: u64, iss: u64) -> RawExit {
    RawExit { esr: class << 26 | 1 << 25 | iss, ..RawExit::default() }
}

/// A trapped register access: `op0, op1, CRn, CRm, op2`, general register, whether it reads.
fn access([op0, op1, crn, crm, op2]: [u64; 5], rt: u64, is_read: bool) -> RawExit {
    exception(0x18, op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1 | u64::from(is_read))
}

pub(crate) fn pair(flags: u32) -> Story {
    Story::new(&System::pair(Guest { flags, ..Guest::new("a") }, Guest::new("b")))
}

/// Lets `A` set its vectors and trap at `pc` with `pstate`. Returns its frame and its EL1 registers afterwards.
fn trap(s: &mut Story, pstate: u64, exit: RawExit) -> (Frame, El1) {
    s.step(A, move |frame| {
        guest::change(|el1| *el1 = El1 { vbar: VECTORS, ..El1::RESET });
        (frame.pc, frame.pstate) = (PC, pstate);
        Deed::Exit(exit)
    });
    s.step(A, |_| Deed::Exit(INTERRUPT));
    let frame = s.until_seen(A).expect("the guest goes on");
    let mut el1 = El1::RESET;
    guest::save(&mut el1);
    (frame, el1)
}

#[test]
fn a_refused_access_is_delivered_exactly_by_class_level_and_stack() {
    let cases = [
        (0x24, NOT_MAPPED | WRITE, 0x3c5, 0x25 << 26, 0x200),
        (0x24, NOT_MAPPED, 0x3c4, 0x25 << 26, 0x000),
        (0x24, NOT_MAPPED | 1 << 8 | WRITE, 0x3c0, 0x24 << 26, 0x400),
        (0x20, NOT_MAPPED, 0x3c5, 0x21 << 26, 0x200),
        (0x20, NOT_MAPPED, 0x3c0, 0x20 << 26, 0x400),
        (0x24, NOT_MAPPED, 0x6000_03c5, 0x25 << 26, 0x200),
    ];
    for (class, iss, pstate, expected, offset) in cases {
        let mut s = pair(VM_FAULT_HANDLER);
        let (frame, el1) = trap(&mut s, pstate, abort(class, iss, HOLE));
        assert_eq!((frame.pc, frame.pstate), (VECTORS + offset, 0x3c5));
        assert_eq!(el1.esr, expected | 1 << 25 | iss);
        assert_eq!((el1.far, el1.elr, el1.spsr), (HOLE, PC, pstate));
        s.close();
    }
}

#[test]
fn a_permission_fault_is_delivered_and_query_says_why() {
    let mut s = pair(VM_FAULT_HANDLER);
    let (_, el1) = trap(&mut s, 0x3c5, abort(0x24, PERMISSION | WRITE, CODE + 0x123));
    assert_eq!((el1.esr, el1.far), (0x25 << 26 | 1 << 25 | PERMISSION | WRITE, CODE + 0x123));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, CODE]).unwrap()[5], 2);
    trap(&mut s, 0x3c5, abort(0x24, NOT_MAPPED, HOLE));
    let x = s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap();
    assert_eq!((x[0].cast_signed(), x[1] >> 16), (-25, 1));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, CODE]).unwrap()[5], 0, "the last one alone");
    s.close();
}

#[test]
fn an_invalidation_of_what_may_not_be_written_is_delivered_and_not_tried_again() {
    let mut s = pair(VM_FAULT_HANDLER);
    let iss = PERMISSION | 1 << 8 | WRITE;
    let (frame, el1) = trap(&mut s, 0x3c5, abort(0x24, iss, CODE + 0x40));
    assert_eq!((frame.pc, el1.esr), (VECTORS + 0x200, 0x25 << 26 | 1 << 25 | iss));
    s.close();
}

#[test]
fn an_access_that_is_allowed_by_now_is_tried_again() {
    let mut s = pair(0);
    let frame = s.trap(A, PC, abort(0x24, NOT_MAPPED | WRITE, DATA + 8)).unwrap();
    assert_eq!(frame.pc, PC);
    let frame = s.trap(A, PC, abort(0x20, PERMISSION, CODE + 8)).unwrap();
    assert_eq!(frame.pc, PC);
    s.close();
}

/// Either takes as long as a call.
#[test]
fn what_a_vm_has_written_of_a_line_is_said_in_another_turn_than_what_it_did() {
    let mut s = pair(0);
    s.call(A, Call::ConWrite, &[5, 0x61_6161_6161]);
    s.step(A, |_| Deed::Exit(abort(0x24, NOT_MAPPED, HOLE)));
    let said = s.log().len();
    while s.log().len() == said {
        s.turns(1);
    }
    let has_more = |vm: &Vm| !vm.line.lock(&mut Held::for_example()).0.is_empty();
    assert!(s.vm(0, has_more));
    s.turns(2);
    assert!(!s.vm(0, has_more));
    is_stopped(s, "read of an unmapped address");
}

/// Checks that `A` is gone with a report that says `words`, and that `B` goes on.
fn is_stopped(mut s: Story, words: &str) {
    for _ in 0..100 {
        s.turns(1);
    }
    assert!(s.try_vm(0, |_| ()).is_none(), "the VM is gone");
    let log = s.log();
    assert!(log.iter().any(|line| line.starts_with("vm a: vcpu 0: ") && line.contains(words)), "{log:?}");
    assert!(log.iter().any(|line| line == "vm a: stopped: see its report"), "{log:?}");
    s.call(B, Call::CoreNop, &[]);
    s.close();
}

#[test]
fn a_vm_without_a_handler_is_stopped_with_a_report_and_the_other_goes_on() {
    for (exit, words) in [
        (abort(0x24, NOT_MAPPED, HOLE), "read of an unmapped address at 0x60000123"),
        (abort(0x24, NOT_MAPPED | WRITE, HOLE), "write to an unmapped address"),
        (abort(0x20, NOT_MAPPED, HOLE), "instruction fetch from an unmapped address"),
        (abort(0x24, PERMISSION | WRITE, CODE), "write without permission"),
        (abort(0x20, PERMISSION, DATA), "instruction fetch without permission"),
    ] {
        let mut s = pair(0);
        assert!(s.trap(A, PC, exit).is_none());
        is_stopped(s, words);
    }
}

#[test]
fn the_report_names_the_nearest_regions() {
    let mut s = pair(0);
    assert!(s.trap(A, PC, abort(0x24, NOT_MAPPED, CODE + 0x1000)).is_none());
    let log = s.log();
    let region = |side: &str, text: &str| log.iter().any(|line| line.contains(side) && line.contains(text));
    assert!(region("at or below", "0x40000000, 4096 bytes, r-x"), "{log:?}");
    assert!(region("above", "0x40002000, 4096 bytes, rw-"), "{log:?}");
    s.close();
}

#[test]
fn a_vector_that_cannot_be_fetched_stops_the_vm() {
    for far in [0x200, 0x7ff, 0] {
        let mut s = pair(VM_FAULT_HANDLER);
        assert!(s.trap(A, far, abort(0x20, NOT_MAPPED, far)).is_none());
        is_stopped(s, "instruction fetch");
    }
}

#[test]
fn a_vector_that_faults_on_its_own_stack_stops_the_vm() {
    let mut s = pair(VM_FAULT_HANDLER);
    let step = |frame: &mut Frame| {
        let first = El1 { vbar: VECTORS, esr: 0x9600_0007, elr: PC, far: 0x7000_0456, ..El1::RESET };
        guest::change(move |el1| *el1 = first);
        frame.pc = VECTORS + 0x204;
        Deed::Exit(abort(0x24, NOT_MAPPED | WRITE, HOLE))
    };
    assert!(s.deed(A, step).is_none());
    let first = format!("vm a: vcpu 0: it was in its vectors for: syndrome 0x96000007, pc {PC:#x}, address 0x70000456");
    assert!(s.log().contains(&first), "the report names the first exception too: {:?}", s.log());
    is_stopped(s, "write to an unmapped address");
}

#[test]
fn what_no_mapping_could_allow_stops_even_a_vm_with_a_handler() {
    for iss in [0x10, 0x21, 0x30, 0x31, 0x35] {
        let mut s = pair(VM_FAULT_HANDLER);
        assert!(s.trap(A, PC, abort(0x24, iss, DATA)).is_none());
        is_stopped(s, "the memory system refused");
    }
    let mut s = pair(VM_FAULT_HANDLER);
    assert!(s.trap(A, PC, RawExit { vector: 3, ..RawExit::default() }).is_none());
    is_stopped(s, "system error");
    let mut s = pair(VM_FAULT_HANDLER);
    assert!(s.trap(A, PC, RawExit { vector: 5, ..RawExit::default() }).is_none());
    is_stopped(s, "AArch32");
    let mut s = pair(VM_FAULT_HANDLER);
    let step = |frame: &mut Frame| {
        frame.pstate = 0x1d0;
        Deed::Exit(INTERRUPT)
    };
    assert!(s.deed(A, step).is_none(), "an endless loop in AArch32 is found by the first interrupt");
    is_stopped(s, "AArch32");
}

/// Checks that `exit` is an undefined instruction for the guest.
fn is_undefined(s: &mut Story, exit: RawExit) {
    let (frame, el1) = trap(s, 0x3c5, exit);
    assert_eq!((frame.pc, frame.pstate), (VECTORS + 0x200, 0x3c5), "{exit:x?}");
    assert_eq!((el1.esr, el1.elr, el1.spsr, el1.far), (UNDEFINED, PC, 0x3c5, 0), "{exit:x?}");
}

#[test]
fn what_a_guest_does_not_have_is_undefined_for_it() {
    let mut s = pair(0);
    is_undefined(&mut s, exception(0x07, 0)); // FP without the flag
    is_undefined(&mut s, exception(0x00, 0));
    is_undefined(&mut s, exception(0x19, 0)); // SVE
    is_undefined(&mut s, exception(0x01, 1)); // WFE, which does not trap
    for register in [
        [3, 0, 1, 0, 0],   // SCTLR_EL1
        [3, 0, 2, 0, 0],   // TTBR0_EL1
        [3, 0, 10, 2, 0],  // MAIR_EL1
        [3, 0, 12, 12, 0], // GIC system register
        [3, 3, 14, 2, 1],  // CNTP_CTL_EL0
        [3, 3, 9, 12, 0],  // PMCR_EL0
        [2, 0, 0, 0, 2],   // debug
        [1, 0, 7, 6, 2],   // DC ISW
        [1, 0, 8, 7, 0],   // TLBI VMALLE1
        [1, 0, 8, 3, 1],   // TLBI VAE1IS
        [3, 0, 1, 0, 1],   // ACTLR_EL1, written
    ] {
        is_undefined(&mut s, access(register, 3, false));
    }
    is_undefined(&mut s, access([3, 3, 14, 2, 1], 3, true));
    s.close();
}

#[test]
fn a_trapped_register_that_is_defined_answers_and_the_guest_goes_on_behind_it() {
    let mut s = pair(0);
    let read = |s: &mut Story, register, rt| {
        s.deed(A, move |frame| {
            frame.x.fill(0x55);
            (frame.pc, frame.pstate) = (PC, 0x3c5);
            Deed::Exit(access(register, rt, true))
        })
        .unwrap()
    };
    for (register, value) in [([3, 0, 0, 4, 0], 0xff_0011), ([3, 0, 0, 7, 0], 2), ([3, 0, 1, 0, 1], 0)] {
        let frame = read(&mut s, register, 7);
        assert_eq!((frame.x[7], frame.pc), (value, PC + 4));
        assert!((0..31).all(|n| n == 7 || frame.x[n] == 0x55));
    }
    let frame = read(&mut s, [3, 0, 0, 4, 0], 31);
    assert_eq!((frame.x, frame.pc), ([0x55; 31], PC + 4), "a read into the zero register is lost");
    s.close();
}
