//! Loom: an event that comes while its vCPU takes the one before, blocks, or is entered. Events are raised and taken by the
//! hypervisor's own code; what the vCPU's core does beside that is mirrored, and says where from.
//!
//! A mutant takes something away from one of the two; loom must find what is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod common;

use common::{BIT, OTHER_PORT, PORT, acknowledge, model_of_three, pending, receiver, send, take_pending, word};
use loom::sync::Arc;
use loom::thread;
use strato_abi::event_area::EVENT_WORDS;
use strato_abi::vcpu::RunState::{Blocked, Off, Running};
use strato_models::sync::Ordering::{Relaxed, Release, SeqCst};
use strato_models::sync::Without::{self, Atomicity, Fence, Nothing, Success};
use strato_models::sync::{AtomicU64, fence, go_without};
use strato_models::vm::Vm;

const SELECTOR: usize = 2 * EVENT_WORDS;

/// Starts another core that sends.
fn sender(vm: &Arc<Vm>, port: u16, without: Without) -> thread::JoinHandle<Option<u8>> {
    let vm = Arc::clone(vm);
    thread::spawn(move || send(&vm, port, without))
}

/// How the guest acknowledges.
type Take = fn(&Vm, u8) -> u64;

/// The general way, which looks at the selector before it takes it: what it reads may be old. The short way is one step there.
fn at_length(vm: &Vm, number: u8) -> u64 {
    vm.area.take(number, &vm.vcpu(number).unwrap().public.sink)
}

/// An event comes while the guest takes what came before, all of which it has seen: the line must be up when there is more.
fn taken(take: Take, sender_without: Without, taker_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        let public = &vm.vcpu(0).unwrap().public;
        public.sink.line().store(true, Relaxed);
        let other = sender(&vm, PORT, sender_without);
        go_without(taker_without);
        let selector = take(&vm, 0);
        let bits = if selector == 0 { 0 } else { take_pending(&vm, 0) };
        other.join().unwrap();
        let is_selected = vm.area.has_news(0, &public.sink);
        assert!(bits != 0 || is_selected, "the event is not selected");
        assert!(!is_selected || public.sink.line().load(Relaxed), "the event is lost: the line is down");
    });
}

/// Events for two ports come while the guest takes the one before.
fn taken_of_two() {
    model_of_three(move || {
        let vm = receiver(1);
        let public = &vm.vcpu(0).unwrap().public;
        send(&vm, PORT, Nothing);
        let others = [PORT, OTHER_PORT].map(|port| sender(&vm, port, Nothing));
        let mut bits = if acknowledge(&vm, 0) == 0 { 0 } else { take_pending(&vm, 0) };
        let _ = others.map(|other| other.join().unwrap());
        assert!(!vm.area.has_news(0, &public.sink) || public.sink.line().load(Relaxed), "the line is down");
        while acknowledge(&vm, 0) != 0 {
            bits |= take_pending(&vm, 0);
        }
        assert_eq!(bits, BIT | 1 << OTHER_PORT, "an event is nowhere");
    });
}

/// An event comes while the vCPU blocks (`dispatcher::next::block`): it goes on, or its core is told.
fn blocks(sender_without: Without, blocker_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        let other = sender(&vm, PORT, sender_without);
        go_without(blocker_without);
        let public = &vm.vcpu(0).unwrap().public;
        public.enter(Blocked);
        fence(SeqCst);
        let goes_on = vm.area.has_news(0, &public.sink);
        let told = other.join().unwrap();
        assert!(goes_on || told == Some(0), "the vCPU sleeps on an event");
        go_without(Nothing);
        assert_eq!(acknowledge(&vm, 0) & 1, 1, "it wakes and finds no event");
        assert_eq!(take_pending(&vm, 0), BIT);
    });
}

/// The same with two senders, of which one may find the port pending already and tell nobody.
fn blocks_for_two(second_without: Without) {
    model_of_three(move || {
        let vm = receiver(1);
        let others = [sender(&vm, PORT, Nothing), sender(&vm, PORT, second_without)];
        let public = &vm.vcpu(0).unwrap().public;
        public.enter(Blocked);
        fence(SeqCst);
        let goes_on = vm.area.has_news(0, &public.sink);
        let told = others.map(|other| other.join().unwrap());
        assert!(goes_on || told.contains(&Some(0)), "the vCPU sleeps on an event");
    });
}

/// An event comes while the core enters a guest in upcall mode (`dispatcher::enter`): the guest sees its line, or the core is
/// told to look again.
fn enters(sender_without: Without, core_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        let public = &vm.vcpu(0).unwrap().public;
        public.has_upcalls.store(true, Relaxed);
        let other = sender(&vm, PORT, sender_without);
        go_without(core_without);
        public.enter(Running);
        fence(SeqCst);
        let sees_line = public.sink.line().load(Relaxed);
        let told = other.join().unwrap();
        assert!(sees_line || told == Some(0), "the guest runs without its upcall");
    });
}

/// A vCPU whose line is up is started while a sibling sets its mode (`EVT.MODE`): it is entered with its upcall, or its core is
/// told to look again. `is_looking` is whether the sibling looks at the state once more.
fn mode(is_looking: bool, sibling_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        send(&vm, PORT, Nothing);
        let sibling = thread::spawn({
            let vm = Arc::clone(&vm);
            move || {
                go_without(sibling_without);
                let public = &vm.vcpu(0).unwrap().public;
                if public.state_behind_fence() != Off {
                    return None; // refused
                }
                public.has_upcalls.store(true, Release);
                fence(SeqCst);
                Some(is_looking && public.state_behind_fence() != Off)
            }
        });
        let public = &vm.vcpu(0).unwrap().public;
        public.enter(Running);
        fence(SeqCst);
        let sees_mode = public.has_upcalls.load(Relaxed);
        assert!(sees_mode || sibling.join().unwrap() != Some(false), "the guest runs without its upcall");
    });
}

/// Two send to one port, each with data of its own: whoever takes the bit sees all data, or the bit is there again.
fn merged(without: Without) {
    model_of_three(move || {
        let vm = receiver(1);
        let data = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let others = [0, 1].map(|n| {
            let (vm, data) = (Arc::clone(&vm), Arc::clone(&data));
            thread::spawn(move || {
                go_without(without);
                data[n].store(1, Relaxed);
                send(&vm, PORT, without)
            })
        });
        let bits = take_pending(&vm, 0);
        let seen = [0, 1].map(|n| data[n].load(Relaxed));
        let _ = others.map(|other| other.join().unwrap());
        let is_again = pending(&vm, 0) != 0;
        assert!(bits == 0 || seen == [1, 1] || is_again, "an event is lost in another");
        assert!(!is_again || word(&vm, 0, SELECTOR).load(Relaxed) != 0);
    });
}

/// The sender's tries at the guest's words are in vain: the event is kept privately, and comes with the next take.
fn kept(sender_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        let other = sender(&vm, PORT, sender_without);
        let public = &vm.vcpu(0).unwrap().public;
        public.enter(Blocked);
        fence(SeqCst);
        let goes_on = vm.area.has_news(0, &public.sink);
        let mut bits = if acknowledge(&vm, 0) == 0 { 0 } else { take_pending(&vm, 0) };
        let told = other.join().unwrap();
        assert!(goes_on || told == Some(0), "the vCPU sleeps on an event");
        if acknowledge(&vm, 0) != 0 {
            bits |= take_pending(&vm, 0);
        }
        assert_eq!(bits, BIT, "the event that was kept is lost");
    });
}

#[test]
fn an_event_that_comes_while_one_is_taken_raises_the_line_again() {
    taken(acknowledge, Nothing, Nothing);
    taken(at_length, Nothing, Nothing);
}

#[test]
fn events_of_two_senders_come_whatever_is_taken_meanwhile() {
    taken_of_two();
}

#[test]
#[should_panic(expected = "the line is down")]
fn a_line_that_is_lowered_by_a_store_loses_an_event() {
    taken(at_length, Nothing, Atomicity);
}

#[test]
#[should_panic(expected = "the line is down")]
fn a_line_that_is_raised_by_a_store_loses_an_event() {
    taken(at_length, Atomicity, Nothing);
}

#[test]
#[should_panic(expected = "the line is down")]
fn a_line_that_is_raised_without_release_loses_an_event() {
    taken(at_length, Without::Release, Nothing);
}

#[test]
fn a_vcpu_that_blocks_never_sleeps_on_an_event() {
    blocks(Nothing, Nothing);
}

#[test]
#[should_panic(expected = "sleeps on an event")]
fn a_vcpu_that_blocks_without_a_fence_sleeps_on_an_event() {
    blocks(Nothing, Fence);
}

#[test]
#[should_panic(expected = "sleeps on an event")]
fn a_sender_without_a_fence_leaves_a_vcpu_asleep() {
    blocks(Fence, Nothing);
}

#[test]
fn one_of_two_senders_tells_a_vcpu_that_blocks() {
    blocks_for_two(Nothing);
}

#[test]
#[should_panic(expected = "sleeps on an event")]
fn a_sender_without_a_fence_leaves_a_vcpu_asleep_whoever_else_sends() {
    blocks_for_two(Fence);
}

#[test]
fn a_guest_that_is_entered_sees_its_line_or_is_told() {
    enters(Nothing, Nothing);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_guest_that_is_entered_without_a_fence_misses_an_upcall() {
    enters(Nothing, Fence);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_sender_without_a_fence_misses_a_guest_that_is_entered() {
    enters(Fence, Nothing);
}

#[test]
fn a_mode_that_is_set_while_its_vcpu_starts_counts() {
    mode(true, Nothing);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_mode_that_is_set_without_a_second_look_may_not_count() {
    mode(false, Nothing);
}

#[test]
#[should_panic(expected = "runs without its upcall")]
fn a_mode_that_is_set_without_a_fence_may_not_count() {
    mode(true, Fence);
}

#[test]
fn whoever_takes_a_bit_sees_what_every_sender_wrote_before() {
    merged(Nothing);
}

#[test]
#[should_panic(expected = "lost in another")]
fn a_bit_that_is_set_without_release_loses_an_event_in_another() {
    merged(Without::Release);
}

#[test]
fn an_event_that_is_kept_comes_with_the_next_take() {
    kept(Success);
}
