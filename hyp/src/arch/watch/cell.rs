//! Cell on metal: the one monitor of a checked image, behind a lock of its own, which is a leaf: nothing is locked or said
//! while it is held. EL2 runs with interrupts masked, so whoever holds it goes on.

use spin::RelaxStrategy;
use spin::mutex::TicketMutex;

use super::state::Monitor;
use crate::arch::{cpu, this_core};

/// As `lock::Relax`, which is not below this room.
struct Relax;

impl RelaxStrategy for Relax {
    fn relax() {
        cpu::relax();
    }
}

static MONITOR: TicketMutex<Monitor, Relax> = TicketMutex::new(Monitor::new());

/// Returns what `judge` makes of the monitor and the number of this core.
pub(super) fn with<R>(judge: impl FnOnce(&mut Monitor, usize) -> R) -> R {
    judge(&mut MONITOR.lock(), this_core().index())
}

/// Ends the hypervisor: what the cores hold is no longer what the tables say.
#[cold]
pub(super) fn told(objection: &str) -> ! {
    panic!("page-table order: {objection}")
}
