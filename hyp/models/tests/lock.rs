//! Loom: the ticket lock, two at once, and one that is found behind another. The lock is that of the crate `spin`, whose atomics
//! cannot be loom's; so its algorithm (`spin::mutex::ticket`, version 0.12) is mirrored, and so are `lock_pair` and `lock_found`.
//!
//! What is locked is a cell that loom watches. Two that wait for each other run into loom's bound on steps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![allow(unsafe_code, reason = "the watched cell gives out a pointer")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use strato_models::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use strato_models::sync::{AtomicU32, Without, go_without};

/// `spin::mutex::TicketMutex` with `lock::Relax`.
#[derive(Default)]
struct Ticket {
    next: AtomicU32,
    serving: AtomicU32,
    data: UnsafeCell<u32>,
}

/// `TicketMutexGuard`.
struct Guard<'a>(&'a Ticket, u32);

impl Ticket {
    fn lock(&self) -> Guard<'_> {
        self.wait(self.next.fetch_add(1, Relaxed))
    }

    fn wait(&self, ticket: u32) -> Guard<'_> {
        while self.serving.load(Acquire) != ticket {
            thread::yield_now();
        }
        Guard(self, ticket)
    }

    fn try_lock(&self) -> Option<Guard<'_>> {
        let mut ticket = self.next.load(SeqCst);
        loop {
            if self.serving.load(Acquire) != ticket {
                return None;
            }
            match self.next.compare_exchange(ticket, ticket + 1, SeqCst, SeqCst) {
                Ok(_) => return Some(Guard(self, ticket)),
                Err(now) => ticket = now,
            }
        }
    }
}

impl Guard<'_> {
    fn add(&self) {
        // SAFETY: loom watches the cell: that only who is served is here is what the model shows.
        self.0.data.with_mut(|data| unsafe { *data += 1 });
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.serving.store(self.1 + 1, Release);
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Two lock, or one of them tries: one at a time is inside, and sees what those before it did.
fn exclusive(is_trying: bool, without: Without) {
    check(move || {
        let lock = Arc::new(Ticket::default());
        let other = thread::spawn({
            let lock = Arc::clone(&lock);
            move || {
                go_without(without);
                let guard = if is_trying { lock.try_lock() } else { Some(lock.lock()) };
                guard.iter().for_each(Guard::add);
                guard.is_some()
            }
        });
        lock.lock().add();
        let count = 1 + u32::from(other.join().unwrap());
        // SAFETY: as in `add`; the other is done.
        lock.lock().0.data.with(|data| assert_eq!(unsafe { *data }, count));
    });
}

/// Tickets are served in the order in which they were taken: whoever has one is never overtaken by who asks later.
fn fair(is_counted: bool) {
    check(move || {
        let lock = Arc::new(Ticket::default());
        let order = Arc::new(AtomicU32::new(0));
        let first = if is_counted { lock.next.fetch_add(1, Relaxed) } else { 0 };
        let other = thread::spawn({
            let (lock, order) = (Arc::clone(&lock), Arc::clone(&order));
            move || {
                let _guard = lock.lock();
                order.fetch_add(1, Relaxed)
            }
        });
        let guard = if is_counted { lock.wait(first) } else { lock.lock() };
        assert_eq!(order.fetch_add(1, Relaxed), 0, "who asked later was served first");
        drop(guard);
        other.join().unwrap();
    });
}

/// Two take two locks, each with its own in mind first (`lock::lock_pair`): the lower place first, or as asked.
fn pair(is_by_place: bool) {
    check(move || {
        let locks = Arc::new([Ticket::default(), Ticket::default()]);
        let both = move |locks: &[Ticket; 2], near: usize, far: usize| {
            let (first, second) = if is_by_place { (near.min(far), near.max(far)) } else { (near, far) };
            let (first, second) = (locks[first].lock(), locks[second].lock());
            first.add();
            second.add();
        };
        let other = thread::spawn({
            let locks = Arc::clone(&locks);
            move || both(&locks, 1, 0)
        });
        both(&locks, 0, 1);
        other.join().unwrap();
    });
}

/// Two take their own lock and then, without waiting, that of the other (`lock::lock_found`); where that fails, both in order.
fn found(is_let_go: bool) {
    check(move || {
        let locks = Arc::new([Ticket::default(), Ticket::default()]);
        let both = move |locks: &[Ticket; 2], near: usize, far: usize| {
            let first = locks[near].lock();
            if let Some(second) = locks[far].try_lock() {
                first.add();
                second.add();
                return;
            }
            if is_let_go {
                drop(first);
                let (first, second) = (locks[0].lock(), locks[1].lock());
                first.add();
                second.add();
            } else {
                locks[far].lock().add();
                first.add();
            }
        };
        let other = thread::spawn({
            let locks = Arc::clone(&locks);
            move || both(&locks, 1, 0)
        });
        both(&locks, 0, 1);
        other.join().unwrap();
    });
}

#[test]
fn one_at_a_time_has_the_lock_and_sees_what_was_done_before() {
    exclusive(false, Without::Nothing);
    exclusive(true, Without::Nothing);
}

#[test]
#[should_panic]
fn a_lock_that_is_taken_without_acquire_lets_two_in() {
    exclusive(false, Without::Acquire);
}

#[test]
#[should_panic]
fn a_lock_that_is_given_back_without_release_lets_two_in() {
    exclusive(true, Without::Release);
}

#[test]
fn tickets_are_served_in_their_order() {
    fair(true);
}

#[test]
#[should_panic(expected = "served first")]
fn without_a_ticket_who_asks_later_may_be_served_first() {
    fair(false);
}

#[test]
fn two_locks_are_taken_by_place_and_nobody_waits_for_ever() {
    pair(true);
}

#[test]
#[should_panic]
fn two_locks_that_are_taken_as_asked_wait_for_each_other() {
    pair(false);
}

#[test]
fn a_lock_behind_another_is_taken_without_waiting_or_both_in_order() {
    found(true);
}

#[test]
#[should_panic]
fn a_lock_behind_another_that_is_waited_for_never_comes() {
    found(false);
}
