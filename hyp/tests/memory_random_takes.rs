//! The allocator under any order of takes and returns: nothing is lost, doubled, dirty or over quota.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{account, allocator, free, steps, use_up, zero};
use proptest::prelude::*;
use strato_hyp::allocator::{Account, AllocError, Kind, MemId, Scrub};
use strato_hyp::arch::ram::Pages;

/// One random operation.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take {
        vm: usize,
        order: u32,
    },
    GiveBack {
        which: usize,
    },
    Create {
        vm: usize,
        order: u32,
    },
    Free {
        which: usize,
    },
    Split {
        which: usize,
    },
    HandOver {
        which: usize,
        vm: usize,
    },
    /// Begins an allocation, or a return: in parts, with anything in between.
    Begin {
        vm: usize,
        order: u32,
    },
    BeginFree {
        which: usize,
    },
    Finish {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, 0..6u32).prop_map(|(vm, order)| Step::Take { vm, order }),
        any::<usize>().prop_map(|which| Step::GiveBack { which }),
        (0..3usize, 0..6u32).prop_map(|(vm, order)| Step::Create { vm, order }),
        any::<usize>().prop_map(|which| Step::Free { which }),
        any::<usize>().prop_map(|which| Step::Split { which }),
        (any::<usize>(), 0..3usize).prop_map(|(which, vm)| Step::HandOver { which, vm }),
        (0..3usize, 0..6u32).prop_map(|(vm, order)| Step::Begin { vm, order }),
        any::<usize>().prop_map(|which| Step::BeginFree { which }),
        any::<usize>().prop_map(|which| Step::Finish { which }),
    ]
}

/// Returns frames that were looked at, which makes them dirty to the types, as scrubbed ones.
fn pages_scrubbed(mut pages: Pages) -> Pages {
    pages.scrub();
    pages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 24 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// After each operation the audit adds up, no two owners share a frame, and accounts equal what the ledger says.
    #[test]
    fn any_order_of_takes_and_returns_adds_up(frames in 100..500usize, steps_to_make in prop::collection::vec(step(), 1..150)) {
        let mut allocator = allocator(frames);
        let baseline = allocator.audit().unwrap();
        let mut accounts = [account(0, 60), account(1, 200), account(2, u64::MAX)];
        let mut taken: Vec<(usize, Pages)> = Vec::new();
        let mut objects: Vec<(usize, MemId)> = Vec::new();
        let mut under_way: Vec<(usize, bool, Scrub)> = Vec::new();
        for step in steps_to_make {
            match step {
                Step::Take { vm, order } => {
                    if let Ok(pages) = allocator.take(order, Kind::Object, &mut accounts[vm]) {
                        taken.push((vm, use_up(zero(pages))));
                    }
                }
                Step::GiveBack { which } => {
                    if let Some(which) = which.checked_rem(taken.len()) {
                        let (vm, pages) = taken.swap_remove(which);
                        allocator.give_back(pages, &mut accounts[vm]).unwrap();
                    }
                }
                Step::Create { vm, order } => {
                    if let Ok(id) = allocator.mem_create(order, &mut accounts[vm]) {
                        objects.push((vm, id));
                    }
                }
                Step::Free { which } => {
                    if let Some(which) = which.checked_rem(objects.len()) {
                        let (vm, id) = objects.swap_remove(which);
                        free(&mut allocator, id, &mut accounts[vm]);
                    }
                }
                Step::Split { which } => {
                    if let Some(which) = which.checked_rem(objects.len()) {
                        let (vm, id) = objects[which];
                        let before = allocator.mem_info(id).unwrap();
                        allocator.mem_add_reference(id).unwrap();
                        let split = allocator.mem_split(id, &accounts[vm]);
                        allocator.mem_drop_reference(id).unwrap();
                        let first = allocator.mem_info(id).unwrap();
                        match split {
                            Ok((second, base)) => {
                                allocator.mem_drop_reference(second).unwrap();
                                let half = allocator.mem_info(second).unwrap();
                                prop_assert_eq!((first.pages, half.pages), (before.pages / 2, before.pages / 2));
                                prop_assert_eq!(first.base.checked_add(first.pages << 12), Some(base));
                                prop_assert_eq!((half.base, half.owner), (base, first.owner));
                                objects.push((vm, second));
                            }
                            Err(error) => {
                                prop_assert_eq!((error, before.pages, first), (AllocError::Busy, 1, before));
                            }
                        }
                    }
                }
                Step::HandOver { which, vm } => {
                    if let Some((from, id)) = which.checked_rem(objects.len()).map(|which| &mut objects[which])
                        && let Ok([old, new]) = accounts.get_disjoint_mut([*from, vm])
                        && allocator.mem_hand_over(*id, old, new).is_ok()
                    {
                        *from = vm;
                    }
                }
                Step::Begin { vm, order } => {
                    if let Ok(scrub) = allocator.begin_take(order, Kind::Mem, &mut accounts[vm]) {
                        under_way.push((vm, true, scrub));
                    }
                }
                Step::BeginFree { which } => {
                    if let Some(which) = which.checked_rem(objects.len()) {
                        let (vm, id) = objects.swap_remove(which);
                        under_way.push((vm, false, allocator.mem_free(id, &accounts[vm]).unwrap()));
                    }
                }
                Step::Finish { which } => {
                    if let Some(which) = which.checked_rem(under_way.len()) {
                        let (vm, is_object, scrub) = under_way.swap_remove(which);
                        let pages = zero(steps(scrub));
                        if is_object {
                            let pages = pages_scrubbed(pages);
                            objects.push((vm, allocator.mem_finish(pages).unwrap()));
                        } else {
                            allocator.give_back(pages, &mut accounts[vm]).unwrap();
                        }
                    }
                }
            }
            let audit = allocator.audit().unwrap();
            prop_assert_eq!(audit.vms, accounts.iter().map(Account::used).sum::<u64>());
            for account in &accounts {
                prop_assert_eq!(allocator.pages_of(account.owner()), account.used());
                prop_assert!(account.used() <= account.limit());
            }
            let mut ranges: Vec<(u64, u64)> = taken.iter().map(|(_, pages)| (pages.pa().frame(), pages.count() as u64)).collect();
            ranges.extend(objects.iter().map(|&(_, id)| allocator.mem_info(id).unwrap()).map(|info| (info.base.frame(), info.pages)));
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        }
        for (vm, pages) in taken {
            allocator.give_back(pages, &mut accounts[vm]).unwrap();
        }
        for (vm, _, scrub) in under_way {
            allocator.give_back(steps(scrub), &mut accounts[vm]).unwrap();
        }
        for (vm, id) in objects {
            free(&mut allocator, id, &mut accounts[vm]);
        }
        prop_assert_eq!(allocator.audit(), Ok(baseline));
    }
}
