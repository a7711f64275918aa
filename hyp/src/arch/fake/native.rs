//! Native guests on a PC: remembers EL1's translation registers, so that a story can ask whose they are.

use std::cell::{Cell, RefCell};

use crate::arch::el1::Stage1;
use crate::arch::stage2;

std::thread_local! {
    static STAGE1: RefCell<Stage1> = const { RefCell::new(Stage1::RESET) };
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
    static TRANSLATION: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What [`close`] found: nothing on a PC.
#[derive(Debug)]
pub struct Closed;

/// Does nothing on a PC.
pub fn close() -> Closed {
    Closed
}

/// Lets the last VTTBR_EL2 act.
pub(in crate::arch) fn open(_: &Closed) {
    stage2::set_vttbr(stage2::current_vttbr());
}

/// Remembers `from` as what EL1 translates by.
pub fn enter(from: &Stage1, has_siblings: bool, _closed: &Closed) {
    STAGE1.with_borrow_mut(|now| now.clone_from(from));
    INVALIDATIONS.set(INVALIDATIONS.get() + u64::from(has_siblings));
}

/// Saves what EL1 translates by into `to` and forgets it.
pub fn leave(to: &mut Stage1) {
    STAGE1.with_borrow(|now| to.clone_from(now));
    reset();
}

/// Remembers what is constant for all other guests.
pub fn reset() {
    STAGE1.set(Stage1::RESET);
    stage2::park();
}

/// Returns what [`set_translation`] said last, with the offset of `address` in its page.
#[must_use]
pub fn translate(address: u64) -> Option<u64> {
    TRANSLATION.get().map(|page| page & !0xfff | address & 0xfff)
}

/// Sets the page to which the guest's stage 1 translates every address, if to any.
pub fn set_translation(page: Option<u64>) {
    TRANSLATION.set(page);
}

/// Changes the remembered registers, as a guest's own instructions would.
pub fn change(with: impl FnOnce(&mut Stage1)) {
    STAGE1.with_borrow_mut(with);
}

/// Returns how often a vCPU with siblings was entered: each time the core forgets the VM's translations.
#[must_use]
pub fn invalidations() -> u64 {
    INVALIDATIONS.get()
}
