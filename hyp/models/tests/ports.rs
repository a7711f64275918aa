//! Loom: a port that moves, closes and is opened again while others send to it or by it. Ports, records, epochs and the closing
//! of ports are the hypervisor's own; what the calls do around them is mirrored, and says where from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod common;

use common::{BIT, PORT, acknowledge, model_of_three, pending, receiver, send, word};
use loom::sync::Arc;
use loom::thread;
use strato_abi::Handle;
use strato_abi::event_area::EVENT_WORDS;
use strato_models::arch::epoch::Epochs;
use strato_models::events::port::End;
use strato_models::events::{Link, Port};
use strato_models::sync::Ordering::{Relaxed, SeqCst};
use strato_models::sync::Without::{self, Fence, Nothing};
use strato_models::sync::{fence, go_without};
use strato_models::vm::Vm;

const MASK: usize = EVENT_WORDS;
const A: End = End { vm: 1, incarnation: 1, port: 1 };
const B: End = End { vm: 2, incarnation: 1, port: 1 };

/// The guest clears a mask bit (SPEC 10.8) while an event comes: it sees the event, or the sender sees that it is unmasked.
fn unmask(sender_without: Without, guest_without: Without) {
    loom::model(move || {
        let vm = receiver(1);
        word(&vm, 0, MASK).store(BIT, Relaxed);
        let other = thread::spawn({
            let vm = Arc::clone(&vm);
            move || send(&vm, PORT, sender_without)
        });
        go_without(guest_without);
        word(&vm, 0, MASK).store(0, Relaxed);
        fence(SeqCst);
        let is_seen = pending(&vm, 0) != 0;
        other.join().unwrap();
        assert!(is_seen || acknowledge(&vm, 0) != 0, "nobody looks at the event");
    });
}

/// A port is bound to vCPU 1 while an event comes: it ends in the record of vCPU 1.
fn rebind(sender_without: Without, binder_without: Without) {
    loom::model(move || {
        let vm = receiver(2);
        let other = thread::spawn({
            let vm = Arc::clone(&vm);
            move || send(&vm, PORT, sender_without)
        });
        go_without(binder_without);
        vm.rebind(PORT, 1);
        other.join().unwrap();
        assert_eq!(pending(&vm, 1), BIT, "the event stays where nobody looks any more");
        assert_ne!(acknowledge(&vm, 1), 0);
    });
}

/// How a closed port is used again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// As EVT.OFFER does (`hypercall::event::open`).
    Rested,
    /// Without a look at the epochs.
    AtOnce,
    /// What is left in the records is taken away before the port has rested.
    Withdrawn,
}

/// A port is closed and opened again while its peer sends by the old channel: no event is in the record of the new one.
fn reopen(again: Again, sender_without: Without) {
    loom::model(move || {
        let vms = Arc::new((Vm::new(0, 1, 1), Vm::new(1, 1, 1), Epochs::new()));
        let (vm, peer, _) = &*vms;
        vm.ports.get(1).unwrap().open(Handle::new(1, 1), 0, Link::Connected(A));
        let back = End { vm: 0, ..A };
        peer.ports.get(1).unwrap().open(Handle::new(1, 1), 0, Link::Connected(back));
        let other = thread::spawn({
            let vms = Arc::clone(&vms);
            move || {
                let (vm, peer, epochs) = &*vms;
                let mut visitor = epochs.join(0).unwrap();
                go_without(sender_without);
                {
                    let _stay = visitor.begin();
                    let handle = u64::from(Handle::new(1, 1).bits());
                    if let Some(far) = peer.ports.masked_at(1).1.read().far_end(handle) {
                        send(vm, far.port(), sender_without);
                    }
                }
                let _stay = visitor.begin();
            }
        });
        let (vm, peer, epochs) = &*vms;
        vm.close(1, epochs, |place| (place == 1).then_some(peer));
        let port = vm.ports.get(1).unwrap();
        if again == Again::Withdrawn {
            vm.withdraw(1);
        }
        let is_rested = epochs.passed(port.rests_until());
        if is_rested || again == Again::AtOnce {
            if again != Again::Withdrawn {
                vm.withdraw(1);
            }
            port.open(Handle::new(1, 2), 0, Link::Connected(B));
        }
        other.join().unwrap();
        if port.read().is_of(Handle::new(1, 2)) {
            assert_eq!(pending(vm, 0), 0, "an event of the old channel is in the new one");
        }
    });
}

/// A sibling sends by a handle whose port is closed, and opened again to another VM, meanwhile: it reaches the old peer or
/// none. `is_split` reads the handle and the far end one after the other.
fn look_up(is_split: bool) {
    loom::model(move || {
        let port = Arc::new(Port::default());
        let (old, new) = (Handle::new(1, 1), Handle::new(1, 2));
        port.open(old, 0, Link::Connected(A));
        let other = thread::spawn({
            let port = Arc::clone(&port);
            move || {
                let argument = u64::from(old.bits());
                if !is_split {
                    return port.read().far_end(argument).map(|far| far.vm());
                }
                if !port.read().is_of(old) {
                    return None;
                }
                match port.link(port.read()) {
                    Link::Connected(end) => Some(end.vm),
                    Link::Free | Link::Offered(_) | Link::PeerGone => None,
                }
            }
        });
        assert!(port.change(port.read(), Link::Free));
        port.open(new, 0, Link::Connected(B));
        let reached = other.join().unwrap();
        assert!(matches!(reached, None | Some(1)), "an old handle leads to a new peer");
    });
}

/// A VM connects to an offer that is withdrawn, and made again to another VM, meanwhile (`EVT.CONNECT`): it never gets that of
/// the other. `is_stored` stores the link instead of comparing first.
fn connect(is_stored: bool) {
    loom::model(move || {
        let port = Arc::new(Port::default());
        let (first, second) = (Handle::new(1, 1), Handle::new(1, 2));
        port.open(first, 0, Link::Offered(A));
        let other = thread::spawn({
            let port = Arc::clone(&port);
            move || {
                let seen = port.read();
                let is_ours = port.link(seen) == Link::Offered(A) && seen.handle() == first;
                if is_ours && is_stored {
                    port.open(first, 0, Link::Connected(A));
                }
                is_ours && !is_stored && port.change(seen, Link::Connected(A))
            }
        });
        let mut seen = port.read();
        while !port.change(seen, Link::Free) {
            seen = port.read();
        }
        port.open(second, 0, Link::Offered(B));
        other.join().unwrap();
        assert_eq!(port.link(port.read()), Link::Offered(B), "an offer to one VM was taken by another");
    });
}

/// Both ends close at once: both ports are free, whoever was first.
#[test]
fn both_ends_of_a_channel_can_close_at_once() {
    model_of_three(|| {
        let vms = Arc::new([Vm::new(0, 1, 1), Vm::new(1, 1, 1)]);
        for (near, far) in [(0usize, 1u8), (1, 0)] {
            let end = End { vm: far, incarnation: 1, port: 1 };
            vms[near].ports.get(1).unwrap().open(Handle::new(1, 1), 0, Link::Connected(end));
        }
        let epochs = Arc::new(Epochs::new());
        let other = thread::spawn({
            let (vms, epochs) = (Arc::clone(&vms), Arc::clone(&epochs));
            move || vms[1].close(1, &epochs, |_| Some(&vms[0]))
        });
        vms[0].close(1, &epochs, |_| Some(&vms[1]));
        other.join().unwrap();
        for vm in &*vms {
            let port = vm.ports.get(1).unwrap();
            assert_eq!(port.link(port.read()), Link::Free);
        }
    });
}

#[test]
fn an_event_that_comes_while_its_port_is_unmasked_is_seen() {
    unmask(Nothing, Nothing);
}

#[test]
#[should_panic(expected = "nobody looks")]
fn a_sender_without_a_fence_misses_that_a_port_is_unmasked() {
    unmask(Fence, Nothing);
}

#[test]
#[should_panic(expected = "nobody looks")]
fn a_guest_that_unmasks_without_a_fence_misses_an_event() {
    unmask(Nothing, Fence);
}

#[test]
fn an_event_that_comes_while_its_port_moves_goes_with_it() {
    rebind(Nothing, Nothing);
}

#[test]
#[should_panic(expected = "nobody looks any more")]
fn a_port_that_moves_without_a_fence_leaves_an_event_behind() {
    rebind(Nothing, Fence);
}

#[test]
#[should_panic(expected = "nobody looks any more")]
fn a_sender_without_a_fence_leaves_an_event_behind() {
    rebind(Fence, Nothing);
}

#[test]
fn a_port_that_has_rested_gets_no_event_of_the_old_channel() {
    reopen(Again::Rested, Nothing);
}

#[test]
#[should_panic(expected = "old channel")]
fn a_port_that_is_opened_again_at_once_gets_an_old_event() {
    reopen(Again::AtOnce, Nothing);
}

#[test]
#[should_panic(expected = "old channel")]
fn a_port_whose_records_are_cleared_before_it_has_rested_gets_an_old_event() {
    reopen(Again::Withdrawn, Nothing);
}

#[test]
#[should_panic(expected = "old channel")]
fn a_port_gets_an_old_event_when_stays_begin_without_a_fence() {
    reopen(Again::Rested, Fence);
}

#[test]
fn a_handle_leads_to_its_own_peer_or_nowhere() {
    look_up(false);
}

#[test]
#[should_panic(expected = "new peer")]
fn a_handle_that_is_compared_apart_from_its_peer_leads_to_a_new_one() {
    look_up(true);
}

#[test]
fn an_offer_is_taken_by_the_vm_that_it_was_made_to() {
    connect(false);
}

#[test]
#[should_panic(expected = "taken by another")]
fn an_offer_that_is_taken_by_a_store_may_be_anothers() {
    connect(true);
}
