//! Loom: every order in which two cores can see each other's steps, for the four places that take no lock. Each model says
//! which code it mirrors, and comes with mutants: the same without what it needs, in which loom must find the lost event.
//!
//! The models mirror because the words themselves lie in memory that a guest can reach, which loom's types cannot.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
use loom::thread;

const OFF: u8 = 0;
const RUNNABLE: u8 = 1;
const RUNNING: u8 = 2;
const BLOCKED: u8 = 3;

/// What a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Line: a store where `EventArea::take` swaps.
    SwapOfTaker,
    /// Line: a store where `events::pending::raise_line` swaps.
    SwapOfSender,
    /// The fence of the core that blocks or enters.
    OwnFence,
    /// The fence of the core that sends.
    SenderFence,
    /// Mail: the Acquire of `Mail::put`.
    Acquire,
    /// Start: the second look at the state in `Public::claim_start`.
    SecondLook,
    /// Start: the claim ends after the vCPU has left `Off`.
    Order,
}

/// A vCPU as senders and its core see it.
struct Vcpu {
    state: AtomicU8,
    selector: AtomicU64,
    line: AtomicBool,
    is_told: AtomicBool,
}

impl Vcpu {
    fn new(state: u8, line: bool) -> Arc<Self> {
        let (state, line) = (AtomicU8::new(state), AtomicBool::new(line));
        Arc::new(Self { state, selector: AtomicU64::new(0), line, is_told: AtomicBool::new(false) })
    }

    /// `events::pending::select`.
    fn select(&self, without: Without) -> bool {
        self.selector.fetch_or(1, Release);
        if without == Without::SwapOfSender {
            self.line.store(true, Release);
            return false;
        }
        self.line.swap(true, AcqRel)
    }

    /// `EventArea::take`.
    fn take(&self, without: Without) -> u64 {
        if without == Without::SwapOfTaker {
            self.line.store(false, Relaxed);
        } else {
            self.line.swap(false, AcqRel);
        }
        if self.selector.load(Relaxed) == 0 { 0 } else { self.selector.swap(0, Acquire) }
    }

    /// `Vm::post`: `is_upcall` is whether the vCPU takes upcalls.
    fn post(&self, is_upcall: bool, without: Without) {
        let was_up = self.select(without);
        if without != Without::SenderFence {
            fence(SeqCst);
        }
        let is_concerned = match self.state.load(Relaxed) {
            BLOCKED => true,
            RUNNING => is_upcall && !was_up,
            _ => false,
        };
        if is_concerned {
            self.is_told.store(true, Release);
        }
    }
}

/// An event comes while the guest takes the one before: the line must be up when the selector has news.
fn line(without: Without) {
    loom::model(move || {
        let vcpu = Vcpu::new(RUNNING, true);
        let sender = thread::spawn({
            let vcpu = Arc::clone(&vcpu);
            move || vcpu.select(without)
        });
        let taken = vcpu.take(without);
        sender.join().unwrap();
        let is_left = vcpu.selector.load(Relaxed) != 0;
        assert!(taken != 0 || is_left, "the event is somewhere");
        assert!(!is_left || vcpu.line.load(Relaxed), "the event is lost: the line is down");
    });
}

/// An event comes while the vCPU blocks (`dispatcher::next::block`): it goes on, or somebody tells it.
fn block(without: Without) {
    loom::model(move || {
        let vcpu = Vcpu::new(RUNNING, false);
        let sender = thread::spawn({
            let vcpu = Arc::clone(&vcpu);
            move || vcpu.post(false, without)
        });
        vcpu.state.store(BLOCKED, Release);
        if without != Without::OwnFence {
            fence(SeqCst);
        }
        let has_news = vcpu.selector.load(Relaxed) != 0;
        sender.join().unwrap();
        assert!(has_news || vcpu.is_told.load(Relaxed), "the vCPU sleeps on an event");
    });
}

/// An event comes while the core enters a guest in upcall mode (`dispatcher::enter::prepare`): the guest sees its line, or
/// the core is told to look again.
fn enter(without: Without) {
    loom::model(move || {
        let vcpu = Vcpu::new(RUNNABLE, false);
        let sender = thread::spawn({
            let vcpu = Arc::clone(&vcpu);
            move || vcpu.post(true, without)
        });
        vcpu.state.store(RUNNING, Release);
        if without != Without::OwnFence {
            fence(SeqCst);
        }
        let sees_line = vcpu.line.load(Relaxed);
        sender.join().unwrap();
        assert!(sees_line || vcpu.is_told.load(Relaxed), "the guest runs without its upcall");
    });
}

/// A letter is put in while the box is emptied (`Mail::put`, `Mail::take`): it is taken, or the box is full.
fn mail(without: Without) {
    loom::model(move || {
        let mail = Arc::new((AtomicBool::new(true), AtomicU64::new(0)));
        let sender = thread::spawn({
            let mail = Arc::clone(&mail);
            move || {
                mail.1.fetch_or(1, if without == Without::Acquire { Release } else { AcqRel });
                mail.0.store(true, Release);
            }
        });
        let mut taken = 0;
        if mail.0.load(Acquire) {
            mail.0.store(false, Relaxed);
            taken = mail.1.swap(0, AcqRel);
        }
        sender.join().unwrap();
        assert!(taken != 0 || mail.0.load(Relaxed), "a letter lies in a box that nobody looks into");
    });
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
fn an_event_that_comes_while_one_is_taken_raises_the_line_again() {
    line(Without::Nothing);
}

#[test]
#[should_panic(expected = "the line is down")]
fn a_line_that_is_lowered_by_a_store_loses_an_event() {
    line(Without::SwapOfTaker);
}

#[test]
#[should_panic(expected = "the line is down")]
fn a_line_that_is_raised_by_a_store_loses_an_event() {
    line(Without::SwapOfSender);
}

#[test]
fn a_vcpu_that_blocks_never_sleeps_on_an_event() {
    block(Without::Nothing);
}

#[test]
#[should_panic(expected = "sleeps on an event")]
fn a_vcpu_that_blocks_without_a_fence_sleeps_on_an_event() {
    block(Without::OwnFence);
}

#[test]
#[should_panic(expected = "sleeps on an event")]
fn a_sender_without_a_fence_leaves_a_vcpu_asleep() {
    block(Without::SenderFence);
}

#[test]
fn a_guest_that_is_entered_sees_its_line_or_is_told() {
    enter(Without::Nothing);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_guest_that_is_entered_without_a_fence_misses_an_upcall() {
    enter(Without::OwnFence);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_sender_without_a_fence_misses_a_guest_that_is_entered() {
    enter(Without::SenderFence);
}

#[test]
fn a_letter_is_taken_or_the_box_is_full() {
    mail(Without::Nothing);
}

#[test]
#[should_panic(expected = "nobody looks into")]
fn a_letter_that_is_put_in_without_acquire_is_lost() {
    mail(Without::Acquire);
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
