//! Address spaces: every refusal, and what each change does to translations, tables and the ledger.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{EXECUTE, READ, WRITE, World, attr, count, ipa, pa};
use strato_abi::addr::{IPA_BITS, Ipa};
use strato_hyp::arch::ram::Pa;
use strato_hyp::memory::descriptor::{Attr, Level, MemoryType};
use strato_hyp::memory::stage2::{Access, Progress, SpaceError};

/// First page of guest RAM.
const RAM: u64 = 0x4000_0000 >> 12;
/// Frame number that is a multiple of 1 GiB and no RAM of the tests.
const FAR: u64 = 0x10_0000_0000 >> 12;

impl World {
    fn map(&mut self, page: u64, frame: u64, pages: u64) -> Result<(u64, Level), SpaceError> {
        let mapped = self.space.map(ipa(page), pa(frame), pages, attr(READ | WRITE), &mut self.source)?;
        Ok((mapped.pages, mapped.level))
    }

    fn unmap(&mut self, page: u64, pages: u64) -> Result<u64, SpaceError> {
        self.space.unmap(ipa(page), pages, &mut self.source)
    }

    fn frame(&self, page: u64) -> Option<u64> {
        self.space.query(ipa(page)).map(|leaf| leaf.pa.frame())
    }
}

#[test]
fn a_mapped_page_translates_and_an_unmapped_one_does_not() {
    let mut world = World::new();
    assert_eq!(world.map(RAM, FAR + 7, 1), Ok((1, Level::Three)));
    assert_eq!((world.frame(RAM), world.frame(RAM + 1), world.frame(RAM - 1)), (Some(FAR + 7), None, None));
    let leaf = world.space.query(Ipa::new(0x4000_0123).unwrap()).unwrap();
    assert_eq!((leaf.pa.frame(), leaf.attr, leaf.level), (FAR + 7, attr(READ | WRITE), Level::Three));
    assert_eq!(world.unmap(RAM, 1), Ok(1));
    assert_eq!(world.frame(RAM), None);
    assert_eq!(world.source.unmapped, [(FAR + 7, 1)]);
    assert_eq!(world.end(), []);
}

#[test]
fn a_range_that_is_empty_misaligned_at_page_0_or_beyond_the_end_is_refused() {
    let mut world = World::new();
    let last = (1 << (IPA_BITS - 12)) - 1;
    for (page, pages) in [(RAM, 0), (0, 1), (0, 5), (last, 2), (RAM, u64::MAX), (RAM, 1 << 52), (RAM, u64::MAX >> 12)] {
        assert_eq!(world.map(page, FAR, pages), Err(SpaceError::BadRange), "map {page:#x} {pages:#x}");
        assert_eq!(world.unmap(page, pages), Err(SpaceError::BadRange), "unmap {page:#x} {pages:#x}");
        let refused = world.space.protect(ipa(page), pages, attr(READ), &mut world.source);
        assert_eq!(refused, Err(SpaceError::BadRange), "protect {page:#x} {pages:#x}");
    }
    let crooked = Ipa::new(0x4000_0008).unwrap();
    let refused = world.space.map(crooked, pa(FAR), 1, attr(READ), &mut world.source);
    assert_eq!(refused, Err(SpaceError::BadRange));
    let refused = world.space.map(ipa(RAM), Pa::new(0x5000_0008).unwrap(), 1, attr(READ), &mut world.source);
    assert_eq!(refused, Err(SpaceError::BadRange));
    assert_eq!(world.map(RAM, (1 << 36) - 1, 2), Err(SpaceError::BadRange));
    assert_eq!(world.map(last, FAR, 1), Ok((1, Level::Three)));
    assert_eq!(world.space.tables(), 3);
    assert_eq!(world.end(), [(FAR, 1)]);
}

#[test]
fn mapping_over_a_page_a_block_or_the_parts_of_one_is_refused_and_changes_nothing() {
    let mut world = World::new();
    assert_eq!(world.map(RAM + 1, FAR, 1), Ok((1, Level::Three)));
    let tables = world.space.tables();
    for (page, pages) in [(RAM + 1, 1), (RAM, 2), (RAM, 128), (RAM, 512), (RAM, 1 << 18)] {
        assert_eq!(world.map(page, FAR + (1 << 18), pages), Err(SpaceError::Exists), "{page:#x} {pages}");
    }
    assert_eq!(world.map(RAM + 512, FAR + 512, 512), Ok((512, Level::Two)));
    for (page, pages) in [(RAM + 512, 1), (RAM + 1023, 1), (RAM + 511, 2), (RAM + 512, 512)] {
        assert_eq!(world.map(page, FAR, pages), Err(SpaceError::Exists), "{page:#x} {pages}");
    }
    assert_eq!(world.map(2 * RAM, FAR, 1 << 18), Ok((1 << 18, Level::One)));
    assert_eq!(world.map(2 * RAM + 77, FAR, 1), Err(SpaceError::Exists));
    assert_eq!((world.space.tables(), world.source.account.used()), (tables, tables));
    assert_eq!(count(&world.end()), 1 + 512 + (1 << 18));
}

#[test]
fn blocks_are_used_where_both_addresses_and_the_size_allow() {
    let mut world = World::new();
    // 512 GiB less 1 GiB in GiB blocks: 128 in one call.
    assert_eq!(world.map(RAM, FAR, 511 << 18), Ok((128 << 18, Level::One)));
    assert_eq!(world.space.tables(), 1);
    assert_eq!(world.frame(RAM + (5 << 18) + 12345), Some(FAR + (5 << 18) + 12345));
    assert_eq!(world.unmap(RAM, 128 << 18), Ok(128 << 18));
    // The physical address decides too.
    assert_eq!(world.map(RAM, FAR + 512, 1 << 18), Ok((128 << 9, Level::Two)));
    assert_eq!(world.unmap(RAM, 128 << 9), Ok(128 << 9));
    assert_eq!(world.map(RAM, FAR + 1, 1 << 18), Ok((128, Level::Three)));
    world.end();
}

#[test]
fn one_call_may_go_from_pages_over_blocks_to_pages() {
    let mut world = World::new();
    let start = RAM + 512 - 20;
    let pages = 20 + 3 * 512 + 30;
    assert_eq!(world.map(start, FAR + 512 - 20, pages), Ok((pages, Level::Three)));
    assert_eq!(world.space.tables(), 4);
    for offset in [0, 19, 20, 600, 20 + 3 * 512, pages - 1] {
        assert_eq!(world.frame(start + offset), Some(FAR + 512 - 20 + offset), "{offset}");
    }
    assert_eq!((world.frame(start - 1), world.frame(start + pages)), (None, None));
    assert_eq!(world.unmap(start, pages), Ok(pages));
    assert_eq!(count(&world.source.unmapped), pages);
    assert_eq!(world.space.tables(), 2, "root and spare");
    world.end();
}

#[test]
fn a_call_stops_after_128_units_and_when_an_interrupt_waits_and_goes_on_from_there() {
    let mut world = World::new();
    assert_eq!(world.map(RAM, FAR + 1, 200), Ok((128, Level::Three)));
    assert_eq!(world.map(RAM + 128, FAR + 129, 72), Ok((72, Level::Three)));
    assert_eq!(world.unmap(RAM, 200), Ok(128));
    world.source.looks = 2;
    assert_eq!(world.unmap(RAM + 128, 72), Ok(48));
    assert_eq!((world.frame(RAM + 175), world.frame(RAM + 176)), (None, Some(FAR + 177)));
    world.source.looks = 0;
    assert_eq!(world.map(RAM, FAR + 1, 128), Ok((16, Level::Three)));
    world.source.looks = 1;
    let narrowed = world.space.protect(ipa(RAM + 176), 24, attr(READ), &mut world.source);
    assert_eq!(narrowed, Ok(24));
    world.source.looks = 0;
    assert_eq!(world.map(RAM - 8, FAR + 1000, 8), Ok((8, Level::Three)));
    world.end();
}

#[test]
fn an_interrupt_between_two_tables_leaves_none_of_them_empty() {
    let mut world = World::new();
    world.source.looks = 0;
    // 16 pages to the end of the table, then an interrupt.
    assert_eq!(world.map(RAM + 512 - 16, FAR, 100), Ok((16, Level::Three)));
    assert_eq!(world.frame(RAM + 512), None);
    world.source.looks = u64::MAX;
    assert_eq!(world.map(RAM + 512, FAR + 512, 512), Ok((512, Level::Two)));
    world.end();
}

#[test]
fn without_a_frame_or_quota_for_a_table_nothing_is_mapped() {
    let mut world = World::new();
    for tables in 0..2 {
        world.source.tables = tables;
        assert_eq!(world.map(RAM, FAR + 1, 2), Err(SpaceError::NoMemory));
        assert_eq!((world.frame(RAM), world.space.tables()), (None, 1 + tables));
    }
    world.source.tables = u64::MAX;
    let taken = 200 - world.source.account.used();
    let hoard: Vec<_> = (0..taken)
        .map(|_| {
            world.source.allocator.take(0, strato_hyp::allocator::Kind::Object, &mut world.source.account).unwrap()
        })
        .collect();
    assert_eq!(world.map(RAM, FAR + 1, 2), Err(SpaceError::Quota));
    for pages in hoard {
        world.source.allocator.give_back(pages, &mut world.source.account).unwrap();
    }
    assert_eq!(world.map(RAM, FAR + 1, 2), Ok((2, Level::Three)));
    world.end();
}

#[test]
fn unmapping_a_hole_is_refused_and_unmaps_nothing() {
    let mut world = World::new();
    assert_eq!(world.unmap(RAM, 1), Err(SpaceError::NotMapped));
    world.map(RAM, FAR + 1, 3).unwrap();
    world.map(RAM + 4, FAR + 5, 1).unwrap();
    for (page, pages) in [(RAM + 3, 1), (RAM, 5), (RAM + 2, 2), (RAM + 512, 1), (RAM + (1 << 18), 1)] {
        assert_eq!(world.unmap(page, pages), Err(SpaceError::NotMapped), "{page:#x} {pages}");
    }
    assert!(world.source.unmapped.is_empty());
    assert_eq!(world.end(), [(FAR + 1, 3), (FAR + 5, 1)]);
}

#[test]
fn unmapping_a_part_of_a_block_splits_it_and_the_rest_translates_as_before() {
    let mut world = World::new();
    world.map(2 * RAM, FAR, 1 << 18).unwrap();
    assert_eq!(world.unmap(2 * RAM + 700, 3), Ok(3));
    assert_eq!(world.space.tables(), 3);
    for page in [0, 699, 703, 511, 1024, (1 << 18) - 1] {
        assert_eq!(world.frame(2 * RAM + page), Some(FAR + page), "{page}");
    }
    for page in 700..703 {
        assert_eq!(world.frame(2 * RAM + page), None);
    }
    assert_eq!(count(&world.end()), (1 << 18) - 3);
}

#[test]
fn a_split_without_a_frame_for_the_table_is_refused_and_translations_stay() {
    let mut world = World::new();
    world.map(2 * RAM, FAR, 1 << 18).unwrap();
    for tables in 0..2 {
        world.source.tables = tables;
        assert_eq!(world.unmap(2 * RAM + 700, 3), Err(SpaceError::NoMemory));
        let refused = world.space.protect(ipa(2 * RAM + 700), 3, attr(READ), &mut world.source);
        assert_eq!(refused, Err(SpaceError::NoMemory));
        for page in [0, 699, 700, 702, 703, (1 << 18) - 1] {
            assert_eq!(world.frame(2 * RAM + page), Some(FAR + page), "{page}");
        }
    }
    world.end();
}

#[test]
fn protect_changes_rights_and_nothing_else() {
    let mut world = World::new();
    world.map(RAM, FAR, 1024).unwrap();
    let narrowed = world.space.protect(ipa(RAM + 100), 2, attr(READ | EXECUTE), &mut world.source);
    assert_eq!(narrowed, Ok(2));
    for (page, rights) in [(99, READ | WRITE), (100, READ | EXECUTE), (101, READ | EXECUTE), (102, READ | WRITE)] {
        let leaf = world.space.query(ipa(RAM + page)).unwrap();
        assert_eq!((leaf.pa.frame(), leaf.attr.rights()), (FAR + page, rights));
    }
    assert!(world.space.permits(ipa(RAM + 100), Access::Execute));
    assert!(!world.space.permits(ipa(RAM + 100), Access::Write));
    assert!(!world.space.permits(ipa(RAM + 99), Access::Execute));
    assert!(!world.space.permits(ipa(RAM + 1024), Access::Read));
    assert!(world.source.unmapped.is_empty());
    world.end();
}

#[test]
fn protect_refuses_holes_and_another_memory_type_and_changes_nothing() {
    let mut world = World::new();
    world.map(RAM, FAR + 1, 2).unwrap();
    let device = Attr::new(READ, MemoryType::Device, false).unwrap();
    let refused = world.space.protect(ipa(RAM), 1, device, &mut world.source);
    assert_eq!(refused, Err(SpaceError::BadAttribute));
    let refused = world.space.protect(ipa(RAM), 3, attr(READ), &mut world.source);
    assert_eq!(refused, Err(SpaceError::NotMapped));
    assert_eq!(world.space.query(ipa(RAM)).unwrap().attr, attr(READ | WRITE));
    world.end();
}

#[test]
fn a_lone_page_that_comes_and_goes_takes_its_tables_along_and_keeps_one_spare() {
    let mut world = World::new();
    for _ in 0..10 {
        world.map(RAM, FAR + 1, 1).unwrap();
        assert_eq!((world.space.tables(), world.source.account.used()), (3, 3));
        world.unmap(RAM, 1).unwrap();
        assert_eq!((world.space.tables(), world.source.account.used()), (2, 2));
    }
    world.end();
}

#[test]
fn an_address_space_that_is_being_torn_down_refuses_changes_and_ends_in_bounded_steps() {
    let mut world = World::new();
    world.map(RAM, FAR + 1, 100).unwrap();
    world.map(2 * RAM, FAR, 1 << 18).unwrap();
    assert_eq!(world.space.teardown_step(&mut world.source), Progress::More);
    assert_eq!(world.map(RAM + 200, FAR, 1), Err(SpaceError::Dying));
    assert_eq!(world.unmap(RAM, 1), Err(SpaceError::Dying));
    let refused = world.space.protect(ipa(RAM), 1, attr(READ), &mut world.source);
    assert_eq!(refused, Err(SpaceError::Dying));
    assert_eq!(count(&world.end()), 100 + (1 << 18));
}

#[test]
fn a_space_that_is_not_torn_down_yet_cannot_be_finished() {
    let mut world = World::new();
    world.map(RAM, FAR + 1, 1).unwrap();
    let World { space, mut source, .. } = world;
    assert!(space.finish(&mut source).is_err());
}
