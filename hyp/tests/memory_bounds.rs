//! How much one call does: fewer leaves where each costs more, never none, and everything in the end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{READ, Source, WRITE, World, attr, count, free, ipa, pa};

/// First page of guest RAM.
const RAM: u64 = 0x4000_0000 >> 12;
/// Frame number that is a multiple of 1 GiB and no RAM of the tests.
const FAR: u64 = 0x10_0000_0000 >> 12;

impl World {
    fn map(&mut self, page: u64, frame: u64, pages: u64) {
        let mapped = self.space.map(ipa(page), pa(frame), pages, attr(READ | WRITE), &mut self.source).unwrap();
        assert_eq!(mapped.pages, pages);
    }

    /// Maps `pages` pages none of which is a neighbor in memory of the one before.
    fn scatter(&mut self, page: u64, pages: u64) {
        for by in 0..pages {
            self.map(page + by, FAR + 3 * by, 1);
        }
    }

    /// Returns what each call does until all of `pages` pages are done by `call`.
    fn calls(&mut self, page: u64, pages: u64, call: impl Fn(&mut Self, u64, u64) -> u64) -> Vec<u64> {
        let (mut done, mut calls) = (0, Vec::new());
        while done < pages {
            let more = call(self, page + done, pages - done);
            assert!(more != 0, "a call that does nothing: {calls:?}");
            done += more;
            calls.push(more);
        }
        calls
    }
}

fn unmap(world: &mut World, page: u64, pages: u64) -> u64 {
    world.space.unmap(ipa(page), pages, &mut world.source).unwrap()
}

fn unmap_later(world: &mut World, page: u64, pages: u64) -> u64 {
    world.space.unmap_later(ipa(page), pages, 0, &mut world.source).unwrap()
}

fn protect(world: &mut World, page: u64, pages: u64) -> u64 {
    world.space.protect(ipa(page), pages, attr(READ), &mut world.source).unwrap()
}

#[test]
fn pages_that_the_ledger_has_to_search_for_are_unmapped_a_few_a_call() {
    let mut world = World::new();
    world.scatter(RAM, 128);
    let calls = world.calls(RAM, 128, unmap);
    assert!(calls.iter().all(|&done| done <= 11), "{calls:?}");
    assert_eq!(count(&world.source.unmapped), 128);
    world.map(RAM, FAR, 128);
    assert_eq!(world.calls(RAM, 128, unmap), [128], "neighbors");
    assert_eq!(world.end(), []);
}

#[test]
fn neighbors_in_memory_that_are_objects_of_their_own_are_unmapped_a_few_a_call() {
    for call in [unmap, unmap_later] {
        let mut world = World::new();
        let Source { allocator, account, .. } = &mut world.source;
        let whole = allocator.mem_create(6, account).unwrap();
        allocator.mem_add_reference(whole).unwrap();
        let mut objects = vec![whole];
        for _ in 0..6 {
            objects = objects.iter().flat_map(|&id| [id, allocator.mem_split(id, account).unwrap().0]).collect();
        }
        objects.iter().for_each(|&id| allocator.mem_add_mapped(id, 1).unwrap());
        let first = allocator.mem_info(whole).unwrap().base.frame();
        // Something else keeps the table, so that the short way is tried.
        world.map(RAM, FAR, 1);
        world.map(RAM + 1, first, 64);
        let calls = world.calls(RAM + 1, 64, call);
        assert!(calls.iter().all(|&done| done <= 11), "{calls:?}");
        world.space.sync(&mut world.source).unwrap();
        let Source { allocator, account, .. } = &mut world.source;
        for id in objects {
            allocator.mem_drop_reference(id).unwrap();
            free(allocator, id, account);
        }
        world.end();
    }
}

#[test]
fn permissions_need_no_search_so_that_scattered_pages_are_done_at_once() {
    let mut world = World::new();
    world.scatter(RAM, 128);
    assert_eq!(world.calls(RAM, 128, protect), [128]);
    assert_eq!(world.end().len(), 128);
}

#[test]
fn what_was_left_is_bounded_too_and_counts_against_the_call_that_completes_it() {
    let mut world = World::new();
    world.scatter(RAM, 128);
    let told_by = |world: &mut World, page, pages| {
        let before = count(&world.source.unmapped);
        let done = unmap_later(world, page, pages);
        assert!(count(&world.source.unmapped) - before <= 32, "one call tells of {:?}", world.source.unmapped);
        done
    };
    let calls = world.calls(RAM, 128, told_by);
    assert!(calls.iter().all(|&done| done <= 11), "{calls:?}");
    world.map(RAM + 1024, FAR, 128); // completes the rest
    assert!(world.space.is_settled());
    assert_eq!(count(&world.source.unmapped), 128);
    world.scatter(RAM, 11);
    assert_eq!(unmap_later(&mut world, RAM, 11), 11);
    world.scatter(RAM + 20, 11); // completes them
    assert_eq!(unmap_later(&mut world, RAM + 20, 11), 11);
    let done = unmap(&mut world, RAM + 1024, 128);
    assert!((1..=128).contains(&done));
    world.calls(RAM + 1024 + done, 128 - done, unmap);
    assert_eq!(world.end(), []);
}

#[test]
fn a_call_splits_at_one_end_only_and_leaves_the_other_end_to_the_next() {
    let mut world = World::new();
    // Two blocks that are no neighbors in memory; the range begins in one and ends in the other.
    world.map(RAM, FAR, 512);
    world.map(RAM + 512, FAR + 1024, 512);
    let tables = world.space.tables();
    let calls = world.calls(RAM + 500, 100, |world, page, pages| {
        let before = world.space.tables();
        let done = unmap(world, page, pages);
        assert!(world.space.tables() - before <= 1);
        done
    });
    assert_eq!(calls.iter().sum::<u64>(), 100);
    assert_eq!(calls[0], 12, "to the end of the block that was split");
    assert_eq!(world.space.tables(), tables + 2);
    assert_eq!(count(&world.end()), 924);
}

#[test]
fn a_page_at_a_boundary_that_its_own_split_makes_is_done_by_that_call() {
    for call in [unmap, unmap_later, protect] {
        let mut world = World::new();
        world.map(RAM, FAR, 2 << 18);
        // The range begins where the split of 1 GiB ends one block of 2 MiB, and ends inside of the next.
        assert_eq!(world.calls(RAM + 512, 1, call), [1]);
        // Here there is a whole block before the one that has to be split.
        assert_eq!(world.calls(RAM + (1 << 18) + 512, 513, call), [512, 1]);
        world.end();
    }
}
