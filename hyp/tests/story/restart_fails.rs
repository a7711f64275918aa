//! Restart, and what comes between: no memory, an end in the middle, and the bound on what a VM leaves to others.

use strato_abi::Call;
use strato_abi::plan::VM_RESTART;
use strato_hyp::allocator::Kind;
use strato_hyp::arch::ram::Pages;
use strato_hyp::dispatcher::service;
use strato_hyp::lock::Held;
use strato_hyp::machine::Pool;
use strato_hyp::sync::Ordering;
use strato_hyp::vm::Ending;

use crate::plan::{Guest, RTC, RTC_INTID, System};
use crate::restart::restarting;
use crate::share_calls::{RW, lent};
use crate::stage::Story;
use crate::talk::{A, B};

const CRASH: [u64; 4] = [1, 2, 3, 4];

/// A VM with a bit of everything.
fn rich() -> System {
    let a = Guest { vcpus: 3, ram_pages: 64, ..restarting("a", VM_RESTART) };
    let mut system = System::pair(a, Guest::new("b"));
    system.device(0, RTC).interrupt(0, RTC_INTID).own(0, 32);
    system
}

/// Takes all frames but `rest`.
fn take_all_but(s: &Story, rest: usize) -> Vec<Pages> {
    let mut none = Held::for_example();
    let (mut pool, _held) = s.machine.memory.lock(&mut none);
    let Pool { allocator, own, .. } = &mut *pool;
    let mut taken: Vec<Pages> =
        std::iter::from_fn(|| allocator.take(0, Kind::Object, own).ok()).take(1 << 16).collect();
    // In order of their addresses, so that what is left is as contiguous as can be.
    taken.sort_by_key(Pages::pa);
    for pages in taken.split_off(taken.len().saturating_sub(rest)) {
        allocator.give_back(pages, own).unwrap();
    }
    taken
}

fn give(s: &Story, taken: Vec<Pages>) {
    let mut none = Held::for_example();
    let (mut pool, _held) = s.machine.memory.lock(&mut none);
    let Pool { allocator, own, .. } = &mut *pool;
    taken.into_iter().for_each(|pages| allocator.give_back(pages, own).unwrap());
}

#[test]
fn one_for_which_there_is_no_memory_fails_at_any_step_and_leaves_nothing() {
    let (mut failed, mut made) = (0, 0);
    for rest in 0..32 {
        let mut s = Story::new(&rich());
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_gone(0);
        s.turns(2); // the VM object is back as well
        let taken = take_all_but(&s, rest);
        for _ in 0..200 {
            s.turns(1);
        }
        if s.said("vm a: cannot be made again: ") {
            assert!(s.try_vm(0, |_| ()).is_none(), "with {rest} frames");
            assert!(s.said("vm a: stopped: see its report"), "{:?}", s.log());
            assert_eq!(s.machine.ended[1].load(Ordering::Relaxed), 1);
            failed += 1;
        } else {
            s.until_life(0, 2);
            made += 1;
        }
        give(&s, taken);
        s.close();
    }
    assert!(failed > 5 && made > 5, "{failed} failed, {made} were made");
}

#[test]
fn one_for_which_there_is_not_even_a_frame_to_begin_with_is_over_and_says_so() {
    let mut s = Story::new(&rich());
    s.begin(A, Call::CorePanic, &CRASH);
    let mut taken = Vec::new();
    for _ in 0..400 {
        taken.extend(take_all_but(&s, 0)); // whatever it has given back so far
        s.turns(1);
    }
    assert!(s.said("vm a: cannot be made again: there is not enough memory"), "{:?}", s.log());
    assert!(s.said("vm a: stopped: it reported a crash") && s.try_vm(0, |_| ()).is_none());
    assert_eq!(s.machine.ended[1].load(Ordering::Relaxed), 1);
    give(&s, taken);
    s.close();
}

#[test]
fn one_that_is_ended_while_it_is_made_leaves_nothing() {
    for cores in [1, 2] {
        for gap in 0..40 {
            let mut system = rich();
            system.guests[0].cores = [0, 1, 0, 0, 0, 0, 0, 0];
            let mut s = Story::on(&system, cores);
            s.begin(A, Call::CorePanic, &CRASH);
            s.until_gone(0);
            while s.try_vm(0, |_| ()).is_none() {
                s.turns(1);
            }
            s.turns(gap);
            let machine = s.machine;
            // Nobody can in a machine that runs: its guest has not begun.
            s.vm(0, |vm| service::end_vm(machine, vm, Ending::Exit(0)));
            s.close();
        }
    }
}

#[test]
fn what_it_leaves_to_others_is_bounded_over_all_its_lives() {
    let a = Guest { quota: 130, restart_limit: 100, ..restarting("a", VM_RESTART) };
    let mut system = System::pair(a, Guest { quota: 1000, handles: 64, ..Guest::new("b") });
    system.frames = 4096;
    system.own(0, 32);
    let mut s = Story::new(&system);
    for life in 1..=5 {
        if life == 1 {
            lent(&mut s, RW);
        } else {
            let [peer, region] = [1, 3].map(|index| crate::restart::handle_in(life, index));
            let key = s.call(A, Call::ShareOffer, &[peer, region, 0, 32, RW, 0])[1];
            s.call(B, Call::ShareAccept, &[crate::talk::handle(1), key, 0]);
        }
        s.begin(A, Call::CorePanic, &CRASH);
        if life < 5 {
            s.until_life(0, life as u32 + 1);
        }
    }
    s.until_gone(0);
    s.turns(60);
    assert!(
        s.said("vm a: not restarted again: 160 pages of its lives went to others, more than its quota"),
        "{:?}",
        s.log()
    );
    assert!(s.try_vm(0, |_| ()).is_none());
    s.close();
}

/// The first one fails again as soon as it has begun, as often as it may.
#[test]
fn one_that_fails_again_and_again_does_not_keep_another_from_its_end() {
    let a = Guest { priority: 20, restart_limit: 255, ..restarting("a", VM_RESTART) };
    let mut s = Story::new(&System::new([a, Guest::new("b"), Guest::new("c")]));
    for _ in 0..10 {
        s.begin(A, Call::CorePanic, &CRASH);
    }
    s.begin(B, Call::CoreExit, &[0, 0]);
    s.turns(1);
    s.until_gone(0);
    let lives = |s: &Story| s.log().iter().filter(|line| line.starts_with("vm a: restarted")).count();
    while !s.said("vm b: ended") {
        s.turns(1);
        assert!(lives(&s) < 4, "{:?}", s.log());
    }
    while lives(&s) < 10 {
        s.turns(1);
    }
    s.close();
}
