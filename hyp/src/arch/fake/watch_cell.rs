//! Cell on a PC: a monitor for each thread, which stands for one core.

use std::boxed::Box;
use std::cell::RefCell;
use std::thread;
use std::thread_local;

use super::Vttbr;
use super::state::Monitor;

thread_local! {
    static MONITOR: RefCell<Box<Monitor>> = RefCell::new(Box::new(Monitor::new()));
}

/// Returns what `judge` makes of the monitor; the core is the first one.
pub(super) fn with<R>(judge: impl FnOnce(&mut Monitor, usize) -> R) -> R {
    MONITOR.with_borrow_mut(|monitor| judge(monitor, 0))
}

/// Stops the test, unless that is happening already.
pub(super) fn told(objection: &str) {
    assert!(thread::panicking(), "page-table order: {objection}");
}

/// Returns how many old entries of `space` some core may still hold.
#[must_use]
pub fn stale_entries(space: Vttbr) -> usize {
    with(|monitor, _| monitor.stale.iter().filter(|stale| stale.root == space.root().bytes()).count())
}

/// Forgets everything: tests of one process may follow each other on one thread.
pub fn forget_all() {
    with(|monitor, _| *monitor = Monitor::new());
}
