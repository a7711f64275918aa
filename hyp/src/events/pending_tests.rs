//! The event area, as senders and its owner use it.

use super::*;
use crate::arch::backing;
use std::mem::ManuallyDrop;

fn area() -> ManuallyDrop<EventArea> {
    let mut pages = backing::ram(1, 1);
    pages.scrub();
    ManuallyDrop::new(EventArea::new(SharedPages::new(pages)))
}

#[test]
fn an_event_sets_pending_selector_and_line() {
    let (area, sink) = (area(), Sink::default());
    assert_eq!(area.post(1, 65, &sink), Posted::First);
    assert_eq!(area.post(1, 65, &sink), Posted::Merged);
    assert_eq!(area.post(1, 66, &sink), Posted::Again);
    assert_eq!(area.word(1, 1).load(Ordering::Relaxed), 0b110);
    assert!(sink.line().load(Ordering::Relaxed) && area.has_news(1, &sink));
    assert_eq!(area.take(1, &sink), 2);
    assert!(!sink.line().load(Ordering::Relaxed) && !area.has_news(1, &sink));
    assert_eq!(area.take(1, &sink), 0);
}

#[test]
fn one_try_does_what_posting_does_and_posting_again_says_it_once_more() {
    let (area, sink) = (area(), Sink::default());
    area.word(1, MASK).store(1 << 5, Ordering::Relaxed);
    let tried = [65, 65, 66, 5].map(|port| area.post_once(1, port, &sink));
    assert_eq!(tried, [Once::Raised { was_up: false }, Once::Merged, Once::Raised { was_up: true }, Once::Masked]);
    assert_eq!((area.word(1, 0).load(Ordering::Relaxed), area.take(1, &sink)), (1 << 5, 2));
    assert_eq!(area.post_again(1, 65, &sink), Posted::First, "it is pending, but nobody was told of it");
    assert_eq!((area.post_again(1, 5, &sink), area.take(1, &sink)), (Posted::Masked, 2));
}

#[test]
fn a_masked_event_is_kept_but_tells_nobody_until_it_is_unmasked() {
    let (area, sink) = (area(), Sink::default());
    area.word(0, MASK).store(1 << 5, Ordering::Relaxed);
    assert_eq!(area.post(0, 5, &sink), Posted::Masked);
    assert!(!sink.line().load(Ordering::Relaxed));
    assert!(area.reevaluate(0, 5, &sink));
    assert!(!sink.line().load(Ordering::Relaxed), "still masked");
    area.word(0, MASK).store(0, Ordering::Relaxed);
    assert!(area.reevaluate(0, 5, &sink));
    assert!(sink.line().load(Ordering::Relaxed));
}

#[test]
fn a_guest_that_fills_its_area_with_ones_affects_itself_alone() {
    let (area, sink) = (area(), Sink::default());
    for index in 0..512 {
        area.pages.word(index).unwrap().store(u64::MAX, Ordering::Relaxed);
    }
    assert_eq!(area.post(0, 3, &sink), Posted::Merged, "it says that everything is pending");
    assert_eq!(area.take(0, &sink), u64::MAX);
}

#[test]
fn a_withdrawn_event_is_gone() {
    let (area, sink) = (area(), Sink::default());
    area.post(0, 1023, &sink);
    assert!(area.withdraw(0, 1023, &sink));
    assert!(!area.withdraw(0, 1023, &sink));
}

#[test]
fn a_kick_is_seen_under_any_mask_and_is_not_lost_when_the_selector_is_hammered() {
    let (area, sink) = (area(), Sink::default());
    for index in 0..EVENT_WORDS {
        area.word(2, MASK + index).store(u64::MAX, Ordering::Relaxed);
    }
    assert_eq!(area.kick(2, &sink), Posted::First);
    assert_eq!(area.kick(2, &sink), Posted::Again);
    assert_eq!(area.take(2, &sink), SELECTOR_KICK);
    // As after tries in vain.
    sink.kicked.store(true, Ordering::Relaxed);
    sink.overflowed().store(true, Ordering::Relaxed);
    assert!(area.has_news(2, &sink));
    assert_eq!(area.take(2, &sink), SELECTOR_KICK | SELECT_ALL);
    assert_eq!(area.take(2, &sink), 0);
}
