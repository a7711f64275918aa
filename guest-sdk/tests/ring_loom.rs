//! Loom: every order in which the two ends of a ring can see each other's words. The ends are those of the library, over
//! loom's words; a mutant takes one order away from one end, and loom must find what goes wrong.
//!
//! Beside each slot is a cell that loom watches: two ends at one slot without an order between them is an error, whatever was
//! read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![allow(clippy::cast_possible_truncation, reason = "offsets of a small memory")]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicU64, fence};
use loom::thread;
use strato_guest::memory::AccessError;
use strato_guest::ring::{Consumer, Memory, Producer, RingError};

/// The words of the header that are used, and two slots of one word behind it.
const HEADER: [u64; 7] = [0, 8, 16, 128, 136, 256, 264];
const SLOTS_AT: u64 = 512;
const SLOTS: u64 = 2;

/// What an end does without.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Without {
    /// Acquire of this word.
    acquire: Option<u64>,
    /// Release of this word.
    release: Option<u64>,
    /// The fences.
    fence: bool,
}

const NOTHING: Without = Without { acquire: None, release: None, fence: false };
const FENCE: Without = Without { fence: true, ..NOTHING };

const fn acquire(word: u64) -> Without {
    Without { acquire: Some(word), ..NOTHING }
}
const fn release(word: u64) -> Without {
    Without { release: Some(word), ..NOTHING }
}

struct Shared {
    header: [AtomicU64; HEADER.len()],
    slots: [(UnsafeCell<()>, AtomicU64); SLOTS as usize],
    /// The events that each end has got.
    to_producer: AtomicBool,
    to_consumer: AtomicBool,
}

/// The memory as one end sees it.
#[derive(Clone)]
struct View(Arc<Shared>, Without);

impl View {
    fn word(&self, at: u64) -> &AtomicU64 {
        &self.0.header[HEADER.iter().position(|&word| word == at).unwrap()]
    }
    fn slot(&self, at: u64) -> &(UnsafeCell<()>, AtomicU64) {
        &self.0.slots[(at - SLOTS_AT) as usize / 8]
    }
}

impl Memory for View {
    fn bytes(&self) -> u64 {
        SLOTS_AT + 8 * SLOTS
    }
    fn load(&self, at: u64, order: Ordering) -> Result<u64, AccessError> {
        Ok(self.word(at).load(if self.1.acquire == Some(at) { Relaxed } else { order }))
    }
    fn store(&self, at: u64, value: u64, order: Ordering) -> Result<(), AccessError> {
        self.word(at).store(value, if self.1.release == Some(at) { Relaxed } else { order });
        Ok(())
    }
    fn read(&self, at: u64, into: &mut [u64]) -> Result<(), AccessError> {
        for (n, word) in into.iter_mut().enumerate() {
            let (watched, slot) = self.slot(at + 8 * n as u64);
            *word = watched.with(|_| slot.load(Relaxed));
        }
        Ok(())
    }
    fn write(&self, at: u64, from: &[u64]) -> Result<(), AccessError> {
        for (n, word) in from.iter().enumerate() {
            let (watched, slot) = self.slot(at + 8 * n as u64);
            watched.with_mut(|_| slot.store(*word, Relaxed));
        }
        Ok(())
    }
    fn fence(&self) {
        if !self.1.fence {
            fence(SeqCst);
        }
    }
}

/// What both ends share, and what each does without.
fn views(producer: Without, consumer: Without) -> (View, View) {
    let (to_producer, to_consumer) = (AtomicBool::new(false), AtomicBool::new(false));
    let header = std::array::from_fn(|_| AtomicU64::new(0));
    let slots = std::array::from_fn(|_| (UnsafeCell::new(()), AtomicU64::new(0)));
    let shared = Arc::new(Shared { header, slots, to_producer, to_consumer });
    (View(Arc::clone(&shared), producer), View(shared, consumer))
}

fn ends(producer: Without, consumer: Without) -> (Producer<1, View>, Consumer<1, View>, Arc<Shared>) {
    let (near, far) = views(producer, consumer);
    let shared = Arc::clone(&near.0);
    (Producer::create(near).unwrap(), Consumer::attach(far).unwrap(), shared)
}

/// Three messages through two slots; each end tries a few times, and what comes is what was sent, in order.
fn stream(producer: Without, consumer: Without) {
    loom::model(move || {
        let (mut to, mut from, _) = ends(producer, consumer);
        let sender = thread::spawn(move || {
            let mut sent = to.write(&[[1], [2]]).unwrap() as u64;
            to.publish().unwrap();
            for _ in 0..2 {
                sent += to.write(&[[sent + 1]]).unwrap() as u64;
                to.publish().unwrap();
            }
            sent
        });
        let mut seen = 0;
        let mut take = |from: &mut Consumer<1, View>| {
            let mut into = [[0]; 2];
            let count = from.read(&mut into).unwrap();
            for [message] in &into[..count] {
                seen += 1;
                assert_eq!(*message, seen, "a message is not the one that was sent");
            }
            from.release().unwrap();
        };
        for _ in 0..2 {
            take(&mut from);
        }
        let sent = sender.join().unwrap();
        for _ in 0..2 {
            take(&mut from);
        }
        assert_eq!(seen, sent, "a message is lost");
    });
}

/// The producer publishes while the consumer goes to sleep on an empty ring.
fn empty(producer: Without, consumer: Without) {
    loom::model(move || {
        let (mut to, mut from, shared) = ends(producer, consumer);
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                to.write(&[[1]]).unwrap();
                if to.publish().unwrap() {
                    shared.to_consumer.store(true, Release);
                }
            }
        });
        let sleeps = from.want(1).unwrap();
        sender.join().unwrap();
        assert!(!sleeps || shared.to_consumer.load(Acquire), "the consumer sleeps on a message");
    });
}

/// The consumer gives slots back, one by one, while the producer goes to sleep until there is room for `count` messages.
fn full(producer: Without, consumer: Without, count: usize) {
    loom::model(move || {
        let (mut to, mut from, shared) = ends(producer, consumer);
        to.write(&[[1], [2]]).unwrap();
        to.publish().unwrap();
        let receiver = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2 {
                    from.read(&mut [[0]]).unwrap();
                    if from.release().unwrap() {
                        shared.to_producer.store(true, Release);
                    }
                }
            }
        });
        let sleeps = to.want(count).unwrap();
        receiver.join().unwrap();
        assert!(!sleeps || shared.to_producer.load(Acquire), "the producer sleeps on room");
    });
}

/// One end makes the ring while the other one looks for it.
fn make(maker: Without, finder: Without) {
    loom::model(move || {
        let (near, far) = views(maker, finder);
        let maker = thread::spawn(move || drop(Producer::<1, View>::create(near).unwrap()));
        match Consumer::<1, View>::attach(far) {
            Ok(found) => assert_eq!(found.capacity(), SLOTS),
            Err(error) => assert_eq!(error, RingError::NotMade, "the ring was found half made"),
        }
        maker.join().unwrap();
    });
}

const MAGIC: u64 = 0;
const TAIL: u64 = 128;
const HEAD: u64 = 256;

#[test]
fn every_message_comes_once_in_order_and_whole() {
    stream(NOTHING, NOTHING);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_tail_that_is_not_released_shows_a_slot_before_its_message() {
    stream(release(TAIL), NOTHING);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_tail_that_is_not_acquired_shows_a_slot_before_its_message() {
    stream(NOTHING, acquire(TAIL));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_head_that_is_not_released_lets_a_message_be_written_over() {
    stream(NOTHING, release(HEAD));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_head_that_is_not_acquired_lets_a_message_be_written_over() {
    stream(acquire(HEAD), NOTHING);
}

#[test]
fn a_consumer_never_sleeps_on_a_message() {
    empty(NOTHING, NOTHING);
}

#[test]
#[should_panic(expected = "sleeps on a message")]
fn a_producer_that_publishes_without_a_fence_leaves_the_consumer_asleep() {
    empty(FENCE, NOTHING);
}

#[test]
#[should_panic(expected = "sleeps on a message")]
fn a_consumer_that_goes_to_sleep_without_a_fence_sleeps_on_a_message() {
    empty(NOTHING, FENCE);
}

#[test]
fn a_producer_never_sleeps_on_room() {
    full(NOTHING, NOTHING, 1);
    full(NOTHING, NOTHING, 2);
}

#[test]
#[should_panic(expected = "sleeps on room")]
fn a_producer_that_goes_to_sleep_without_a_fence_sleeps_on_room() {
    full(FENCE, NOTHING, 2);
}

#[test]
#[should_panic(expected = "sleeps on room")]
fn a_consumer_that_gives_back_without_a_fence_leaves_the_producer_asleep() {
    full(NOTHING, FENCE, 2);
}

#[test]
fn a_ring_is_found_whole_or_not_yet() {
    make(NOTHING, NOTHING);
}

#[test]
#[should_panic(expected = "half made")]
fn a_magic_number_that_is_not_released_shows_half_a_ring() {
    make(release(MAGIC), NOTHING);
}

#[test]
#[should_panic(expected = "half made")]
fn a_magic_number_that_is_not_acquired_shows_half_a_ring() {
    make(NOTHING, acquire(MAGIC));
}
