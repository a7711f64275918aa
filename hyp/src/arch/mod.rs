//! Arch: the one room with assembly and unsafe code; the rooms above it call it and never touch a register.
//!
//! Metal parts exist on `target_os = "none"` only and have a stand-in of the same name in `fake/`; everything else is
//! built and tested on the host.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

#[cfg(target_os = "none")]
pub mod maintenance;
#[cfg(not(target_os = "none"))]
#[path = "fake/maintenance.rs"]
pub mod maintenance;

#[cfg(target_os = "none")]
pub mod attempt;
#[cfg(not(target_os = "none"))]
#[path = "fake/attempt.rs"]
pub mod attempt;

#[cfg(target_os = "none")]
mod cpu;
#[cfg(not(target_os = "none"))]
#[path = "fake/cpu.rs"]
mod cpu;

#[cfg(target_os = "none")]
pub mod entry;
#[cfg(not(target_os = "none"))]
#[path = "fake/entry.rs"]
pub mod entry;

#[cfg(target_os = "none")]
pub mod firmware;
#[cfg(not(target_os = "none"))]
#[path = "fake/firmware.rs"]
pub mod firmware;

#[cfg(target_os = "none")]
pub mod gic_cpu;
#[cfg(not(target_os = "none"))]
#[path = "fake/gic_cpu.rs"]
pub mod gic_cpu;

#[cfg(target_os = "none")]
pub mod timer;
#[cfg(not(target_os = "none"))]
#[path = "fake/timer.rs"]
pub mod timer;

#[cfg(not(target_os = "none"))]
#[path = "fake/registers.rs"]
mod registers;

#[cfg(target_os = "none")]
pub mod sign;
#[cfg(not(target_os = "none"))]
#[path = "fake/sign.rs"]
pub mod sign;

#[cfg(target_os = "none")]
mod own_el;
#[cfg(target_os = "none")]
mod sysreg;

#[cfg(target_os = "none")]
mod backing;
#[cfg(not(target_os = "none"))]
#[path = "fake/backing.rs"]
pub mod backing;

#[cfg(target_os = "none")]
mod stage2_ops;
#[cfg(not(target_os = "none"))]
#[path = "fake/stage2_ops.rs"]
mod stage2_ops;

/// Whether this is a checked image or a host test, which may take time to look at everything again and again.
pub const IS_CHECKED: bool = cfg!(any(not(target_os = "none"), debug_assertions));

// The page-table monitor: in host tests, and in images with debug assertions, where the barriers tell it.
#[cfg(all(target_os = "none", not(debug_assertions)))]
use maintenance as told;
#[cfg(all(target_os = "none", debug_assertions))]
mod told;
#[cfg(any(not(target_os = "none"), debug_assertions))]
pub mod watch;
#[cfg(all(target_os = "none", not(debug_assertions)))]
#[path = "watch_off.rs"]
mod watch;

pub mod core_base;
pub mod el2;
pub mod errata;
pub mod gicv2;
pub mod install;
pub mod layout;
pub mod mmio;
mod mmu;
#[cfg(target_os = "none")]
mod run;
#[cfg(not(target_os = "none"))]
#[path = "fake/run.rs"]
mod run;

#[cfg(target_os = "none")]
pub mod guest;
#[cfg(not(target_os = "none"))]
#[path = "fake/guest.rs"]
pub mod guest;

#[cfg(target_os = "none")]
pub mod native;
#[cfg(not(target_os = "none"))]
#[path = "fake/native.rs"]
pub mod native;

#[cfg(target_os = "none")]
pub mod pmu;
#[cfg(not(target_os = "none"))]
#[path = "fake/pmu.rs"]
pub mod pmu;

mod answered;
pub mod el1;
pub mod epoch;
pub mod frame;
pub mod lease;
pub mod page_box;
pub mod page_row;
pub mod panic;
pub mod pins;
pub mod ram;
pub mod region;
pub mod retained;
pub mod shared;
pub mod stage2;
pub mod table;
pub mod workarounds;

pub use core_base::CoreIndex;
#[cfg(not(target_os = "none"))]
pub use cpu::set_interrupt_pending;
#[cfg(not(target_os = "none"))]
pub use run::{Deed, STORY_END, script, selected_vectors};
pub use run::{run, select_vectors};

pub use cpu::{
    affinity, bounded, breakpoint, frame_here, interrupt_pending, midr, physical_limit, relax, revidr, wait_for_event,
    wait_for_interrupt,
};

/// Returns entry `index` of `entries` for an index that a guest chose: a core that guesses past the check reads entry 0.
#[must_use]
#[inline(always)]
pub fn get_bounded<T>(entries: &[T], index: usize) -> Option<&T> {
    if index >= entries.len() {
        return None;
    }
    // SAFETY: `bounded` returns the index, which was just checked, or 0, which is no larger.
    Some(unsafe { entries.get_unchecked(bounded(index, entries.len())) })
}

/// Returns the guard against branch history that the core that runs this needs.
#[must_use]
pub fn needed_guard() -> errata::Guard {
    errata::guard(midr(), cpu::features())
}

/// Returns the number of the core that runs this.
#[must_use]
pub fn this_core() -> CoreIndex {
    let index = region::native(entry::core_base().index);
    // Records are written with numbers below MAX_CORES alone.
    CoreIndex::new(index).unwrap_or(CoreIndex::BOOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_past_the_end_finds_nothing_and_is_guessed_as_zero() {
        let entries = [7, 8, 9];
        assert_eq!(
            [0, 2, 3, usize::MAX].map(|index| get_bounded(&entries, index).copied()),
            [Some(7), Some(9), None, None]
        );
        assert_eq!([0, 2, 3, usize::MAX].map(|index| bounded(index, 3)), [0, 2, 0, 0]);
    }
}
