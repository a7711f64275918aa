//! The monitor objects to a VMID that goes to another address space while some core may hold entries under it.

use super::{LEAF, PAGE, Space, stale_entries};
use crate::arch::stage2::{Scope, Vttbr, current_vttbr, invalidate, invalidate_everything};
use crate::arch::stage2_ops::{dsb_ish, dsb_ishst, isb, set_vttbr, tlbi_alle1is, write_empty, write_vttbr};
use crate::arch::table::VALID;

#[test]
fn a_vmid_may_be_used_again_after_everything_was_invalidated() {
    let first = Space::alone();
    set_vttbr(Vttbr::NONE);
    invalidate_everything();
    let second = Space::new(1);
    assert_eq!(first.vttbr.vmid(), second.vttbr.vmid());
}

#[test]
fn a_space_gets_another_vmid_with_the_next_generation() {
    let space = Space::alone();
    set_vttbr(Vttbr::NONE);
    invalidate_everything();
    set_vttbr(Vttbr::new(space.root.pa(), 2));
    let _other = Space::new(1);
}

#[test]
#[should_panic(expected = "a VMID used again before the flush")]
fn a_vmid_of_a_space_that_is_gone_used_again_too_early_is_caught() {
    let space = Space::alone();
    set_vttbr(Vttbr::NONE);
    core::mem::forget(space.root.into_pages());
    let _other = Space::new(1);
}

#[test]
#[should_panic(expected = "two address spaces with one VMID")]
fn a_flush_that_is_not_waited_for_is_caught() {
    let _first = Space::alone();
    set_vttbr(Vttbr::NONE);
    dsb_ishst();
    tlbi_alle1is();
    dsb_ishst();
    let _second = Space::new(1);
}

#[test]
#[should_panic(expected = "two address spaces with one VMID")]
fn the_vmid_of_a_space_that_this_core_selects_given_away_is_caught() {
    let _first = Space::alone();
    invalidate_everything();
    let _second = Space::new(1);
}

#[test]
#[should_panic(expected = "two address spaces with one VMID")]
fn the_vmid_of_a_space_that_another_core_selects_given_away_is_caught() {
    let first = Space::alone();
    set_vttbr(Vttbr::NONE); // the thread goes to another core
    invalidate_everything();
    let _second = Space::new(1);
    set_vttbr(first.vttbr); // and back
}

#[test]
#[should_panic(expected = "an address space under a VMID that is not its own")]
fn a_space_selected_under_the_number_it_had_before_is_caught() {
    let space = Space::alone();
    let old = space.vttbr;
    let _new = Vttbr::new(space.root.pa(), 7);
    set_vttbr(old);
}

#[test]
#[should_panic(expected = "an address space under a VMID that is not its own")]
fn a_space_selected_without_a_vmid_is_caught() {
    let space = Space::alone();
    set_vttbr(Vttbr::new(space.root.pa(), 0));
}

#[test]
fn a_change_in_a_space_whose_number_is_anothers_now_disturbs_neither() {
    let mut first = Space::alone();
    set_vttbr(Vttbr::NONE);
    invalidate_everything();
    let second = Space::new(1);
    first.set(0);
    invalidate(first.vttbr, Scope::Page(PAGE));
    assert_eq!((stale_entries(first.vttbr), current_vttbr()), (0, second.vttbr));
    first.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "two address spaces with one VMID")]
fn an_invalidation_that_selects_the_tables_of_a_space_without_a_number_is_caught() {
    let first = Space::alone();
    set_vttbr(Vttbr::NONE);
    invalidate_everything();
    let _second = Space::new(1);
    // What `invalidate` must not do: a walk by speculation would bring one space's pages under the other's number.
    write_vttbr(first.vttbr);
    isb();
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn a_flush_before_the_store_is_visible_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    tlbi_alle1is();
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
fn several_broken_entries_need_one_invalidation() {
    let mut space = Space::alone();
    space.third().set_leaf(6, LEAF + 0x3000);
    space.set(LEAF & !VALID);
    space.third().set_leaf(6, (LEAF + 0x3000) & !VALID);
    assert_eq!(stale_entries(space.vttbr), 2);
    write_empty(0);
    isb();
    invalidate(space.vttbr, Scope::All);
    assert_eq!(stale_entries(space.vttbr), 0);
    space.third().set_leaf(6, 0);
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn an_entry_left_for_later_and_mapped_anew_before_the_invalidation_is_caught() {
    let mut space = Space::alone();
    space.set(LEAF & !VALID);
    space.set(0); // swept without an invalidation
    space.set(LEAF + 0x1000);
}
