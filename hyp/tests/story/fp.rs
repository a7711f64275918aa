//! FP: registers that are loaded when a vCPU first uses them, and that nobody else sees.

use std::cell::Cell;
use std::rc::Rc;

use strato_abi::plan::VM_FP;
use strato_hyp::arch::el1::FpState;
use strato_hyp::arch::frame::Frame;
use strato_hyp::arch::{Deed, guest};

use crate::faults::{PC, exception};
use crate::plan::{Guest, SLICE, System};
use crate::stage::{INTERRUPT, Story};
use crate::talk::{A, B};

/// Lets `who` use its FP registers, trapping as often as it must. Returns whether it trapped.
fn use_fp(s: &mut Story, who: (u8, u8), with: fn(&mut FpState)) -> bool {
    for round in 0..9 {
        let is_done = Rc::new(Cell::new(false));
        let done = Rc::clone(&is_done);
        let step = move |frame: &mut Frame| {
            frame.pc = PC;
            if guest::fp_traps() {
                return Deed::Exit(exception(0x07, 0));
            }
            guest::change_fp(with);
            done.set(true);
            Deed::Exit(INTERRUPT)
        };
        let frame = s.deed(who, step).expect("the guest goes on");
        assert_eq!(frame.pc, PC, "the instruction is tried again");
        if is_done.get() {
            return round > 0;
        }
    }
    panic!("FP never works");
}

#[test]
fn fp_registers_are_loaded_at_the_first_use_and_kept_apart() {
    let with = |label| Guest { flags: VM_FP, ..Guest::new(label) };
    let mut s = Story::new(&System::pair(with("a"), with("b")));
    s.pace = SLICE / 4;
    assert!(use_fp(&mut s, A, |fp| fp.v[5] = [11; 2]));
    assert!(use_fp(&mut s, B, |fp| {
        assert_eq!(fp.v[5], [0; 2], "a new vCPU sees zeros");
        fp.v[5] = [22; 2];
    }));
    assert!(use_fp(&mut s, A, |fp| assert_eq!(fp.v[5], [11; 2])));
    assert!(use_fp(&mut s, B, |fp| assert_eq!(fp.v[5], [22; 2])));
    s.close();
}
