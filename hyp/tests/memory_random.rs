//! Address spaces under any order of calls: translations, tables and the ledger equal a model that is one map.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use std::collections::BTreeMap;

use memory_common::{EXECUTE, READ, WRITE, World, attr, frames, ipa, pa};
use proptest::prelude::*;
use strato_abi::address_space::Attributes;
use strato_hyp::arch::watch::stale_entries;
use strato_hyp::memory::descriptor::Level;
use strato_hyp::memory::source::TableSource;
use strato_hyp::memory::stage2::SpaceError;

/// Page of the address space -> frame and rights.
type Model = BTreeMap<u64, (u64, Attributes)>;

#[derive(Clone, Debug)]
enum Step {
    Map {
        page: u64,
        frame: u64,
        pages: u64,
        rights: Attributes,
    },
    Unmap {
        page: u64,
        pages: u64,
        later: bool,
    },
    Protect {
        page: u64,
        pages: u64,
        rights: Attributes,
        later: bool,
    },
    /// The short ways.
    MapPage {
        page: u64,
        frame: u64,
        rights: Attributes,
    },
    TakePage {
        page: u64,
    },
    Sync,
}

/// Pages around the boundaries of tables: the first pages of 2 MiB and 1 GiB blocks and those before.
fn page() -> impl Strategy<Value = u64> {
    let near = (0..4u64, 0..3u64, -3..40i64)
        .prop_map(|(gib, mib, by)| (gib << 18) + (mib << 9) + (by.rem_euclid(1 << 18)) as u64);
    prop_oneof![near, (0..4u64, 0..3u64).prop_map(|(gib, mib)| (gib << 18) + (mib << 9))]
}

fn pages() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1..4u64, 3 => 1..130u64, 2 => 500..520u64, 1 => 1000..1600u64, 1 => Just(512), 1 => Just(1024)]
}

fn rights() -> impl Strategy<Value = Attributes> {
    prop_oneof![Just(READ), Just(READ | WRITE), Just(READ | EXECUTE)]
}

fn step() -> impl Strategy<Value = Step> {
    let frame = prop_oneof![Just(0x100_0000u64), (0..2000u64).prop_map(|by| 0x100_0000 + by)];
    // Mostly frames that allow blocks: equal to the page within 1 GiB.
    let frame = (frame, any::<bool>());
    prop_oneof![
        3 => (page(), frame, pages(), rights()).prop_map(|(page, (frame, equal), pages, rights)| {
            Step::Map { page, frame: if equal { 0x100_0000 + page } else { frame }, pages, rights }
        }),
        2 => (page(), pages(), any::<bool>()).prop_map(|(page, pages, later)| Step::Unmap { page, pages, later }),
        1 => (page(), pages(), rights(), any::<bool>())
            .prop_map(|(page, pages, rights, later)| Step::Protect { page, pages, rights, later }),
        2 => (page(), 0x100_0000..0x100_1000u64, rights())
            .prop_map(|(page, frame, rights)| Step::MapPage { page, frame, rights }),
        2 => page().prop_map(|page| Step::TakePage { page }),
        1 => Just(Step::Sync),
    ]
}

/// Makes one call on the space and on the model; they agree on success or refusal. `waiting` is the frames that were unmapped
/// and of which the ledger has not heard yet.
fn make(world: &mut World, model: &mut Model, waiting: &mut Vec<u64>, step: &Step) -> Result<(), TestCaseError> {
    let mapped = |model: &Model, page: u64, pages: u64| model.range(page..page + pages).count() as u64;
    match *step {
        Step::Map { page, frame, pages, rights } => {
            match world.space.map(ipa(page), pa(frame), pages, attr(rights), &mut world.source) {
                Ok(done) => {
                    prop_assert!(page != 0 && done.pages > 0 && done.pages <= pages);
                    prop_assert_eq!(mapped(model, page, done.pages), 0);
                    model.extend((0..done.pages).map(|by| (page + by, (frame + by, rights))));
                }
                Err(SpaceError::BadRange) => prop_assert_eq!(page, 0),
                Err(error) => {
                    prop_assert_eq!(error, SpaceError::Exists);
                    prop_assert!(mapped(model, page, pages) > 0);
                }
            }
        }
        Step::Unmap { page, pages, later } => match if later {
            world.space.unmap_later(ipa(page), pages, 0, &mut world.source)
        } else {
            world.space.unmap(ipa(page), pages, &mut world.source)
        } {
            Ok(done) => {
                prop_assert!(page != 0 && done > 0 && done <= pages);
                prop_assert_eq!(mapped(model, page, done), done);
                let gone = (page..page + done).filter_map(|page| model.remove(&page)).map(|(frame, _)| frame);
                waiting.extend(gone);
                prop_assert!(later || !world.space.is_sync_due());
            }
            Err(SpaceError::BadRange) => prop_assert_eq!(page, 0),
            Err(error) => {
                prop_assert_eq!(error, SpaceError::NotMapped);
                prop_assert!(mapped(model, page, pages) < pages);
            }
        },
        Step::Protect { page, pages, rights, later } => {
            match if later {
                world.space.protect_later(ipa(page), pages, attr(rights), 0, &mut world.source)
            } else {
                world.space.protect(ipa(page), pages, attr(rights), &mut world.source)
            } {
                Ok(done) => {
                    prop_assert!(page != 0 && done > 0 && done <= pages);
                    prop_assert_eq!(mapped(model, page, done), done);
                    model.range_mut(page..page + done).for_each(|(_, entry)| entry.1 = rights);
                }
                Err(SpaceError::BadRange) => prop_assert_eq!(page, 0),
                Err(error) => {
                    prop_assert_eq!(error, SpaceError::NotMapped);
                    prop_assert!(mapped(model, page, pages) < pages);
                }
            }
        }
        Step::MapPage { page, frame, rights } if world.space.is_settled() => {
            if let Some(vacant) = world.space.vacant(ipa(page), Level::Three) {
                vacant.fill(pa(frame), attr(rights));
                prop_assert!(page != 0);
                prop_assert_eq!(model.insert(page, (frame, rights)), None);
            }
        }
        Step::TakePage { page } if world.space.is_settled() => {
            if let Some(gone) = world.space.take_page(ipa(page), |_| true) {
                world.source.unmapped(gone, 1);
                waiting.push(gone.frame());
                prop_assert_eq!(model.remove(&page).map(|(frame, _)| frame), Some(gone.frame()));
            }
        }
        Step::MapPage { .. } | Step::TakePage { .. } => prop_assert!(world.space.is_sync_due()),
        Step::Sync => prop_assert_eq!(world.space.sync(&mut world.source), Ok(())),
    }
    hear(world, waiting)
}

/// Takes what the ledger heard off what waits: in the order of the calls, and all of it once nothing is due.
fn hear(world: &mut World, waiting: &mut Vec<u64>) -> Result<(), TestCaseError> {
    let heard = frames(&world.source.unmapped);
    world.source.unmapped.clear();
    prop_assert!(heard.len() <= waiting.len());
    let rest = waiting.split_off(heard.len());
    prop_assert_eq!(&heard, &*waiting);
    *waiting = rest;
    if !world.space.is_sync_due() {
        prop_assert!(waiting.is_empty());
        prop_assert_eq!(stale_entries(world.space.selector().vttbr), 0);
    }
    Ok(())
}

/// Compares every translation around the places that steps touch.
fn compare(world: &World, model: &Model) -> Result<(), TestCaseError> {
    for page in
        (0..4u64).flat_map(|gib| (0..3300).map(move |by| (gib << 18) + by)).step_by(if cfg!(miri) { 41 } else { 1 })
    {
        let leaf = world.space.query(ipa(page)).map(|leaf| (leaf.pa.frame(), leaf.attr.rights()));
        prop_assert_eq!(leaf, model.get(&page).copied(), "page {:#x}", page);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 40 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// The monitor of the page-table order listens all the time.
    #[test]
    fn any_order_of_calls_equals_the_model(steps in prop::collection::vec(step(), 1..40), looks in 0..200u64) {
        let mut world = World::new();
        world.source.looks = looks;
        let (mut model, mut waiting) = (Model::new(), Vec::new());
        for step in &steps {
            make(&mut world, &mut model, &mut waiting, step)?;
            if let Some(above) = model.iter().next().map(|_| world.space.region_from(ipa(1))) {
                let Ok(above) = above else { continue }; // it is not near
                prop_assert!(above.is_some_and(|region| model.contains_key(&(region.start.bytes() >> 12))));
            }
        }
        compare(&world, &model)?;
        let mut gone = frames(&world.end());
        gone.sort_unstable();
        let mut expected: Vec<u64> = model.values().map(|(frame, _)| *frame).chain(waiting).collect();
        expected.sort_unstable();
        prop_assert_eq!(gone, expected);
    }
}
