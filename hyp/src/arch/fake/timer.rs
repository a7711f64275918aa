//! Timer on a PC: a counter that tests set; one deadline, that of the thread.

use std::cell::Cell;

std::thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static DEADLINE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Returns what [`set_now`] set, 0 at first.
pub fn now() -> u64 {
    NOW.get()
}

/// Sets the counter of this thread, in ticks.
pub fn set_now(ticks: u64) {
    NOW.set(ticks);
}

/// Returns 62,500,000, the frequency of QEMU's counter.
pub fn frequency() -> u64 {
    62_500_000
}

/// Records a deadline in ticks.
pub fn arm(deadline: u64) {
    DEADLINE.set(Some(deadline));
}

/// Forgets the deadline.
pub fn disarm() {
    DEADLINE.set(None);
}

/// Returns the deadline that is armed, if any.
pub fn armed() -> Option<u64> {
    DEADLINE.get()
}
