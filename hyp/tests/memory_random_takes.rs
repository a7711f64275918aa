//! The allocator under any order of takes and returns: nothing is lost, doubled, dirty or over quota.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use memory_common::{account, allocator, free, use_up, zero};
use proptest::prelude::*;
use strato_hyp::allocator::{Account, Kind, MemId};
use strato_hyp::arch::ram::Pages;

/// One random operation.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take { vm: usize, order: u32 },
    GiveBack { which: usize },
    Create { vm: usize, order: u32 },
    Free { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, 0..6u32).prop_map(|(vm, order)| Step::Take { vm, order }),
        any::<usize>().prop_map(|which| Step::GiveBack { which }),
        (0..3usize, 0..6u32).prop_map(|(vm, order)| Step::Create { vm, order }),
        any::<usize>().prop_map(|which| Step::Free { which }),
    ]
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
        for (vm, id) in objects {
            free(&mut allocator, id, &mut accounts[vm]);
        }
        prop_assert_eq!(allocator.audit(), Ok(baseline));
    }
}
