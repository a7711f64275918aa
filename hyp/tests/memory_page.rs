//! One page by the short ways: what they take, what they leave to the long ones, and that these find the same afterwards.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{EXECUTE, READ, WRITE, World, attr, ipa, pa};
use strato_abi::addr::Ipa;
use strato_abi::handle::Rights;
use strato_hyp::memory::descriptor::{Attr, Level, MemoryType, RamAttrs};

/// First page of guest RAM.
const RAM: u64 = 0x4000_0000 >> 12;
/// Frame number that is a multiple of 1 GiB and no RAM of the tests.
const FAR: u64 = 0x10_0000_0000 >> 12;

impl World {
    fn map_long(&mut self, page: u64, frame: u64, pages: u64) {
        let mapped = self.space.map(ipa(page), pa(frame), pages, attr(READ | WRITE), &mut self.source).unwrap();
        assert_eq!(mapped.pages, pages);
    }

    fn map_short(&mut self, page: u64, frame: u64) -> bool {
        self.space.vacant(ipa(page), Level::Three).map(|vacant| vacant.fill(pa(frame), attr(READ))).is_some()
    }

    fn frame(&self, page: u64) -> Option<u64> {
        self.space.query(ipa(page)).map(|leaf| leaf.pa.frame())
    }
}

#[test]
fn a_page_goes_the_short_way_when_its_table_is_there_and_its_entry_is_free() {
    let mut world = World::new();
    assert!(!world.map_short(RAM, FAR), "no table");
    world.map_long(RAM, FAR, 1);
    assert!(world.map_short(RAM + 1, FAR + 9));
    assert_eq!((world.frame(RAM), world.frame(RAM + 1)), (Some(FAR), Some(FAR + 9)));
    assert!(!world.map_short(RAM + 1, FAR + 10), "mapped already");
    assert!(!world.map_short(RAM + 512, FAR), "no table");
    world.map_long(RAM + 1024, FAR + 1024, 512);
    assert!(!world.map_short(RAM + 1030, FAR), "a block");
    assert!(world.space.vacant(Ipa::new(0x4000_2008).unwrap(), Level::Three).is_none(), "not aligned");
    world.map_long(1, FAR + 1, 1);
    assert!(!world.map_short(0, FAR), "page 0, whose table is there");
    assert_eq!(world.end().len(), 4);
}

#[test]
fn a_page_is_taken_the_short_way_unless_it_is_the_last_of_its_table_or_no_page() {
    let mut world = World::new();
    assert_eq!(world.space.take_page(ipa(RAM), |_| true), None, "no table");
    world.map_long(RAM, FAR, 2);
    assert_eq!(world.space.take_page(ipa(RAM + 2), |_| true), None, "not mapped");
    assert_eq!(world.space.take_page(Ipa::new(0x4000_0008).unwrap(), |_| true), None, "not aligned");
    assert_eq!(world.space.take_page(ipa(RAM), |at| at != pa(FAR)), None, "to another page");
    assert_eq!(world.space.take_page(ipa(RAM), |at| at == pa(FAR)), Some(pa(FAR)));
    assert_eq!((world.frame(RAM), world.frame(RAM + 1)), (None, Some(FAR + 1)));
    assert_eq!(world.space.take_page(ipa(RAM + 1), |_| true), None, "the last");
    world.map_long(RAM + 1024, FAR + 1024, 512);
    assert_eq!(world.space.take_page(ipa(RAM + 1024), |_| true), None, "a block");
    assert_eq!(world.space.unmap(ipa(RAM + 1), 1, &mut world.source), Ok(1));
    assert_eq!(world.end(), [(FAR + 1024, 512)]);
}

#[test]
fn counts_stay_exact_so_that_a_table_goes_with_its_last_page_whichever_ways_it_was_used() {
    let mut world = World::new();
    world.map_long(RAM, FAR, 1);
    let tables = world.space.tables();
    for round in 0..3 {
        for page in 1..512 {
            assert!(world.map_short(RAM + page, FAR + page), "{round} {page}");
        }
        for page in 1..512 {
            assert_eq!(world.space.take_page(ipa(RAM + page), |_| true), Some(pa(FAR + page)), "{round} {page}");
        }
    }
    assert_eq!(world.space.tables(), tables);
    assert_eq!(world.space.unmap(ipa(RAM), 1, &mut world.source), Ok(1));
    assert_eq!(world.space.tables(), 2, "the root, and one table kept for the next need");
    assert_eq!(world.end(), []);
}

#[test]
fn a_space_with_something_left_or_at_its_end_is_not_settled() {
    let mut world = World::new();
    world.map_long(RAM, FAR, 4);
    assert!(world.space.is_settled());
    assert_eq!(world.space.unmap_later(ipa(RAM), 1, 0, &mut world.source), Ok(1));
    assert!(!world.space.is_settled());
    world.space.sync(&mut world.source).unwrap();
    assert!(world.space.is_settled());
    let _ = world.space.teardown_step(&mut world.source);
    assert!(!world.space.is_settled());
    world.end();
}

#[test]
fn an_unmapping_in_more_pieces_than_are_kept_is_complete_at_once() {
    let mut world = World::new();
    // A page, a block of 2 MiB, one of 1 GiB, 2 MiB, a page: five pieces.
    let (page, pages) = ((2 << 18) - 513, 1 + 512 + (1 << 18) + 512 + 1);
    world.map_long(page, FAR + page, pages);
    assert_eq!(world.space.unmap_later(ipa(page), pages, 0, &mut world.source), Ok(pages));
    assert!(world.space.is_settled());
    assert_eq!(world.source.unmapped.iter().map(|(_, pages)| pages).sum::<u64>(), pages);
    assert_eq!(world.end(), []);
}

#[test]
fn the_table_of_attributes_says_what_the_rules_say() {
    let all = Rights::READ | Rights::WRITE | Rights::EXECUTE | Rights::OWNER;
    for jit in [false, true] {
        let table = RamAttrs::new(jit);
        for rights in (0..8).map(strato_abi::address_space::Attributes::from_bits_truncate) {
            let ruled = Attr::new(rights, MemoryType::Normal, jit).ok();
            assert_eq!(
                table.get(rights, all),
                ruled.map(|attr| attr.up_to(READ | WRITE | EXECUTE)),
                "{rights:?} {jit}"
            );
            for most in (0..8).map(Rights::from_bits_truncate) {
                let allowed = ruled.filter(|_| rights.bits() & !u64::from(most.bits()) == 0);
                let most_of_leaf = strato_abi::address_space::Attributes::from_bits_truncate(u64::from(most.bits()));
                assert_eq!(table.get(rights, most), allowed.map(|attr| attr.up_to(most_of_leaf)));
            }
        }
    }
}
