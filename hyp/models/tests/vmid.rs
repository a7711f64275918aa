//! Loom: a core that selects an address space and one that begins a generation of VMIDs (`allocator/vmid.rs`, which this mirrors): the number is
//! kept, or the core learns that it is not. With mutants, as in the others.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;

/// What a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The fence of `Vmids::claim`.
    ClaimFence,
    /// The fence of `VmidPool::roll_over`.
    RollFence,
    /// `claim` looks before it says.
    Order,
}

fn select(without: Without) {
    loom::model(move || {
        // The generation, and what the core translates by.
        let vmids = Arc::new((AtomicU64::new(1), AtomicU64::new(0)));
        let claim = thread::spawn({
            let vmids = Arc::clone(&vmids);
            move || {
                if without == Without::Order {
                    let generation = vmids.0.load(Relaxed);
                    fence(SeqCst);
                    vmids.1.store(7, Relaxed);
                    return generation == 1;
                }
                vmids.1.store(7, Relaxed);
                if without != Without::ClaimFence {
                    fence(SeqCst);
                }
                vmids.0.load(Relaxed) == 1
            }
        });
        vmids.0.store(2, Relaxed);
        if without != Without::RollFence {
            fence(SeqCst);
        }
        let is_kept = vmids.1.load(Acquire) == 7;
        let is_trusted = claim.join().unwrap();
        assert!(is_kept || !is_trusted, "a core translates by a number that was given away");
    });
}

#[test]
fn a_core_keeps_its_number_or_learns_that_it_lost_it() {
    select(Without::Nothing);
}

#[test]
#[should_panic(expected = "given away")]
fn a_claim_without_a_fence_loses_its_number() {
    select(Without::ClaimFence);
}

#[test]
#[should_panic(expected = "given away")]
fn a_generation_that_begins_without_a_fence_takes_a_number_in_use() {
    select(Without::RollFence);
}

#[test]
#[should_panic(expected = "given away")]
fn a_claim_that_looks_first_loses_its_number() {
    select(Without::Order);
}
