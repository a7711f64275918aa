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
    /// The core takes the request before the letter.
    RequestFirst,
    /// A letter that is about more than a wake is thrown away.
    NotPutBack,
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

/// How the first letter is taken.
type Take = fn(&Mail) -> Option<u16>;

/// A letter comes while the core empties its box of another one: it is taken, or taken when the core looks again.
fn letter(first: Take, core_without: Without) {
    loom::model(move || {
        let core = Arc::new(Core::default());
        core.mail.put(VcpuRef(VCPU.0 + 1));
        let asker = thread::spawn({
            let core = Arc::clone(&core);
            move || core.mail.put(VCPU)
        });
        go_without(core_without);
        let take = || iter::from_fn(|| core.mail.next()).any(|number| number == NUMBER);
        let is_taken = first(&core.mail) == Some(NUMBER) || take();
        asker.join().unwrap();
        assert!(is_taken || core.mail.is_full() && take(), "a letter lies in a box that nobody looks into");
    });
}

/// Does what [`serve`] does for the only letter, of which nothing but a wake is asked (`service::wake_only`). Returns what it serves.
fn serve_only(core: &Core, wrong: Wrong) -> u32 {
    let wakes = || core.requests.compare_exchange(WAKE, 0, AcqRel, Relaxed).is_ok();
    if wrong == Wrong::RequestFirst {
        return if wakes() && core.mail.take_only().is_some() { WAKE } else { 0 };
    }
    if core.mail.take_only() != Some(NUMBER) {
        return 0;
    }
    if wakes() {
        return WAKE;
    }
    if wrong != Wrong::NotPutBack {
        core.mail.put(VCPU);
    }
    0
}

/// How a core looks into its box.
type Way = fn(&Core, Wrong) -> u32;

/// As a core that has slept does.
fn serve_awake(core: &Core, wrong: Wrong) -> u32 {
    let served = serve_only(core, wrong);
    if served == 0 { serve(core, wrong) } else { served }
}

/// Two ask different things of one vCPU while its core serves: both are served, and what was written before is seen.
fn two(way: Way, wrong: Wrong, asker_without: Without) {
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
            let requests = way(&core, wrong);
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
    letter(Mail::next, Nothing);
    letter(Mail::take_only, Nothing);
}

#[test]
#[should_panic(expected = "nobody looks into")]
fn a_letter_is_lost_to_a_core_that_reads_a_word_and_clears_it() {
    letter(Mail::next, Without::Atomicity);
}

#[test]
#[should_panic(expected = "nobody looks into")]
fn a_letter_is_lost_beside_an_only_one_that_is_read_and_cleared() {
    letter(Mail::take_only, Without::Atomicity);
}

#[test]
fn two_requests_at_once_are_both_served_by_a_core_that_has_slept() {
    two(serve_awake, Wrong::Nothing, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn what_is_asked_behind_a_wake_that_is_taken_before_its_letter_is_never_served() {
    two(serve_awake, Wrong::RequestFirst, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn what_is_asked_besides_a_wake_is_never_served_when_the_letter_is_thrown_away() {
    two(serve_awake, Wrong::NotPutBack, Nothing);
}

#[test]
fn two_requests_at_once_are_both_served() {
    two(serve, Wrong::Nothing, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn a_request_behind_its_letter_is_never_served() {
    two(serve, Wrong::LetterFirst, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn requests_that_are_cleared_by_a_store_are_lost() {
    two(serve, Wrong::ReadAndCleared, Nothing);
}

#[test]
#[should_panic(expected = "before what it is about")]
fn a_request_without_release_is_served_too_early() {
    two(serve, Wrong::Nothing, Without::Release);
}
