//! Loom: an object that is taken out of its slot, and given back, while another core looks it up without a lock; and the place
//! of a VM that is used again while another core sends to who was there. Slots, epochs and ports are the hypervisor's own.
//!
//! The object holds a cell that loom watches: use and giving back without an order between them is an error.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(unsafe_code, reason = "the watched cell gives out a pointer")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use strato_abi::Handle;
use strato_models::arch::epoch::{Epochs, Slot};
use strato_models::arch::page_box::PageBox;
use strato_models::events::port::End;
use strato_models::events::{Link, Port};
use strato_models::sync::Without::{self, Acquire, Fence, Nothing, Release};
use strato_models::sync::go_without;

#[derive(Debug)]
struct Watched(UnsafeCell<u32>);

/// A core looks an object up and uses it, in two stays, while another takes it out and gives it back.
fn retire(reader_without: Without, owner_without: Without) {
    loom::model(move || {
        let shared = Arc::new((Epochs::new(), Slot::<Watched>::new()));
        shared.1.fill(PageBox::new(Watched(UnsafeCell::new(1)))).ok().unwrap();
        let reader = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (epochs, slot) = &*shared;
                go_without(reader_without);
                let mut visitor = epochs.join(0).unwrap();
                for _ in 0..2 {
                    let stay = visitor.begin();
                    if let Some(object) = slot.get(&stay) {
                        // SAFETY: loom watches the cell: that nobody gives it back meanwhile is what the model shows.
                        object.0.with(|at| assert_eq!(unsafe { *at }, 1, "the object was given back while it is used"));
                    }
                }
            }
        });
        go_without(owner_without);
        let (epochs, slot) = &*shared;
        let mut retired = slot.retire(epochs);
        for _ in 0..2 {
            if let Some(object) = retired.take() {
                match object.reclaim(epochs) {
                    // SAFETY: as above.
                    Ok(object) => object.into_inner().0.with_mut(|at| unsafe { *at = 0 }),
                    Err(object) => retired = Some(object),
                }
            }
        }
        reader.join().unwrap();
        if let Some(object) = retired {
            let _ = object.reclaim(epochs).unwrap().into_inner(); // nobody lags
        }
    });
}

/// A VM, of which only the incarnation matters.
#[derive(Debug)]
struct Vm(u32);

/// What is left out when a VM ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing: its ports are closed at both ends, it is taken out, and the place is filled when all cores have moved on.
    Proper,
    /// It is taken out before its ports are closed.
    TakenOutFirst,
    /// The place is filled at once.
    FilledAtOnce,
}

/// A VM ends and another gets its place, while a core sends to it (`Machine::connected`): the other gets nothing.
fn place(order: Place, sender_without: Without) {
    loom::model(move || {
        let shared = Arc::new((Epochs::new(), Slot::<Vm>::new(), Port::default()));
        let handle = Handle::new(1, 1);
        shared.1.fill(PageBox::new(Vm(1))).ok().unwrap();
        shared.2.open(handle, 0, Link::Connected(End { vm: 0, incarnation: 1, port: 1 }));
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (epochs, slot, port) = &*shared;
                go_without(sender_without);
                let mut visitor = epochs.join(0).unwrap();
                for _ in 0..2 {
                    let stay = visitor.begin();
                    let far = port.read().far_end(u64::from(handle.bits()));
                    if let Some(vm) = far.and_then(|_| slot.get(&stay)) {
                        assert_eq!(vm.0, 1, "an event reaches who has the place now");
                    }
                }
            }
        });
        let (epochs, slot, port) = &*shared;
        let close = || assert!(port.change(port.read(), Link::PeerGone));
        if order != Place::TakenOutFirst {
            close();
        }
        let retired = slot.retire(epochs).unwrap();
        if order == Place::FilledAtOnce || retired.lagging(epochs) == 0 {
            slot.fill(PageBox::new(Vm(2))).ok().unwrap();
        }
        if order == Place::TakenOutFirst {
            close();
        }
        sender.join().unwrap();
        drop(retired.reclaim(epochs).unwrap());
        drop(slot.retire(epochs).map(|vm| vm.reclaim(epochs)));
    });
}

#[test]
fn an_object_is_given_back_when_no_core_uses_it_any_more() {
    retire(Nothing, Nothing);
}

#[test]
#[should_panic]
fn a_stay_that_begins_without_a_fence_uses_what_was_given_back() {
    retire(Fence, Nothing);
}

#[test]
#[should_panic]
fn an_object_that_is_retired_without_a_fence_is_given_back_in_use() {
    retire(Nothing, Fence);
}

#[test]
#[should_panic]
fn a_stay_that_begins_without_release_uses_what_was_given_back() {
    retire(Release, Nothing);
}

#[test]
#[should_panic]
fn an_object_is_given_back_in_use_when_cores_are_looked_at_without_acquire() {
    retire(Nothing, Acquire);
}

#[test]
fn nothing_reaches_who_has_the_place_of_a_vm_that_ended() {
    place(Place::Proper, Nothing);
}

#[test]
#[should_panic(expected = "who has the place now")]
fn a_vm_that_is_taken_out_before_its_ports_are_closed_leaves_its_events_to_the_next() {
    place(Place::TakenOutFirst, Nothing);
}

#[test]
#[should_panic(expected = "who has the place now")]
fn a_place_that_is_filled_at_once_gets_events_of_the_one_before() {
    place(Place::FilledAtOnce, Nothing);
}

#[test]
#[should_panic(expected = "who has the place now")]
fn a_place_gets_events_of_the_one_before_when_stays_begin_without_a_fence() {
    place(Place::Proper, Fence);
}
