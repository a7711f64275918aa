//! Tests of the choice among what is ready.

use super::*;
use zerocopy::FromZeros;

/// Does what `leave` does with `turn` in its place.
fn leave(queue: &mut RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) -> Option<Turn> {
    *turn = super::leave(queue, turn.unwrap(), now, slice);
    *turn
}

fn vcpu(n: u16) -> VcpuRef {
    VcpuRef::from_number(n).unwrap()
}

fn pick(queue: &mut RunQueue, mut turn: Option<Turn>, now: u64, slice: u64) -> Option<Turn> {
    super::pick(queue, &mut turn, now, slice);
    turn
}

#[test]
fn a_lone_vcpu_keeps_the_core_beyond_its_slice() {
    let mut queue = RunQueue::new_zeroed();
    queue.push(vcpu(1), 5, false);
    let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    assert_eq!(pick(&mut queue, Some(turn), 1000, 10), Some(Turn { until: 1010, ..turn }));
    assert_eq!(slice_end(&queue, &turn), u64::MAX);
}

#[test]
fn an_equal_takes_over_at_the_end_of_the_slice_and_not_before() {
    let mut queue = RunQueue::new_zeroed();
    queue.push(vcpu(1), 5, false);
    queue.push(vcpu(2), 5, false);
    let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    assert_eq!(slice_end(&queue, &turn), 10);
    assert_eq!(pick(&mut queue, Some(turn), 9, 10), Some(turn));
    let next = pick(&mut queue, Some(turn), 10, 10).unwrap();
    assert_eq!((next.vcpu, next.until), (vcpu(2), 20));
    assert!(queue.contains(vcpu(1)));
}

#[test]
fn who_is_handed_the_turn_has_the_rest_of_it_and_both_go_behind_their_equals() {
    let mut queue = RunQueue::new_zeroed();
    for n in 1..=4 {
        queue.push(vcpu(n), 5, false);
    }
    let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    assert!(hand_over(&mut queue, &mut turn, vcpu(3), false));
    assert_eq!((turn.vcpu, turn.until, turn.priority), (vcpu(3), 10, 5));
    let order: Vec<_> = (0..4)
        .map(|n| {
            let next = pick(&mut queue, Some(turn), 10 + n * 10, 10).unwrap();
            turn = next;
            next.vcpu.number()
        })
        .collect();
    assert_eq!(order, [2, 4, 1, 3]);
}

#[test]
fn one_who_yields_or_leaves_is_followed_as_pick_would_have_it() {
    let mut queue = RunQueue::new_zeroed();
    for (n, priority) in [(1, 5), (2, 5), (3, 2)] {
        queue.push(vcpu(n), priority, false);
    }
    let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    let next = give_way(&mut queue, &mut turn, 7, 10).unwrap();
    assert_eq!((next, turn.vcpu, turn.until), (turn, vcpu(2), 17));
    let mut turn = Some(turn);
    assert_eq!(leave(&mut queue, &mut turn, 8, 10).unwrap().vcpu, vcpu(1), "its equal comes first");
    let mut alone = turn.filter(|turn| turn.vcpu == vcpu(1) && !queue.contains(vcpu(2))).unwrap();
    assert_eq!(give_way(&mut queue, &mut alone, 9, 10), None, "nobody is equal");
    let lower = leave(&mut queue, &mut turn, 9, 10).unwrap();
    assert_eq!((lower.vcpu, lower.priority), (vcpu(3), 2));
    assert_eq!((leave(&mut queue, &mut turn, 9, 10), turn), (None, None));
}

#[test]
fn one_who_becomes_ready_has_the_core_when_it_is_above_and_a_slice_ends_for_an_equal_alone() {
    let mut queue = RunQueue::new_zeroed();
    queue.push(vcpu(1), 5, false);
    let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    assert!(!end_slice(&mut queue, &mut turn, 99, 10), "nobody is equal");
    for (n, level) in [(2, 4), (3, 5)] {
        assert!(!join(&mut queue, &mut turn, vcpu(n), level, 8, 10));
        assert_eq!((turn.vcpu, turn.until), (vcpu(1), 10));
    }
    assert!(!end_slice(&mut queue, &mut turn, 9, 10), "not before its end");
    assert!(end_slice(&mut queue, &mut turn, 10, 10));
    assert_eq!((turn.vcpu, turn.until), (vcpu(3), 20));
    assert!(join(&mut queue, &mut turn, vcpu(4), 9, 12, 10));
    assert_eq!((turn, queue.first()), (Turn { vcpu: vcpu(4), priority: 9, until: 22 }, Some((vcpu(4), 9))));
    queue.remove(vcpu(4));
    assert_eq!(queue.first(), Some((vcpu(3), 5)), "who lost the core is first among its equals");
}

#[test]
fn who_takes_over_has_a_slice_of_its_own_and_an_equal_that_comes_then_waits_for_its_end() {
    let mut queue = RunQueue::new_zeroed();
    for (n, level) in [(1, 5), (2, 3)] {
        queue.push(vcpu(n), level, false);
    }
    let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    replace(&mut queue, &mut turn, vcpu(4), 7, 10);
    assert_eq!(turn, Turn { vcpu: vcpu(4), priority: 5, until: 17 });
    assert_eq!((queue.first(), queue.contains(vcpu(1))), (Some((vcpu(4), 5)), false));
    assert!(!join(&mut queue, &mut turn, vcpu(1), 5, 8, 10) && !end_slice(&mut queue, &mut turn, 16, 10));
    assert!(end_slice(&mut queue, &mut turn, 17, 10));
    assert_eq!(turn.vcpu, vcpu(1));
}

#[test]
fn a_lent_priority_ends_with_the_slice_a_yield_and_a_preemption() {
    for end in ["slice", "yield", "preemption"] {
        let mut queue = RunQueue::new_zeroed();
        for (n, priority) in [(1, 5), (2, 2), (3, 3)] {
            queue.push(vcpu(n), priority, false);
        }
        let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        assert!(!hand_over(&mut queue, &mut turn, vcpu(2), false), "not without the right to lift");
        assert!(!hand_over(&mut queue, &mut turn, vcpu(1), true), "not to itself");
        assert!(!hand_over(&mut queue, &mut turn, vcpu(9), true), "not to one that is not ready");
        assert!(hand_over(&mut queue, &mut turn, vcpu(2), true));
        assert_eq!(pick(&mut queue, Some(turn), 9, 10).unwrap().vcpu, vcpu(2));
        assert!(!hand_over(&mut queue, &mut turn, vcpu(3), true), "what is lent is not lent on");
        let now = if end == "slice" { 10 } else { 9 };
        if end == "yield" {
            turn.until = 0;
        }
        if end == "preemption" {
            queue.push(vcpu(4), 9, false);
        }
        let next = pick(&mut queue, Some(turn), now, 10).unwrap();
        assert_eq!(next.vcpu, vcpu(if end == "preemption" { 4 } else { 1 }), "{end}");
        assert_eq!(queue.priority_of(vcpu(2)), Some(2), "{end}");
        // One that blocks leaves the queue by itself.
        queue.remove(vcpu(2));
        assert_eq!(queue.priority_of(vcpu(2)), None);
    }
}

#[test]
fn who_is_displaced_in_every_slice_does_not_keep_its_equals_out() {
    const SLICE: u64 = 100;
    for (period, joins) in [1, 30, 99, 100, 101, 250].into_iter().flat_map(|period| [(period, false), (period, true)]) {
        let mut queue = RunQueue::new_zeroed();
        (1..=3).for_each(|n| queue.push(vcpu(n), 5, false));
        let (mut turn, mut ran) = (None, [0u64; 5]);
        for now in 0..60 * SLICE {
            // Somebody higher comes every period, and runs for a tick.
            if now % period != 0 || now == 0 {
                if turn.is_some_and(|turn: Turn| turn.vcpu == vcpu(4)) {
                    leave(&mut queue, &mut turn, now, SLICE);
                }
            } else if let Some(turn) = turn.as_mut().filter(|turn| joins && turn.vcpu != vcpu(4)) {
                assert!(join(&mut queue, turn, vcpu(4), 9, now, SLICE));
            } else {
                queue.push(vcpu(4), 9, false);
            }
            super::pick(&mut queue, &mut turn, now, SLICE);
            ran[turn.unwrap().vcpu.index()] += 1;
        }
        let [.., one, two, three, _] = ran;
        assert!(one.abs_diff(two).max(two.abs_diff(three)) <= 2 * SLICE, "{period}: {ran:?}");
    }
}

#[test]
fn what_was_cut_off_is_the_next_turn_of_who_it_was_cut_off_from_alone() {
    for end in ["pass", "remove", "leave", "replace"] {
        let mut queue = RunQueue::new_zeroed();
        (1..=2).for_each(|n| queue.push(vcpu(n), 5, false));
        let mut turn = Some(Turn { vcpu: vcpu(1), priority: 5, until: 10 });
        assert!(join(&mut queue, turn.as_mut().unwrap(), vcpu(4), 9, 7, 10));
        let until = leave(&mut queue, &mut turn, 20, 10).map(|turn| (turn.vcpu, turn.until));
        assert_eq!(until, Some((vcpu(1), 23)), "three ticks were left");
        match end {
            "pass" => drop(give_way(&mut queue, turn.as_mut().unwrap(), 21, 10)),
            "remove" => {
                queue.remove(vcpu(1));
                turn = None;
            }
            "replace" => {
                queue.remove(vcpu(2));
                replace(&mut queue, turn.as_mut().unwrap(), vcpu(2), 21, 10);
                assert!(join(&mut queue, turn.as_mut().unwrap(), vcpu(4), 9, 31, 10));
                turn = leave(&mut queue, &mut turn, 41, 10);
                assert_eq!(turn.map(|turn| turn.until), Some(41), "its own slice alone counts");
                queue.remove(vcpu(2));
                queue.push(vcpu(2), 5, false);
                turn = None;
            }
            _ => drop(leave(&mut queue, &mut turn, 21, 10)),
        }
        let turn = pick(&mut queue, turn, 21, 10).unwrap();
        assert_eq!((turn.vcpu, turn.until), (vcpu(2), 31), "{end}");
    }
}

#[test]
fn a_higher_priority_takes_over_at_once_and_a_lower_one_never() {
    let mut queue = RunQueue::new_zeroed();
    queue.push(vcpu(1), 5, false);
    queue.push(vcpu(3), 1, false);
    let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
    assert_eq!(pick(&mut queue, Some(turn), 99, 10).unwrap().vcpu, turn.vcpu);
    queue.push(vcpu(2), 9, false);
    assert_eq!(pick(&mut queue, Some(turn), 0, 10).unwrap().vcpu, vcpu(2));
    queue.remove(vcpu(2));
    assert_eq!(queue.first(), Some((vcpu(1), 5)), "it is first among what is left");
}
