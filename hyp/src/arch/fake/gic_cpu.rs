//! GIC CPU interface on a PC: interrupts that tests queue, and a record of what was ended and sent, per thread.

use std::cell::{Cell, RefCell};
use std::vec::Vec;

std::thread_local! {
    static PENDING: RefCell<Vec<(u32, u8)>> = const { RefCell::new(Vec::new()) };
    static MASK: Cell<u8> = const { Cell::new(0xff) };
    static ENDED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static SENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Does nothing on a PC.
pub fn init() {}

/// Makes an interrupt pending behind those that are, with the priority of most.
pub fn pend(intid: u32) {
    pend_at(intid, 0x80);
}

/// Makes one pending that has this priority.
pub fn pend_at(intid: u32, priority: u8) {
    PENDING.with_borrow_mut(|pending| pending.push((intid, priority)));
}

/// Sets the priority mask.
pub fn set_mask(mask: u8) {
    MASK.set(mask);
}

/// Returns the priority mask.
pub fn mask() -> u8 {
    MASK.get()
}

/// Returns where the oldest interrupt that is not masked stands.
fn first(pending: &[(u32, u8)]) -> Option<usize> {
    pending.iter().position(|&(_, priority)| priority < MASK.get())
}

/// Returns the oldest pending interrupt that is not masked, or 1023.
pub fn acknowledge() -> u32 {
    PENDING.with_borrow_mut(|pending| first(pending).map_or(1023, |at| pending.remove(at).0))
}

/// Returns the oldest pending interrupt that is not masked, or 1023, without acknowledging it.
pub fn highest_pending() -> u32 {
    PENDING.with_borrow(|pending| first(pending).and_then(|at| pending.get(at)).map_or(1023, |&(intid, _)| intid))
}

/// Records an end.
pub fn end(intid: u32) {
    ENDED.with_borrow_mut(|ended| ended.push(intid));
}

/// Does nothing on a PC.
pub fn drop_priority(_intid: u32) {}

/// Records an end.
pub fn deactivate(intid: u32) {
    end(intid);
}

/// Records an SGI.
pub fn send_sgi(value: u64) {
    SENT.with_borrow_mut(|sent| sent.push(value));
}

/// Returns and forgets what was ended.
pub fn take_ended() -> Vec<u32> {
    ENDED.take()
}

/// Returns and forgets what was sent.
pub fn take_sent() -> Vec<u64> {
    SENT.take()
}
