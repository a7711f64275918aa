//! Loom: senders that meet each other or their guest at the selector, whose try at it fails, so that whoever takes it is made to look at
//! every word. Events are raised and taken by the hypervisor's own code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod common;

use common::{BIT, OTHER_PORT, PORT, acknowledge, model_of_three, receiver, send, take_pending};
use loom::sync::Arc;
use loom::thread;
use strato_models::arch::attempt;
use strato_models::sync::Ordering::Relaxed;
use strato_models::sync::Without::Nothing;
use strato_models::vm::Vm;

/// Asserts that the line of vCPU 0 is up while there is something to take.
fn assert_line(vm: &Vm) {
    let sink = &vm.vcpu(0).unwrap().public.sink;
    assert!(!vm.area.has_news(0, sink) || sink.line().load(Relaxed), "an event is lost: the line is down");
}

/// Events of two senders that meet at the selector come while the guest takes what came before: the line is up while there is more to take.
fn meet() {
    model_of_three(move || {
        let vm = receiver(1);
        vm.vcpu(0).unwrap().public.sink.line().store(true, Relaxed);
        let others = [PORT, OTHER_PORT].map(|port| {
            let vm = Arc::clone(&vm);
            thread::spawn(move || send(&vm, port, Nothing))
        });
        let mut bits = if acknowledge(&vm, 0) == 0 { 0 } else { take_pending(&vm, 0) };
        let _ = others.map(|other| other.join().unwrap());
        assert_line(&vm);
        while acknowledge(&vm, 0) != 0 {
            bits |= take_pending(&vm, 0);
        }
        assert_eq!(bits, BIT | 1 << OTHER_PORT, "an event is nowhere");
    });
}

/// An event comes while the guest takes another one, so that both are at the selector: it is pending once, and the line is up
/// while there is more to take. `is_posted_again` is whether a sender that met the guest there posts from the pending bit on.
fn once(is_posted_again: bool) {
    loom::model(move || {
        let vm = receiver(1);
        send(&vm, OTHER_PORT, Nothing);
        let other = thread::spawn({
            let vm = Arc::clone(&vm);
            move || {
                send(&vm, PORT, Nothing);
                if is_posted_again && attempt::has_failed() {
                    vm.raise_again(PORT);
                }
            }
        });
        let mut taken = if acknowledge(&vm, 0) == 0 { vec![] } else { vec![take_pending(&vm, 0)] };
        other.join().unwrap();
        assert_line(&vm);
        while acknowledge(&vm, 0) != 0 {
            taken.push(take_pending(&vm, 0));
        }
        for bit in [BIT, 1 << OTHER_PORT] {
            assert_eq!(taken.iter().filter(|bits| *bits & bit != 0).count(), 1, "an event is two: {taken:?}");
        }
    });
}

#[test]
fn a_line_is_up_for_an_event_whose_sender_met_another_at_the_selector() {
    meet();
}

#[test]
fn an_event_that_meets_its_guest_at_the_selector_is_one_event() {
    once(false);
}

#[test]
#[should_panic(expected = "an event is two")]
fn a_sender_that_posts_again_when_its_try_failed_makes_two_events_of_one() {
    once(true);
}
