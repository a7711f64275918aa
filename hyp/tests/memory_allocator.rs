//! The allocator: every refusal, and that nothing is ever lost, doubled, dirty or over quota.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{account, allocator, free, steps, use_up, zero};
use strato_hyp::allocator::{AllocError, Allocator, Kind, MAX_ORDER, Owner};
use strato_hyp::arch::backing;
use strato_hyp::arch::ram::{Pa, Pages};

#[test]
fn all_frames_are_free_at_first_but_those_of_the_ledger() {
    let audit = allocator(100).audit().unwrap();
    assert_eq!((audit.total, audit.pool, audit.vms), (97, 97, 0));
}

#[test]
fn ram_without_room_for_the_ledger_comes_back() {
    let mut regions = heapless::Vec::<Pages, 4>::new();
    regions.push(backing::ram(2, 1)).unwrap();
    regions.push(backing::ram(3, 1)).unwrap();
    let regions = Allocator::new(regions).err().unwrap();
    assert_eq!(regions.iter().map(Pages::count).sum::<usize>(), 5);
    regions.into_iter().for_each(core::mem::forget);
    assert!(Allocator::new(heapless::Vec::<Pages, 4>::new()).is_err());
}

#[test]
fn regions_apart_are_all_used_and_never_joined_across_the_hole() {
    let (low, rest) = backing::ram(64, 64).split_at(21).unwrap();
    let (hole, high) = rest.split_at(1).unwrap();
    let mut regions = heapless::Vec::<Pages, 4>::new();
    regions.push(low).unwrap();
    regions.push(high).unwrap();
    let mut allocator = Allocator::new(regions).unwrap_or_else(|_| panic!("room for a ledger"));
    let baseline = allocator.audit().unwrap();
    assert_eq!(baseline.total, 21 + 42 - 3);
    let mut account = account(1, 1000);
    let mut taken = Vec::new();
    while let Ok(pages) = allocator.take(0, Kind::Object, &mut account) {
        assert_ne!(pages.pa(), hole.pa());
        taken.push(pages);
    }
    assert_eq!(taken.len(), 60);
    for pages in taken {
        allocator.give_back(pages, &mut account).unwrap();
        allocator.audit().unwrap();
    }
    assert_eq!(allocator.audit(), Ok(baseline));
    core::mem::forget(hole);
}

#[test]
fn frames_are_aligned_by_their_size_and_zero_whoever_had_them_before() {
    let mut allocator = allocator(300);
    let mut account = account(1, 1000);
    for order in [0, 3, 5, 7, 4, 0] {
        let pages = zero(allocator.take(order, Kind::Object, &mut account).unwrap());
        assert_eq!(pages.count(), 1 << order);
        assert_eq!(pages.pa().frame() % (1 << order), 0);
        allocator.give_back(use_up(pages), &mut account).unwrap();
    }
    assert_eq!(account.used(), 0);
}

#[test]
fn a_take_over_the_quota_is_refused_and_takes_nothing() {
    let mut allocator = allocator(100);
    let baseline = allocator.audit();
    let mut account = account(1, 7);
    assert_eq!(allocator.take(3, Kind::Object, &mut account).err(), Some(AllocError::Quota));
    assert_eq!((allocator.audit(), account.used()), (baseline, 0));
    let pages = allocator.take(2, Kind::Object, &mut account).unwrap();
    assert_eq!(allocator.mem_create(2, &mut account), Err(AllocError::Quota));
    assert_eq!((account.used(), allocator.pages_of(Owner::Vm(1))), (4, 4));
    allocator.give_back(pages, &mut account).unwrap();
}

#[test]
fn a_take_of_more_than_there_is_is_refused_and_charges_nothing() {
    let mut allocator = allocator(100);
    let mut account = account(1, u64::MAX);
    for order in [7, MAX_ORDER, MAX_ORDER + 1, 63, 64, u32::MAX] {
        assert_eq!(allocator.take(order, Kind::Object, &mut account).err(), Some(AllocError::NoMemory), "{order}");
        assert_eq!(allocator.begin_take(order, Kind::Mem, &mut account).err(), Some(AllocError::NoMemory), "{order}");
    }
    assert_eq!(account.used(), 0);
}

#[test]
fn frames_of_another_owner_or_parts_of_an_extent_are_not_taken_back() {
    let mut allocator = allocator(100);
    let (mut own, mut other) = (account(1, 100), account(2, 100));
    let pages = allocator.take(3, Kind::Object, &mut own).unwrap();
    let pages = allocator.give_back(pages, &mut other).unwrap_err();
    let (low, high) = pages.split_at(4).unwrap();
    let low = allocator.give_back(low, &mut own).unwrap_err();
    let high = allocator.give_back(high, &mut own).unwrap_err();
    let foreign = allocator.give_back(backing::ram(1, 1), &mut own).unwrap_err();
    core::mem::forget(foreign);
    allocator.give_back(Pages::join(low, high).unwrap(), &mut own).unwrap();
    assert_eq!((own.used(), other.used()), (0, 0));
}

#[test]
fn a_large_take_is_scrubbed_16_frames_a_step() {
    let mut allocator = allocator(200);
    let mut account = account(1, 200);
    let mut scrub = allocator.begin_take(6, Kind::Mem, &mut account).unwrap();
    assert_eq!([scrub.step(), scrub.step(), scrub.step()], [false, false, false]);
    let mut scrub = scrub.finish().unwrap_err();
    assert!(scrub.step() && scrub.step());
    let id = allocator.mem_finish(scrub.finish().unwrap()).unwrap();
    assert_eq!(allocator.mem_info(id).unwrap().pages, 64);
    free(&mut allocator, id, &mut account);
}

#[test]
fn only_clean_frames_taken_for_it_become_a_mem_object() {
    let mut allocator = allocator(100);
    let mut account = account(1, 100);
    let object = allocator.take(1, Kind::Object, &mut account).unwrap();
    let object = allocator.mem_finish(object).unwrap_err();
    allocator.give_back(object, &mut account).unwrap();
    let dirty = use_up(allocator.take(1, Kind::Mem, &mut account).unwrap());
    let dirty = allocator.mem_finish(dirty).unwrap_err();
    allocator.give_back(dirty, &mut account).unwrap();
}

#[test]
fn a_mem_object_tells_what_it_is_and_is_found_by_address() {
    let mut allocator = allocator(100);
    let mut account = account(9, 100);
    let id = allocator.mem_create(4, &mut account).unwrap();
    let info = allocator.mem_info(id).unwrap();
    assert_eq!((info.pages, info.owner, info.mapped, info.references), (16, Owner::Vm(9), 0, 0));
    let frames = allocator.mem_frames(id).unwrap();
    assert_eq!((frames.pa(), frames.bytes()), (info.base, 16 << 12));
    let inside = info.base.checked_add((11 << 12) + 5).unwrap();
    assert_eq!(allocator.mem_at(inside), Some((id, 11)));
    assert_eq!(allocator.mem_at(info.base.checked_add(16 << 12).unwrap()), None);
    assert_eq!(allocator.mem_at(Pa::new(0x1000).unwrap()), None);
    assert_eq!(allocator.mem_at(Pa::new((1 << 48) - 1).unwrap()), None);
    free(&mut allocator, id, &mut account);
    assert_eq!(allocator.mem_at(inside), None);
}

#[test]
fn a_mem_object_is_busy_while_it_is_mapped_referred_to_or_not_the_callers() {
    let mut allocator = allocator(100);
    let (mut own, other) = (account(1, 100), account(2, 100));
    let id = allocator.mem_create(3, &mut own).unwrap();
    allocator.mem_add_mapped(id, 5).unwrap();
    allocator.mem_add_reference(id).unwrap();
    assert_eq!(allocator.mem_free(id, &own).err(), Some(AllocError::Busy));
    allocator.mem_sub_mapped(id, 5).unwrap();
    assert_eq!(allocator.mem_free(id, &own).err(), Some(AllocError::Busy));
    assert_eq!(allocator.mem_drop_reference(id), Ok(0));
    assert_eq!(allocator.mem_free(id, &other).err(), Some(AllocError::Busy));
    allocator.mem_add_mapped(id, u32::MAX).unwrap();
    assert_eq!(allocator.mem_add_mapped(id, 1), Err(AllocError::Busy));
    allocator.mem_sub_mapped(id, u32::MAX).unwrap();
    for _ in 0..u16::MAX {
        allocator.mem_add_reference(id).unwrap();
    }
    assert_eq!(allocator.mem_add_reference(id), Err(AllocError::Busy));
    for _ in 0..u16::MAX {
        allocator.mem_drop_reference(id).unwrap();
    }
    free(&mut allocator, id, &mut own);
}

#[test]
fn the_name_of_a_freed_mem_object_is_stale_for_ever() {
    let mut allocator = allocator(100);
    let mut account = account(1, 100);
    let mut names = Vec::new();
    for _ in 0..20 {
        let id = allocator.mem_create(3, &mut account).unwrap();
        assert!(!names.contains(&id));
        let pages = steps(allocator.mem_free(id, &account).unwrap());
        assert_eq!(allocator.mem_info(id), None, "from the moment of its end");
        allocator.give_back(pages, &mut account).unwrap();
        names.push(id);
    }
    let last = allocator.mem_create(3, &mut account).unwrap();
    for &id in &names {
        assert_eq!(allocator.mem_info(id), None);
        assert!(allocator.mem_frames(id).is_none());
        assert_eq!(allocator.mem_add_mapped(id, 1), Err(AllocError::Stale));
        assert_eq!(allocator.mem_sub_mapped(id, 1), Err(AllocError::Stale));
        assert_eq!(allocator.mem_add_reference(id), Err(AllocError::Stale));
        assert_eq!(allocator.mem_drop_reference(id), Err(AllocError::Stale));
        assert_eq!(allocator.mem_free(id, &account).err(), Some(AllocError::Stale));
    }
    free(&mut allocator, last, &mut account);
}

#[test]
fn what_one_vm_wrote_the_next_does_not_find() {
    let mut allocator = allocator(300);
    let (mut first, mut second) = (account(1, 300), account(2, 300));
    let id = allocator.mem_create(6, &mut first).unwrap();
    assert!(allocator.mem_frames(id).unwrap().write(0, &[0xee; 64 << 12]));
    free(&mut allocator, id, &mut first);
    let ids: Vec<_> = std::iter::from_fn(|| allocator.mem_create(0, &mut second).ok()).collect();
    assert!(ids.len() > 64);
    for id in ids {
        let mut bytes = vec![1; 4096];
        assert!(allocator.mem_frames(id).unwrap().read(0, &mut bytes));
        assert!(bytes.iter().all(|&byte| byte == 0));
        free(&mut allocator, id, &mut second);
    }
}

#[test]
fn pages_unmapped_in_one_run_are_counted_for_each_object_they_belong_to() {
    let mut allocator = allocator(100);
    let mut account = account(1, 100);
    let ids: Vec<_> = (0..8).map(|_| allocator.mem_create(2, &mut account).unwrap()).collect();
    let mut bases: Vec<_> = ids.iter().map(|&id| (allocator.mem_info(id).unwrap().base, id)).collect();
    bases.sort_by_key(|(base, _)| *base);
    let beside = bases.windows(2).find(|pair| pair[0].0.checked_add(4 << 12) == Some(pair[1].0)).unwrap();
    let ((base, low), (_, high)) = (beside[0], beside[1]);
    allocator.mem_add_mapped(low, 4).unwrap();
    allocator.mem_add_mapped(high, 4).unwrap();
    allocator.mem_unmapped(base.checked_add(1 << 12).unwrap(), 5);
    assert_eq!(allocator.mem_info(low).unwrap().mapped, 1);
    assert_eq!(allocator.mem_info(high).unwrap().mapped, 2);
    allocator.mem_unmapped(Pa::new(0x1000).unwrap(), 5);
    allocator.mem_sub_mapped(low, 1).unwrap();
    allocator.mem_sub_mapped(high, 2).unwrap();
    ids.into_iter().for_each(|id| free(&mut allocator, id, &mut account));
}

#[test]
fn the_ledger_grows_with_the_number_of_extents_and_all_of_it_comes_back() {
    let mut allocator = allocator(if cfg!(miri) { 400 } else { 2000 });
    let baseline = allocator.audit().unwrap();
    let mut account = account(1, 10_000);
    let taken: Vec<_> = std::iter::from_fn(|| allocator.take(0, Kind::Table, &mut account).ok()).collect();
    let full = allocator.audit().unwrap();
    assert_eq!((full.tables, full.pool), (taken.len() as u64, baseline.pool - taken.len() as u64));
    assert!(full.pool >= taken.len() as u64 / 128, "what the ledger took stays the pool's");
    // Every other one first, so that nothing joins until the rest comes.
    let (even, odd): (Vec<_>, Vec<_>) = taken.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    for (_, pages) in even.into_iter().chain(odd) {
        allocator.give_back(pages, &mut account).unwrap();
    }
    assert_eq!(allocator.audit(), Ok(baseline));
}

#[test]
fn a_split_makes_two_objects_that_join_again_in_the_pool() {
    let mut allocator = allocator(100);
    let baseline = allocator.audit().unwrap();
    let (mut own, other) = (account(1, 100), account(2, 100));
    let id = allocator.mem_create(3, &mut own).unwrap();
    assert_eq!(allocator.mem_split(id, &own), Err(AllocError::Busy), "nobody holds it");
    allocator.mem_add_reference(id).unwrap();
    assert_eq!(allocator.mem_split(id, &other), Err(AllocError::Busy));
    allocator.mem_add_mapped(id, 1).unwrap();
    assert_eq!(allocator.mem_split(id, &own), Err(AllocError::Busy));
    allocator.mem_sub_mapped(id, 1).unwrap();
    let (second, base) = allocator.mem_split(id, &own).unwrap();
    assert_eq!(allocator.mem_at(base), Some((second, 0)));
    assert_eq!(allocator.mem_info(id).unwrap().pages, 4);
    assert_eq!((own.used(), allocator.pages_of(Owner::Vm(1))), (8, 8), "the quota is the same");
    allocator.audit().unwrap();
    allocator.mem_add_reference(second).unwrap();
    assert_eq!(allocator.mem_free_held(second, &own).err(), Some(AllocError::Busy), "others hold it too");
    allocator.mem_drop_reference(second).unwrap();
    assert_eq!(allocator.mem_free_held(second, &other).err(), Some(AllocError::Busy));
    assert_eq!(allocator.mem_info(second).unwrap().references, 1, "a refusal changes nothing");
    for id in [second, id] {
        let pages = steps(allocator.mem_free_held(id, &own).unwrap());
        allocator.give_back(pages, &mut own).unwrap();
    }
    assert_eq!(allocator.audit(), Ok(baseline));
}
