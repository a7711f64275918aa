//! Guest registers on a PC: remembers what was set, so that a story can ask what a guest would have seen.

use std::cell::{Cell, RefCell};

use crate::arch::el1::{El1, FpState};
use crate::arch::native;

std::thread_local! {
    static LINE: Cell<bool> = const { Cell::new(false) };
    static FP_TRAPS: Cell<bool> = const { Cell::new(true) };
    static EL1: RefCell<El1> = const { RefCell::new(El1::RESET) };
    static FP: RefCell<FpState> = const { RefCell::new(FpState::RESET) };
    static MPIDR: Cell<u64> = const { Cell::new(El1::RESET.mpidr) };
    static RETURN: Cell<u64> = const { Cell::new(0) };
}

/// Sets what is the same for every guest.
pub fn init_core() {
    native::reset();
    trap_fp(true);
    set_line(false);
}

/// Clears the virtual interrupt.
pub fn clear_line() {
    set_line(false);
}

/// Sets or clears the virtual interrupt.
pub fn set_line(raised: bool) {
    LINE.set(raised);
}

/// Returns whether the virtual interrupt is set.
#[must_use]
pub fn is_line_up() -> bool {
    LINE.get()
}

/// Sets whether FP traps.
pub fn trap_fp(on: bool) {
    FP_TRAPS.set(on);
}

/// Returns whether FP traps.
#[must_use]
pub fn fp_traps() -> bool {
    FP_TRAPS.get()
}

/// Saves the remembered EL1 registers into `to`.
pub fn save(to: &mut El1) {
    let mpidr = to.mpidr; // which is not saved
    EL1.with_borrow(|now| *to = El1 { mpidr, ..now.clone() });
}

/// Remembers `from` as the EL1 registers.
pub fn load(from: &El1) {
    EL1.with_borrow_mut(|now| now.clone_from(from));
    MPIDR.set(from.mpidr);
}

/// Returns MPIDR_EL1 of the vCPU whose registers were loaded last.
#[must_use]
pub fn mpidr() -> u64 {
    MPIDR.get()
}

/// Changes the remembered EL1 registers, as a guest's own instructions would.
pub fn change(with: impl FnOnce(&mut El1)) {
    EL1.with_borrow_mut(with);
}

/// Saves the remembered FP registers and makes FP trap.
pub fn save_fp(to: &mut FpState) {
    FP.with_borrow(|now| to.clone_from(now));
    trap_fp(true);
}

/// Remembers `from` as the FP registers, which do not trap any more.
pub fn load_fp(from: &FpState) {
    trap_fp(false);
    FP.with_borrow_mut(|now| now.clone_from(from));
}

/// Writes what EL1 sees of an exception; returns the vector base.
pub fn take_exception(syndrome: u64, far: Option<u64>, pc: u64, pstate: u64) -> u64 {
    change(|el1| {
        el1.esr = syndrome;
        el1.far = far.unwrap_or(el1.far);
        el1.elr = pc;
        el1.spsr = pstate;
    });
    vector_base()
}

/// Changes the remembered FP registers, as a guest's own instructions would.
pub fn change_fp(with: impl FnOnce(&mut FpState)) {
    FP.with_borrow_mut(with);
}

/// Returns where the guest goes on, as it was when it left.
#[must_use]
pub fn return_address() -> u64 {
    RETURN.get()
}

/// Remembers where the guest goes on.
pub(in crate::arch) fn set_return_address(pc: u64) {
    RETURN.set(pc);
}

/// Returns the vector base of the resident vCPU.
#[must_use]
pub fn vector_base() -> u64 {
    EL1.with_borrow(|now| now.vbar)
}

/// Returns ESR_EL1, ELR_EL1 and FAR_EL1 as remembered.
#[must_use]
pub fn last_exception() -> [u64; 3] {
    EL1.with_borrow(|now| [now.esr, now.elr, now.far])
}
