//! Watch: the page-table monitor of host tests and of checked images. It follows every entry of every address space and
//! stops whoever breaks the order of DDI 0487: write invalid, DSB, TLBI of the right VMID, DSB, and only then reuse.
//!
//! This file is what `table`, `stage2` and the barriers call. `state` holds what is known, `rules` and `bindings` what
//! follows from it, `cell` where the monitor is: on a PC each thread has one and stands for one core, so tables that another
//! thread made are not known and not judged; on metal there is one for all cores. A release image has `watch_off` instead.

use core::sync::atomic::{AtomicU64, Ordering};

use super::ram::Pa;
use super::stage2::Vttbr;

mod bindings;
mod rules;
mod state;

#[cfg(target_os = "none")]
mod cell;
#[cfg(not(target_os = "none"))]
#[path = "../fake/watch_cell.rs"]
mod cell;

#[cfg(not(target_os = "none"))]
pub use cell::{forget_all, stale_entries};
use cell::{told, with};
pub(super) use rules::{Barrier, Reach};
use state::Monitor;

/// An objection of the monitor, or nothing.
type Verdict = Result<(), &'static str>;

/// Has `judge` look at the monitor as the calling core. Stops the hypervisor, with the monitor free again, by what it objects
/// to; says once when there was no room for something.
fn watch(judge: impl FnOnce(&mut Monitor, usize) -> Verdict) {
    let (verdict, is_first_loss) = with(|monitor, core| {
        let lost = monitor.unjudged;
        let verdict = judge(monitor, core);
        (verdict, lost == 0 && monitor.unjudged > 0)
    });
    if let Err(objection) = verdict {
        told(objection);
    }
    if is_first_loss {
        log::warn!("page-table order: no room in the monitor, so that some entries are not judged");
    }
}

/// An entry is about to be written.
pub(super) fn written(table: Pa, index: usize, slot: &AtomicU64, new: u64) {
    let old = slot.load(Ordering::Relaxed);
    watch(|monitor, core| monitor.written(core, (table.bytes(), index), old, new));
}

/// A table is about to be linked into an entry.
pub(super) fn linked(table: Pa, index: usize, child: Pa) {
    watch(|monitor, _| monitor.linked((table.bytes(), index), child.bytes()));
}

/// A table was taken out of its entry.
pub(super) fn unlinked(child: Pa) {
    watch(|monitor, _| {
        monitor.unlinked(child.bytes());
        Ok(())
    });
}

/// A table gives its frame up.
pub(super) fn freed(table: Pa) {
    watch(|monitor, _| monitor.freed(table.bytes()));
}

/// A table becomes the root of an address space, or its address space gets another VMID.
pub(super) fn rooted(root: Pa, vmid: u8) {
    watch(|monitor, _| {
        monitor.rooted(root.bytes(), vmid);
        Ok(())
    });
}

/// VTTBR_EL2 is written, and acts from the next ISB on.
pub(super) fn selecting(space: Vttbr) {
    watch(|monitor, core| {
        monitor.bindings.selecting(core, space);
        Ok(())
    });
}

/// ISB: the last VTTBR_EL2 acts. This core may walk the tables of its address space, and keep what it finds under its VMID.
pub(super) fn synchronized() {
    watch(Monitor::synchronized);
}

/// A barrier is complete.
pub(super) fn completed(barrier: Barrier) {
    watch(|monitor, core| {
        monitor.completed(core, barrier);
        Ok(())
    });
}

/// An invalidation is issued: it acts on the VMID of the VTTBR_EL2 that acts.
pub(super) fn invalidated(reach: Reach) {
    watch(|monitor, core| {
        monitor.invalidated(core, reach);
        Ok(())
    });
}

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod tests;
