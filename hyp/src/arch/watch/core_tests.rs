//! The rules between cores, and what happens when there is no room: the monitor alone, as each of several cores.

use std::boxed::Box;

use super::rules::{Barrier, Reach};
use super::state::Monitor;
use super::{Verdict, Vttbr};

const ROOT: u64 = 0x4000_1000;
const OTHER: u64 = 0x4000_2000;
/// A block of level 1.
const BLOCK: u64 = 0x0040_0000_8000_07fd;
const SLOT: (u64, usize) = (ROOT, 3);

fn vttbr(root: u64, vmid: u8) -> Vttbr {
    Vttbr::from_bits(u64::from(vmid) << 48 | root)
}

fn select(monitor: &mut Monitor, core: usize, root: u64, vmid: u8) -> Verdict {
    monitor.bindings.selecting(core, vttbr(root, vmid));
    monitor.synchronized(core)
}

/// Returns a monitor of one address space, with VMID 1, that the cores 0 and 1 select.
fn two_cores() -> Box<Monitor> {
    let mut monitor = Box::new(Monitor::new());
    monitor.rooted(ROOT, 1);
    select(&mut monitor, 0, ROOT, 1).unwrap();
    select(&mut monitor, 1, ROOT, 1).unwrap();
    monitor
}

/// Core 0 makes the block invalid.
fn broken() -> Box<Monitor> {
    let mut monitor = two_cores();
    monitor.written(0, SLOT, BLOCK, 0).unwrap();
    monitor
}

fn reuse(monitor: &mut Monitor, core: usize) -> Verdict {
    monitor.written(core, SLOT, 0, BLOCK)
}

const TOO_EARLY: Verdict = Err("reuse before the invalidation");

#[test]
fn one_core_may_reuse_what_another_invalidated() {
    let mut monitor = broken();
    monitor.completed(0, Barrier::Stores);
    monitor.invalidated(0, Reach::All);
    monitor.completed(0, Barrier::All);
    assert_eq!((reuse(&mut monitor, 1), monitor.stale.len()), (Ok(()), 0));
}

#[test]
fn a_core_does_not_wait_for_what_another_one_sent() {
    let mut monitor = broken();
    monitor.completed(0, Barrier::Stores);
    monitor.invalidated(0, Reach::All);
    monitor.completed(1, Barrier::All);
    assert_eq!(reuse(&mut monitor, 0), TOO_EARLY);
    monitor.completed(0, Barrier::All);
    assert_eq!(reuse(&mut monitor, 0), Ok(()));
}

#[test]
fn the_first_of_two_invalidations_to_be_complete_is_enough() {
    let mut monitor = broken();
    monitor.completed(0, Barrier::Stores);
    monitor.invalidated(1, Reach::Everything);
    monitor.invalidated(0, Reach::All);
    monitor.completed(0, Barrier::All);
    assert_eq!(reuse(&mut monitor, 0), Ok(()));
}

#[test]
fn an_invalidation_put_off_is_made_by_a_core_that_observed_the_store() {
    let mut monitor = broken();
    monitor.completed(1, Barrier::Stores);
    monitor.invalidated(1, Reach::All);
    monitor.completed(1, Barrier::All);
    assert_eq!(reuse(&mut monitor, 1), Ok(()));
}

#[test]
fn the_invalidation_of_everything_by_another_core_does_not_reach_a_store_that_its_core_did_not_wait_for() {
    let mut monitor = broken();
    monitor.completed(1, Barrier::Stores);
    monitor.invalidated(1, Reach::Everything);
    monitor.completed(1, Barrier::All);
    assert_eq!(reuse(&mut monitor, 0), TOO_EARLY);
}

#[test]
fn an_invalidation_acts_on_the_vmid_of_its_own_core() {
    let mut monitor = broken();
    monitor.rooted(OTHER, 2);
    select(&mut monitor, 1, OTHER, 2).unwrap();
    monitor.completed(1, Barrier::Stores);
    monitor.invalidated(1, Reach::All);
    monitor.completed(1, Barrier::All);
    assert_eq!(reuse(&mut monitor, 0), TOO_EARLY);
}

#[test]
fn a_root_that_another_core_selects_is_not_freed() {
    let mut monitor = two_cores();
    select(&mut monitor, 0, 0, 0).unwrap();
    assert_eq!(monitor.freed(ROOT), Err("a root freed while VTTBR_EL2 selects it"));
    monitor.rooted(ROOT, 1);
    select(&mut monitor, 1, 0, 0).unwrap();
    assert_eq!(monitor.freed(ROOT), Ok(()));
}

#[test]
fn a_core_that_was_about_to_leave_forgets_by_itself_before_it_meets_the_vmid_again() {
    let flushed = || {
        let mut monitor = two_cores();
        select(&mut monitor, 0, 0, 0).unwrap();
        monitor.invalidated(0, Reach::Everything); // core 1 still selects the root, and may walk it again
        monitor.completed(0, Barrier::All);
        monitor.rooted(OTHER, 1);
        assert_eq!(select(&mut monitor, 0, OTHER, 1), Ok(()));
        select(&mut monitor, 1, 0, 0).unwrap();
        monitor
    };
    assert_eq!(select(&mut flushed(), 1, OTHER, 1), Err("two address spaces with one VMID"));
    for (core, barrier) in [(0, Barrier::Here), (1, Barrier::Stores)] {
        let mut monitor = flushed();
        monitor.invalidated(1, Reach::Here);
        monitor.completed(core, barrier);
        assert_eq!(select(&mut monitor, 1, OTHER, 1), Err("two address spaces with one VMID"));
    }
    let mut monitor = flushed();
    monitor.invalidated(1, Reach::Here);
    monitor.completed(1, Barrier::Here);
    assert_eq!(select(&mut monitor, 1, OTHER, 1), Ok(()));
}

#[test]
fn what_a_core_forgets_by_itself_the_others_still_hold() {
    let mut monitor = two_cores();
    for core in [0, 1] {
        select(&mut monitor, core, 0, 0).unwrap();
    }
    monitor.invalidated(0, Reach::Here);
    monitor.completed(0, Barrier::Here);
    monitor.rooted(OTHER, 1);
    assert_eq!(select(&mut monitor, 0, OTHER, 1), Ok(()));
    assert_eq!(select(&mut monitor, 1, OTHER, 1), Err("two address spaces with one VMID"));
}

#[test]
fn what_finds_no_room_is_counted_and_not_judged() {
    let mut monitor = two_cores();
    let mut count = 0;
    while monitor.unjudged == 0 {
        monitor.written(0, (ROOT, count % 512), BLOCK, 0).unwrap();
        count += 1;
    }
    assert_eq!(monitor.stale.len(), count - 1);
    monitor.stale.clear();
    monitor.unjudged = 0;
    let mut child = 0x5000_0000;
    while monitor.unjudged == 0 {
        monitor.linked((ROOT, 0), child).unwrap();
        child += 0x1000;
    }
    // The last one is not known: what stands in it is not judged.
    assert_eq!(monitor.written(0, (child - 0x1000, 0), BLOCK, BLOCK + 0x4000_0000), Ok(()));
    let roots = (1..).map(|number| 0x6000_0000 + number * 0x1000);
    let lost = roots.take(512).find(|&root| {
        let before = monitor.unjudged;
        monitor.rooted(root, 0);
        monitor.unjudged > before
    });
    assert_eq!(monitor.written(0, (lost.unwrap(), 0), BLOCK, BLOCK + 0x4000_0000), Ok(()));
    assert_eq!(monitor.written(0, SLOT, BLOCK, BLOCK + 0x4000_0000), Err("a change without break-before-make"));
}
