//! GIC CPU interface on a PC: interrupts that tests queue, and a record of what was ended and sent, per thread.

use std::cell::RefCell;
use std::vec::Vec;

std::thread_local! {
    static PENDING: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static ENDED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static SENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Does nothing on a PC.
pub fn init() {}

/// Makes an interrupt pending behind those that are.
pub fn pend(intid: u32) {
    PENDING.with_borrow_mut(|pending| pending.push(intid));
}

/// Returns the oldest pending interrupt, or 1023.
pub fn acknowledge() -> u32 {
    PENDING.with_borrow_mut(|pending| if pending.is_empty() { 1023 } else { pending.remove(0) })
}

/// Returns the oldest pending interrupt, or 1023, without acknowledging it.
pub fn highest_pending() -> u32 {
    PENDING.with_borrow(|pending| pending.first().copied().unwrap_or(1023))
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
