//! Any order of steps of two honest ends against a queue; and one honest end against a far end that writes anything anywhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod ring_common;

use std::collections::VecDeque;

use proptest::prelude::*;
use ring_common::{HEAD, Page, SLOTS_AT, TAIL, WANTED_HEAD, WANTED_TAIL};
use strato_guest::ring::{Consumer, Producer, RingError};

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Publish,
    WantRoom(usize),
    Read(usize),
    Release,
    WantMessages(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..12usize).prop_map(Step::Write),
        Just(Step::Publish),
        (0..12usize).prop_map(Step::WantRoom),
        (0..12usize).prop_map(Step::Read),
        Just(Step::Release),
        (0..12usize).prop_map(Step::WantMessages),
    ]
}

/// What the ring should hold, by number: `released <= read <= published <= written`.
#[derive(Default)]
struct Model {
    queue: VecDeque<u64>,
    numbers: [u64; 4],
    /// The count at which each end is due an event.
    producer_wants: Option<u64>,
    consumer_wants: Option<u64>,
}

proptest! {
    #[test]
    fn honest_ends_pass_every_message_once_in_order_and_tell_whoever_asked(
        slots in (0..4u32).prop_map(|log| 1u64 << log), steps in prop::collection::vec(step(), 0..200),
    ) {
        let page = Page::of(slots, 3);
        let mut to = Producer::<3, _>::create(page.clone()).unwrap();
        let mut from = Consumer::<3, _>::attach(page).unwrap();
        let mut model = Model::default();
        for step in steps {
            let [released, read, published, written] = &mut model.numbers;
            match step {
                Step::Write(count) => {
                    let all: Vec<[u64; 3]> = (0..count as u64).map(|n| [*written + n, 7, !(*written + n)]).collect();
                    let done = to.write(&all).unwrap() as u64;
                    prop_assert_eq!(done, (count as u64).min(slots - (*written - *released)));
                    model.queue.extend(*written..*written + done);
                    *written += done;
                }
                Step::Publish => {
                    let due = model.consumer_wants.take_if(|wanted| *wanted <= *written);
                    let told = to.publish().unwrap();
                    prop_assert!(told || due.is_none(), "an event is missing");
                    *published = *written;
                }
                Step::WantRoom(count) => {
                    let wanted = (*written + slots.min(count as u64)).saturating_sub(slots);
                    let waits = to.want(count).unwrap();
                    prop_assert_eq!(waits, *released < wanted);
                    model.producer_wants = waits.then_some(wanted);
                }
                Step::Read(count) => {
                    let mut into = vec![[0; 3]; count];
                    let done = from.read(&mut into).unwrap();
                    prop_assert_eq!(done as u64, (count as u64).min(*published - *read));
                    for message in &into[..done] {
                        let n = model.queue.pop_front().unwrap();
                        prop_assert_eq!(*message, [n, 7, !n]);
                    }
                    *read += done as u64;
                }
                Step::Release => {
                    let due = model.producer_wants.take_if(|wanted| *wanted <= *read);
                    let told = from.release().unwrap();
                    prop_assert!(told || due.is_none(), "an event is missing");
                    *released = *read;
                }
                Step::WantMessages(count) => {
                    let wanted = *read + slots.min(count as u64);
                    let waits = from.want(count).unwrap();
                    prop_assert_eq!(waits, *published < wanted);
                    model.consumer_wants = waits.then_some(wanted);
                }
            }
        }
    }

    #[test]
    fn an_honest_end_survives_whatever_the_far_end_writes(
        steps in prop::collection::vec((step(), any::<prop::sample::Index>(), garbage()), 0..200),
    ) {
        let page = Page::of(4, 3);
        let mut to = Producer::<3, _>::create(page.clone()).unwrap();
        let mut from = Consumer::<3, _>::attach(page.clone()).unwrap();
        for (step, at, value) in steps {
            let words = [HEAD, TAIL, WANTED_HEAD, WANTED_TAIL, 0, 8, 16, SLOTS_AT];
            page.set(words[at.index(words.len())], value);
            let done = match step {
                Step::Write(count) => to.write(&vec![[value; 3]; count]).map(|done| assert!(done <= count.min(4))),
                Step::Publish => to.publish().map(drop),
                Step::WantRoom(count) => to.want(count).map(drop),
                Step::Read(count) => from.read(&mut vec![[0; 3]; count]).map(|done| assert!(done <= count.min(4))),
                Step::Release => from.release().map(drop),
                Step::WantMessages(count) => from.want(count).map(drop),
            };
            prop_assert!(matches!(done, Ok(()) | Err(RingError::Corrupt { .. })), "{:?}", done);
            let _ = Consumer::<3, _>::attach(page.clone());
        }
    }
}

/// Numbers near those that a ring has, and any others.
fn garbage() -> impl Strategy<Value = u64> {
    prop_oneof![0..12u64, any::<u64>(), Just(u64::MAX), Just(1 << 63)]
}
