//! The page-table monitor objects to each way of breaking the order, and to nothing else.

use super::super::stage2::{Scope, invalidate};
use super::super::stage2_ops::{
    dsb_ish, dsb_ishst, isb, set_vttbr, take_combined, tlbi_ipas2e1is, tlbi_vmalle1is, tlbi_vmalls12e1is, write_vttbr,
};
use super::super::table::{Edit, Table};
use super::{forget_all, stale_entries};
use crate::arch::backing;
use crate::arch::stage2::{Vttbr, current_vttbr};

/// Guest-physical address of the one page.
const PAGE: u64 = 0x4000_5000;
/// A leaf of level 3, readable and writable.
const LEAF: u64 = 0x0040_0000_8000_07ff;

struct Space {
    root: Table,
    vttbr: Vttbr,
}

fn table() -> Table {
    Table::new(backing::ram(1, 1)).unwrap()
}

impl Space {
    /// Returns a space with one page, selected on this core.
    fn new(vmid: u8) -> Self {
        let (mut root, mut second, mut third) = (table(), table(), table());
        third.edit().set_leaf(5, LEAF);
        second.edit().link(0, third, 1).unwrap();
        root.edit().link(1, second, 1).unwrap();
        let vttbr = Vttbr::new(root.pa(), vmid);
        set_vttbr(vttbr);
        Self { root, vttbr }
    }

    fn alone() -> Self {
        forget_all();
        Self::new(1)
    }

    fn second(&mut self) -> Edit<'_> {
        self.root.edit().into_child(1).unwrap()
    }

    fn third(&mut self) -> Edit<'_> {
        self.second().into_child(0).unwrap()
    }

    fn set(&mut self, leaf: u64) {
        self.third().set_leaf(5, leaf);
    }
}

/// The order of one page, as `stage2::invalidate` has it.
fn right_order() {
    dsb_ishst();
    tlbi_ipas2e1is(PAGE);
    dsb_ish();
    tlbi_vmalle1is();
    dsb_ish();
    isb();
}

#[test]
fn break_before_make_in_the_right_order_is_accepted() {
    let mut space = Space::alone();
    space.set(0);
    right_order();
    assert_eq!(stale_entries(space.vttbr), 0);
    space.set(LEAF + 0x1000);
    space.set(0);
    invalidate(space.vttbr, Scope::All);
    space.set(LEAF);
}

#[test]
fn a_change_of_permissions_alone_needs_no_break() {
    let mut space = Space::alone();
    space.set(LEAF & !(1 << 7));
    assert_eq!(stale_entries(space.vttbr), 1);
    invalidate(space.vttbr, Scope::Page(PAGE));
    assert_eq!(stale_entries(space.vttbr), 0);
}

#[test]
fn a_count_of_used_entries_is_no_change_for_walkers() {
    let mut space = Space::alone();
    space.second().add_used(0, 3);
    assert_eq!((stale_entries(space.vttbr), space.second().used(0)), (0, 4));
}

#[test]
fn a_table_may_be_freed_after_the_invalidation() {
    let mut space = Space::alone();
    space.set(0);
    let mut third = space.second().unlink(0).unwrap();
    invalidate(space.vttbr, Scope::All);
    third.edit().set_leaf(0, LEAF);
    core::mem::forget(third.into_pages());
}

#[test]
#[should_panic(expected = "a change without break-before-make")]
fn another_address_without_a_break_is_caught() {
    Space::alone().set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "a change without break-before-make")]
fn another_memory_type_without_a_break_is_caught() {
    Space::alone().set(LEAF & !(0b1111 << 2));
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn reuse_without_any_invalidation_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn an_invalidation_before_the_store_is_visible_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    tlbi_vmalls12e1is();
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn an_invalidation_that_is_not_waited_for_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    dsb_ishst();
    tlbi_vmalls12e1is();
    dsb_ishst();
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn combined_entries_left_behind_are_caught() {
    let mut space = Space::alone();
    space.set(0);
    dsb_ishst();
    tlbi_ipas2e1is(PAGE);
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn combined_entries_dropped_before_stage_2_is_done_are_caught() {
    let mut space = Space::alone();
    space.set(0);
    dsb_ishst();
    tlbi_ipas2e1is(PAGE);
    tlbi_vmalle1is();
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn the_invalidation_of_another_page_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    invalidate(space.vttbr, Scope::Page(PAGE + 0x1000));
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn an_invalidation_under_another_address_space_is_caught() {
    let mut space = Space::alone();
    let other = Space::new(2);
    space.set(0);
    invalidate(other.vttbr, Scope::All);
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn an_invalidation_right_after_a_switch_without_isb_is_caught() {
    let mut space = Space::alone();
    let _other = Space::new(2);
    space.set(0);
    write_vttbr(space.vttbr);
    dsb_ishst();
    tlbi_vmalls12e1is();
    dsb_ish();
    space.set(LEAF + 0x1000);
}

#[test]
fn an_address_space_that_is_not_selected_is_invalidated_under_its_own_vmid() {
    let mut space = Space::alone();
    let other = Space::new(2);
    space.set(0);
    invalidate(space.vttbr, Scope::Page(PAGE));
    assert_eq!((stale_entries(space.vttbr), current_vttbr()), (0, other.vttbr));
    space.set(LEAF + 0x1000);
}

#[test]
#[should_panic(expected = "an address space under a VMID that is not its own")]
fn a_root_with_a_foreign_vmid_is_caught() {
    let space = Space::alone();
    set_vttbr(Vttbr::from_bits(space.vttbr.bits() ^ 3 << 48));
}

#[test]
#[should_panic(expected = "two address spaces with one VMID")]
fn two_address_spaces_with_one_vmid_are_caught() {
    let _space = Space::alone();
    let _other = Space::new(1);
}

#[test]
#[should_panic(expected = "a table freed before the invalidation")]
fn a_table_freed_before_the_invalidation_is_caught() {
    let mut space = Space::alone();
    let third = space.second().unlink(0).unwrap();
    dsb_ish();
    core::mem::forget(third.into_pages());
}

#[test]
#[should_panic(expected = "a table freed before the invalidation")]
fn a_table_below_one_that_is_still_reached_is_caught_too() {
    let mut space = Space::alone();
    let mut second = space.root.edit().unlink(1).unwrap();
    let third = second.edit().unlink(0).unwrap();
    core::mem::forget(third.into_pages());
}

#[test]
#[should_panic(expected = "a table linked again before the invalidation")]
fn a_table_linked_again_before_the_invalidation_is_caught() {
    let mut space = Space::alone();
    let third = space.second().unlink(0).unwrap();
    space.second().link(7, third, 1).unwrap();
}

#[test]
#[should_panic(expected = "reuse before the invalidation")]
fn a_table_in_the_place_of_a_block_without_invalidation_is_caught() {
    let mut space = Space::alone();
    space.second().set_leaf(3, 0x0040_0000_8000_07fd);
    space.second().set_leaf(3, 0);
    space.second().link(3, table(), 0).unwrap();
}

#[test]
#[should_panic(expected = "a root freed while VTTBR_EL2 selects it")]
fn a_root_freed_while_it_is_selected_is_caught() {
    let space = Space::alone();
    core::mem::forget(space.root.into_pages());
}

#[test]
#[should_panic(expected = "a root freed before the invalidation")]
fn a_root_freed_before_the_invalidation_is_caught() {
    let mut space = Space::alone();
    space.set(0);
    core::mem::forget(space.root.into_pages());
}

#[test]
fn a_core_that_needs_it_makes_every_invalidation_twice() {
    let mut space = Space::alone();
    space.set(0);
    take_combined();
    invalidate(space.vttbr, Scope::Page(PAGE));
    assert_eq!(take_combined(), 1);
    crate::arch::errata::note(0x410f_d083);
    invalidate(space.vttbr, Scope::Page(PAGE));
    assert_eq!(take_combined(), 1, "an A72 does not");
    crate::arch::errata::note(0x410f_d0b0); // for good, which no other test minds
    invalidate(space.vttbr, Scope::Page(PAGE));
    assert_eq!(take_combined(), 2);
    assert_eq!(stale_entries(space.vttbr), 0);
}

#[path = "vmid_tests.rs"]
mod vmids;
