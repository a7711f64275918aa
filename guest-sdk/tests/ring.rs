//! A ring's ends over plain memory: what comes through, who is told, and what the far end can write into it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod ring_common;

use std::cell::RefCell;

use ring_common::{FORMAT, HEAD, Page, SLOTS, SLOTS_AT, TAIL, WANTED_HEAD, WANTED_TAIL};
use strato_guest::abi::call::{EvtSendReply, VcpuWaitReply};
use strato_guest::abi::{Call, Handle, PortHandle, Regs, Reply};
use strato_guest::event_area::EventCells;
use strato_guest::ring::{Consumer, Producer, Receiver, RingError, Sender};
use strato_guest::{Conduit, Recorder};

type Message = [u64; 2];
const NONE: Message = [0; 2];

fn message(n: u64) -> Message {
    [n, !n]
}

fn messages(numbers: std::ops::Range<u64>) -> Vec<Message> {
    numbers.map(message).collect()
}

fn ends(slots: u64) -> (Producer<2, Page>, Consumer<2, Page>, Page) {
    let page = Page::of(slots, 2);
    let producer = Producer::create(page.clone()).unwrap();
    let consumer = Consumer::attach(page.clone()).unwrap();
    page.touched();
    (producer, consumer, page)
}

fn send(producer: &mut Producer<2, Page>, numbers: std::ops::Range<u64>) -> (usize, bool) {
    (producer.write(&messages(numbers)).unwrap(), producer.publish().unwrap())
}

fn corrupt(word: &'static str, found: u64) -> RingError {
    RingError::Corrupt { word, found }
}

#[test]
fn a_ring_takes_a_power_of_two_of_slots_and_both_ends_agree() {
    for (bytes, slots) in [(4096, 32), (8192, 64), (SLOTS_AT + 64, 1), (SLOTS_AT + 3 * 64, 2)] {
        let page = Page::new(bytes);
        assert_eq!(Producer::<8, _>::create(page.clone()).unwrap().capacity(), slots, "{bytes}");
        assert_eq!(Consumer::<8, _>::attach(page).unwrap().capacity(), slots, "{bytes}");
    }
    for bytes in [0, 64, SLOTS_AT, SLOTS_AT + 56] {
        assert_eq!(Producer::<8, _>::create(Page::new(bytes)).unwrap_err(), RingError::TooSmall);
    }
    assert_eq!(Producer::<0, _>::create(Page::new(4096)).unwrap_err(), RingError::TooSmall);
    assert_eq!(Consumer::<8, _>::attach(Page::new(64)).unwrap_err(), RingError::TooSmall);
}

#[test]
fn messages_come_in_order_across_the_end_of_the_slots() {
    let (mut to, mut from, _) = ends(4);
    let mut into = [NONE; 3];
    for n in (0..30).step_by(3) {
        assert_eq!(send(&mut to, n..n + 3).0, 3);
        assert_eq!((from.read(&mut into).unwrap(), into.to_vec()), (3, messages(n..n + 3)));
        from.release().unwrap();
    }
    assert_eq!(from.read(&mut into), Ok(0));
}

#[test]
fn a_batch_is_cut_to_the_room_and_published_by_one_store() {
    let (mut to, mut from, page) = ends(4);
    assert_eq!(send(&mut to, 0..9).0, 4);
    assert_eq!(page.touched(), [(false, HEAD), (true, TAIL), (false, WANTED_TAIL)]);
    assert_eq!(to.write(&[message(9)]), Ok(0));
    page.touched();
    let mut into = [NONE; 9];
    assert_eq!((from.read(&mut into), into[..4].to_vec()), (Ok(4), messages(0..4)));
    assert_eq!(to.write(&[message(9)]), Ok(0), "what was read is not given back yet");
    page.touched();
    from.release().unwrap();
    assert_eq!(page.touched(), [(true, HEAD), (false, WANTED_HEAD)]);
    assert_eq!(to.write(&[message(9)]), Ok(1));
}

#[test]
fn what_is_written_is_unseen_until_it_is_published_and_nothing_new_publishes_nothing() {
    let (mut to, mut from, page) = ends(4);
    to.write(&messages(0..2)).unwrap();
    assert_eq!(from.read(&mut [NONE; 4]), Ok(0));
    to.publish().unwrap();
    page.touched();
    assert_eq!((to.publish(), from.release(), page.touched().len()), (Ok(false), Ok(false), 0));
    assert_eq!(from.read(&mut [NONE; 4]), Ok(2));
}

#[test]
fn an_event_is_due_once_for_the_number_that_was_asked_for() {
    let (mut to, mut from, _) = ends(4);
    assert_eq!(send(&mut to, 0..1), (1, false), "nobody asked");
    assert_eq!(from.want(1), Ok(false), "it is there");
    assert_eq!(from.want(3), Ok(true));
    assert_eq!([send(&mut to, 1..2).1, send(&mut to, 2..3).1, send(&mut to, 3..4).1], [false, true, false]);
    assert_eq!(to.want(2), Ok(true));
    let mut give = |count| {
        from.read(&mut vec![NONE; count]).unwrap();
        from.release().unwrap()
    };
    assert_eq!([give(1), give(1), give(1)], [false, true, false]);
    assert_eq!((to.want(3), to.want(99)), (Ok(false), Ok(true)), "at most the whole ring");
    assert!(give(1));
}

#[test]
fn numbers_that_cannot_be_are_corrupt_and_change_nothing() {
    let (mut to, mut from, page) = ends(4);
    send(&mut to, 0..2);
    for found in [3, 5, u64::MAX, 1 << 63] {
        page.set(HEAD, found);
        assert_eq!(to.want(4), Err(corrupt("head", found)), "more was given back than published");
        assert_eq!(to.write(&messages(2..6)), Err(corrupt("head", found)));
    }
    page.set(HEAD, 0);
    for found in [5, 6, u64::MAX, 1 << 63] {
        page.set(TAIL, found);
        assert_eq!(from.read(&mut [NONE; 4]), Err(corrupt("tail", found)), "more than the ring holds");
        assert_eq!(from.want(1), Err(corrupt("tail", found)));
    }
    page.set(TAIL, 2);
    assert_eq!(from.read(&mut [NONE; 4]), Ok(2), "an honest number goes on");
    page.set(TAIL, 1);
    assert_eq!(from.read(&mut [NONE; 4]), Err(corrupt("tail", 1)), "it went back");
}

#[test]
fn a_header_that_does_not_fit_is_refused_by_name() {
    let (_, _, page) = ends(4);
    for (at, found, error) in [
        (0, 0, RingError::NotMade),
        (0, 7, corrupt("magic", 7)),
        (FORMAT, 2 << 32 | 2, RingError::Format { found: 2 << 32 | 2 }),
        (FORMAT, 1 << 32 | 3, RingError::Format { found: 1 << 32 | 3 }),
        (SLOTS, 0, corrupt("slots", 0)),
        (SLOTS, 3, corrupt("slots", 3)),
        (SLOTS, 8, corrupt("slots", 8)),
        (SLOTS, 1 << 63, corrupt("slots", 1 << 63)),
    ] {
        let before = page.get(at);
        page.set(at, found);
        page.touched();
        assert_eq!(Consumer::<2, _>::attach(page.clone()).unwrap_err(), error);
        let loads = page.touched();
        assert!(loads.iter().all(|touch| loads.iter().filter(|other| *other == touch).count() == 1), "{loads:?}");
        assert_eq!(Producer::<2, _>::attach(page.clone()).unwrap_err(), error);
        page.set(at, before);
    }
}

#[test]
fn what_the_far_end_says_of_this_ends_own_words_is_never_read() {
    let (mut to, mut from, page) = ends(4);
    send(&mut to, 0..2);
    page.set(SLOTS, 1 << 40);
    page.set(WANTED_HEAD, 77);
    from.read(&mut [NONE; 1]).unwrap();
    from.release().unwrap();
    page.set(HEAD, 1);
    assert_eq!((to.write(&messages(2..9)), to.capacity()), (Ok(3), 4));
    let loads: Vec<u64> = page.touched().into_iter().filter(|touch| !touch.0).map(|touch| touch.1).collect();
    assert_eq!(loads, [WANTED_TAIL, TAIL, WANTED_HEAD, HEAD]);
}

#[test]
fn a_refused_access_is_an_error_and_the_end_goes_on_when_it_is_over() {
    let (mut to, mut from, page) = ends(4);
    to.write(&messages(0..1)).unwrap();
    page.refuse(true);
    assert!(matches!(to.write(&messages(1..2)), Err(RingError::Access(_))));
    assert!(matches!(to.publish(), Err(RingError::Access(_))));
    assert!(matches!(from.read(&mut [NONE; 4]), Err(RingError::Access(_))));
    page.refuse(false);
    send(&mut to, 1..2);
    let mut into = [NONE; 4];
    assert_eq!((from.read(&mut into), into[..2].to_vec()), (Ok(2), messages(0..2)));
}

fn port(index: u16) -> PortHandle {
    PortHandle(Handle::new(index, 1))
}

fn made(recorder: &Recorder) -> Vec<Call> {
    recorder.calls().iter().map(|(id, _)| Call::from_function_id(*id).unwrap()).collect()
}

#[test]
fn an_event_is_sent_only_to_an_end_that_asked() {
    let (producer, mut from, _) = ends(4);
    let recorder = Recorder::new().answer(EvtSendReply {});
    let mut to = Sender::new_on(&recorder, producer, port(40));
    assert_eq!(to.try_send(&messages(0..1)), Ok(1));
    assert_eq!(made(&recorder), []);
    from.want(2).unwrap();
    assert_eq!(to.try_send(&messages(1..9)), Ok(3));
    assert_eq!(made(&recorder), [Call::EvtSend]);
}

#[test]
fn a_wait_takes_an_event_that_came_before_and_ends_when_the_far_end_has_ended() {
    let (_, consumer, _) = ends(4);
    let recorder = Recorder::new();
    let mut from = Receiver::new_on(&recorder, consumer, port(41));
    from.watch(port(42));
    EventCells::of_this_vcpu().raise(41);
    EventCells::of_this_vcpu().raise(42);
    assert_eq!(from.receive(&mut [NONE; 4]), Err(RingError::Ended));
    assert_eq!((from.receive(&mut []), made(&recorder)), (Ok(0), vec![]));
}

/// The far end of a sender, on the same thread: it has its turn whenever the sender waits.
struct FarEnd {
    consumer: RefCell<Consumer<2, Page>>,
    seen: RefCell<Vec<Message>>,
    calls: RefCell<Vec<Call>>,
}

impl Conduit for FarEnd {
    fn call(&self, id: u32, _: Regs) -> (i64, Regs) {
        let call = Call::from_function_id(id).unwrap();
        self.calls.borrow_mut().push(call);
        if call == Call::EvtSend {
            return (0, EvtSendReply {}.to_regs());
        }
        let mut consumer = self.consumer.borrow_mut();
        while !consumer.want(1).unwrap() {
            let mut into = [NONE; 3];
            let count = consumer.read(&mut into).unwrap();
            self.seen.borrow_mut().extend(&into[..count]);
            if consumer.release().unwrap() {
                EventCells::of_this_vcpu().raise(43);
            }
        }
        (0, VcpuWaitReply { selector: 1, now: 0 }.to_regs())
    }
}

#[test]
fn more_than_the_ring_holds_goes_in_batches_and_telling_and_waiting_are_one_call() {
    let (producer, mut consumer, _) = ends(4);
    consumer.want(1).unwrap();
    let (seen, calls) = (RefCell::default(), RefCell::default());
    let far = FarEnd { consumer: RefCell::new(consumer), seen, calls };
    let mut to = Sender::new_on(&far, producer, port(43));
    to.send(&messages(0..10)).unwrap();
    assert_eq!(*far.calls.borrow(), [Call::VcpuSignalWait, Call::VcpuSignalWait, Call::EvtSend]);
    assert_eq!(*far.seen.borrow(), messages(0..8));
}

#[test]
fn one_who_sends_on_tells_with_the_next_call_a_flush_or_a_drop() {
    let (producer, mut from, _) = ends(4);
    let recorder = Recorder::new().answer(EvtSendReply {}).answer(EvtSendReply {}).answer(EvtSendReply {});
    let mut to = Sender::new_on(&recorder, producer, port(44));
    let mut queue = |to: &mut Sender<'_, 2, _, _>, n| {
        from.want(1).unwrap();
        to.queue(&messages(n..n + 1)).unwrap();
        let calls = made(&recorder).len();
        from.read(&mut [NONE; 4]).unwrap();
        from.release().unwrap();
        calls
    };
    assert_eq!([queue(&mut to, 0), queue(&mut to, 1)], [0, 1]);
    to.flush().unwrap();
    assert_eq!(queue(&mut to, 2), 2);
    drop(to);
    assert_eq!(made(&recorder), [Call::EvtSend; 3]);
}

#[test]
fn what_was_received_is_given_back_by_the_next_call_or_a_release_and_a_drop_touches_nothing() {
    let (mut to, consumer, page) = ends(4);
    let recorder = Recorder::new().answer(EvtSendReply {}).answer(EvtSendReply {}).answer(EvtSendReply {});
    let mut from = Receiver::new_on(&recorder, consumer, port(45));
    let mut into = [NONE; 4];
    for n in 0..3 {
        send(&mut to, 4 * n..4 * n + 4);
        assert_eq!((from.try_receive(&mut into), into.to_vec()), (Ok(4), messages(4 * n..4 * n + 4)));
        assert_eq!((page.get(HEAD), to.want(1)), (4 * n, Ok(true)));
        match n {
            0 => assert_eq!(from.try_receive(&mut into), Ok(0)),
            _ => from.release().unwrap(),
        }
        assert_eq!((page.get(HEAD), made(&recorder).len() as u64), (4 * n + 4, n + 1));
    }
    send(&mut to, 12..13);
    from.receive(&mut into).unwrap();
    page.touched();
    drop(from);
    assert_eq!((page.get(HEAD), page.touched()), (12, vec![]), "the memory may be unmapped by now");
}
