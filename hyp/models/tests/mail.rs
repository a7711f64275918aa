//! Loom: what one core asks of another: a request in the vCPU's word, then a letter, then an interrupt. The letter box is the
//! hypervisor's own; the asking (`dispatcher::service::tell`, `end_vm`) and the serving (`empty_box`, `serve`) are mirrored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::iter;

use loom::sync::Arc;
use loom::thread;
use strato_models::machine::Mail;
use strato_models::scheduler::VcpuRef;
use strato_models::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use strato_models::sync::Without::{self, Nothing};
use strato_models::sync::{AtomicU32, go_without};

const WAKE: u32 = 1;
const STOP: u32 = 4;
const NUMBER: u16 = 3;
const VCPU: VcpuRef = VcpuRef(NUMBER as usize);

#[derive(Default)]
struct Core {
    mail: Mail,
    requests: AtomicU32,
    /// What the asker wrote before: the entry of a start, say.
    value: AtomicU32,
}

/// What is done otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// The letter goes before the request.
    LetterFirst,
    /// Requests are read, and cleared by a store.
    ReadAndCleared,
}

fn ask(core: &Core, request: u32, wrong: Wrong) {
    if wrong == Wrong::LetterFirst {
        core.mail.put(VCPU);
        core.requests.fetch_or(request, Release);
    } else {
        core.requests.fetch_or(request, Release);
        core.mail.put(VCPU);
    }
}

/// The core looks into its box once. Returns what it serves.
fn serve(core: &Core, wrong: Wrong) -> u32 {
    if !core.mail.is_full() || core.mail.next() != Some(NUMBER) {
        return 0;
    }
    if wrong == Wrong::ReadAndCleared {
        let requests = core.requests.load(Acquire);
        core.requests.store(0, Relaxed);
        return requests;
    }
    core.requests.swap(0, AcqRel)
}

/// A letter comes while the core empties its box of another one: it is taken, or taken when the core looks again.
fn letter(core_without: Without) {
    loom::model(move || {
        let core = Arc::new(Core::default());
        core.mail.put(VcpuRef(VCPU.0 + 1));
        let asker = thread::spawn({
            let core = Arc::clone(&core);
            move || core.mail.put(VCPU)
        });
        go_without(core_without);
        let take = || iter::from_fn(|| core.mail.next()).any(|number| number == NUMBER);
        let is_taken = take();
        asker.join().unwrap();
        assert!(is_taken || core.mail.is_full() && take(), "a letter lies in a box that nobody looks into");
    });
}

/// Two ask different things of one vCPU while its core serves: both are served, and what was written before is seen.
fn two(wrong: Wrong, asker_without: Without) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let core = Arc::new(Core::default());
        let askers = [WAKE, STOP].map(|request| {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                go_without(asker_without);
                if request == STOP {
                    core.value.store(7, Relaxed);
                }
                ask(&core, request, wrong);
            })
        });
        let mut served = 0;
        let serve = |served: &mut u32| {
            let requests = serve(&core, wrong);
            assert!(
                requests & STOP == 0 || core.value.load(Relaxed) == 7,
                "a request is served before what it is about"
            );
            *served |= requests;
        };
        serve(&mut served);
        let _ = askers.map(|asker| asker.join().unwrap());
        serve(&mut served); // the interrupt of a letter that came since
        assert_eq!(served, WAKE | STOP, "a request is never served");
    });
}

#[test]
fn a_letter_is_taken_or_the_box_is_full() {
    letter(Nothing);
}

#[test]
#[should_panic(expected = "nobody looks into")]
fn a_letter_is_lost_to_a_core_that_reads_a_word_and_clears_it() {
    letter(Without::Atomicity);
}

#[test]
fn two_requests_at_once_are_both_served() {
    two(Wrong::Nothing, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn a_request_behind_its_letter_is_never_served() {
    two(Wrong::LetterFirst, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn requests_that_are_cleared_by_a_store_are_lost() {
    two(Wrong::ReadAndCleared, Nothing);
}

#[test]
#[should_panic(expected = "before what it is about")]
fn a_request_without_release_is_served_too_early() {
    two(Wrong::Nothing, Without::Release);
}
