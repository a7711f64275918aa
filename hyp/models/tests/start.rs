//! Loom: two cores that start one vCPU while its home core serves the first. Mirrors `vcpu::Public::claim_start` and
//! `dispatcher::service::serve`, and has to be changed with them; with mutants, in which two win.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use loom::thread;

const OFF: u8 = 0;
const RUNNABLE: u8 = 1;

/// What a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The second look at the state in `Public::claim_start`.
    SecondLook,
    /// The claim ends after the vCPU has left `Off`.
    Order,
}

/// Two cores start one vCPU while its home core serves the first (`Public::claim_start`, `service::serve`): one wins, and
/// the claim is over. The real claim ends by a store; loom would let one stand between the halves of a swap, which no
/// machine does, so here it is a swap.
fn start(without: Without) {
    loom::model(move || {
        let vcpu = Arc::new((AtomicU8::new(OFF), AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0)));
        let claim = {
            let vcpu = Arc::clone(&vcpu);
            move || {
                let (state, is_starting, requests, awake) = &*vcpu;
                if state.load(Acquire) != OFF || is_starting.swap(true, AcqRel) {
                    return;
                }
                if without != Without::SecondLook && state.load(Acquire) != OFF {
                    is_starting.swap(false, Release);
                    return;
                }
                awake.fetch_add(1, AcqRel);
                requests.fetch_or(1, Release);
            }
        };
        let others = [thread::spawn(claim.clone()), thread::spawn(claim)];
        let (state, is_starting, requests, awake) = &*vcpu;
        let serve = || {
            if requests.swap(0, AcqRel) == 0 || state.load(Acquire) != OFF {
                return;
            }
            if without == Without::Order {
                is_starting.swap(false, Release);
                state.store(RUNNABLE, Release);
            } else {
                state.store(RUNNABLE, Release);
                is_starting.swap(false, Release);
            }
        };
        serve();
        for other in others {
            other.join().unwrap();
        }
        serve();
        assert_eq!(awake.load(Relaxed), 1, "one of two starts wins");
        assert!(!is_starting.load(Relaxed), "the vCPU can be started again");
    });
}

#[test]
fn one_of_two_starts_wins_and_the_claim_ends() {
    start(Without::Nothing);
}

#[test]
#[should_panic(expected = "start")]
fn a_start_without_a_second_look_is_won_twice() {
    start(Without::SecondLook);
}

#[test]
#[should_panic(expected = "start")]
fn a_claim_that_ends_before_the_vcpu_left_off_is_won_twice() {
    start(Without::Order);
}
