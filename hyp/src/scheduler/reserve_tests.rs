//! Tests of the reservations: what they supply, when, and to whom.

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use crate::scheduler::RESERVED;

const LEVEL: u8 = RESERVED + 5;

fn vcpu(n: u16) -> VcpuRef {
    VcpuRef::from_number(n).unwrap()
}

fn made(budget: u64, period: u64) -> (Reservations, RunQueue, u8) {
    let mut reserved = Reservations::new_zeroed();
    let place = reserved.add(0, budget, period).unwrap();
    reserved.join(place, vcpu(1), LEVEL);
    (reserved, RunQueue::new_zeroed(), place)
}

/// Makes vCPU 1 ready at `now`, lets it run to `until`, and says whether anything is left.
fn run(reserved: &mut Reservations, queue: &mut RunQueue, place: u8, now: u64, until: u64) -> bool {
    assert_eq!(reserved.holds(place, vcpu(1), now), None);
    queue.push(vcpu(1), LEVEL, false);
    reserved.begin(place, vcpu(1), now);
    let (_, next) = reserved.charge(queue, until).unwrap();
    if next.is_none() {
        queue.remove(vcpu(1));
    }
    reserved.end();
    next.is_none()
}

#[test]
fn a_budget_that_is_used_up_holds_who_runs_by_it_until_the_next_period() {
    let (mut reserved, mut queue, place) = made(10, 100);
    assert!(run(&mut reserved, &mut queue, place, 1000, 1006));
    assert!(!run(&mut reserved, &mut queue, place, 1020, 1024));
    assert_eq!(reserved.renew(place, &mut queue, 1099), Some(1100));
    assert!(!queue.contains(vcpu(1)));
    assert_eq!(reserved.renew(place, &mut queue, 1100), None);
    assert_eq!(queue.first(), Some((vcpu(1), LEVEL)));
}

#[test]
fn the_deadline_is_the_end_of_the_budget_or_of_the_period() {
    let (mut reserved, _, place) = made(10, 100);
    assert_eq!(reserved.begin(place, vcpu(1), 1000), 1010);
    assert_eq!(reserved.begin(place, vcpu(1), 1005), 1010, "it goes on");
    reserved.end();
    assert_eq!(reserved.begin(place, vcpu(1), 1095), 1100);
}

#[test]
fn what_is_taken_over_the_end_of_a_period_is_taken_of_both_budgets() {
    let (mut reserved, mut queue, place) = made(10, 100);
    assert!(run(&mut reserved, &mut queue, place, 1095, 1104));
    assert_eq!(reserved.begin(place, vcpu(1), 1110), 1116);
}

#[test]
fn what_is_taken_too_much_is_taken_of_the_next_budget() {
    let (mut reserved, mut queue, place) = made(10, 100);
    assert!(!run(&mut reserved, &mut queue, place, 1000, 1023));
    assert_eq!(reserved.renew(place, &mut queue, 1100), Some(1200), "thirteen are owed, ten come");
    assert_eq!(reserved.renew(place, &mut queue, 1200), None);
    assert_eq!(reserved.begin(place, vcpu(1), 1200), 1207);
}

#[test]
fn becoming_ready_costs_its_price_so_that_waiting_often_is_not_free() {
    let (mut reserved, mut queue, place) = made(10, 100);
    reserved.set_price(3);
    assert!(run(&mut reserved, &mut queue, place, 1000, 1001));
    assert!(run(&mut reserved, &mut queue, place, 1010, 1011));
    assert_eq!(reserved.holds(place, vcpu(1), 1020), Some(1100), "two and three times three");
    assert_eq!(reserved.renew(place, &mut queue, 1100), None);
    assert_eq!(reserved.begin(place, vcpu(1), 1100), 1109, "one of it was owed");
}

#[test]
fn those_that_share_a_budget_take_turns() {
    let (mut reserved, mut queue, place) = made(10, 100);
    reserved.join(place, vcpu(2), LEVEL);
    for (n, expected) in [1, 2, 1, 2].into_iter().enumerate() {
        let now = 1000 + 100 * n as u64;
        if n == 0 {
            queue.push(vcpu(1), LEVEL, false);
            queue.push(vcpu(2), LEVEL, false);
        } else {
            assert_eq!(reserved.renew(place, &mut queue, now), None);
        }
        let first = queue.first().unwrap().0;
        assert_eq!(first, vcpu(expected));
        reserved.begin(place, first, now);
        assert!(reserved.charge(&mut queue, now + 10).unwrap().1.is_some());
        reserved.end();
    }
}

#[test]
fn who_waits_for_a_budget_is_looked_at_when_nobody_runs_by_it_any_more() {
    let (mut reserved, mut queue, place) = made(10, 100);
    reserved.set_price(3);
    reserved.join(place, vcpu(2), LEVEL);
    reserved.begin(place, vcpu(1), 1092);
    assert_eq!(reserved.charge(&mut queue, 1099), Some((place, None)));
    assert_eq!(reserved.holds(place, vcpu(2), 1099), Some(1100), "three are left, which the price takes");
    assert_eq!(reserved.charge(&mut queue, 1101), Some((place, None)), "the period is over before anybody looks");
    assert_eq!(reserved.end(), Some((place, 0)));
    assert_eq!((reserved.renew(place, &mut queue, 1102), queue.contains(vcpu(2))), (None, true));
    reserved.begin(place, vcpu(2), 1102);
    assert_eq!(reserved.end(), Some((place, NEVER)));
}

#[test]
fn asking_for_a_budget_again_renews_nothing() {
    let (mut reserved, mut queue, place) = made(10, 100);
    assert!(run(&mut reserved, &mut queue, place, 1000, 1009));
    reserved.leave(place, vcpu(1));
    reserved.set(place, (10, 1000), 1000);
    reserved.join(place, vcpu(1), LEVEL);
    assert_eq!(reserved.begin(place, vcpu(1), 1050), 1051);
    assert!(reserved.charge(&mut queue, 1051).unwrap().1 == Some(1100), "the period that runs ends when it would have");
}

#[test]
fn shares_of_more_than_a_core_and_more_than_there_can_be_are_refused() {
    let mut reserved = Reservations::new_zeroed();
    assert!(reserved.add(0, 50, 100).is_some() && reserved.add(1, 50, 100).is_some());
    assert_eq!(reserved.add(2, 1, 100), None);
    let mut reserved = Reservations::new_zeroed();
    let places: Vec<_> = (0..).map_while(|_| reserved.add(0, 1, 1000)).collect();
    assert_eq!(places.len(), PLACES);
}

proptest! {
    // What is supplied to one that always wants to run, is looked at late, and now and then asks again.
    #[test]
    fn no_window_supplies_more_than_its_budgets_and_one_more(
        (budget, period) in (1..50u64, 50..100u64),
        steps in prop::collection::vec((0..120u64, 0..40u64, 0..4u64), 1..60),
    ) {
        let (mut reserved, mut queue, place) = made(budget, period);
        let (mut now, mut runs) = (1000, Vec::new());
        for (pause, length, late) in steps {
            now += pause;
            if reserved.holds(place, vcpu(1), now).is_some() {
                continue;
            }
            queue.push(vcpu(1), LEVEL, false);
            let start = now;
            // The timer looks at each deadline, some ticks late.
            while now < start + length && queue.contains(vcpu(1)) {
                let end = reserved.begin(place, vcpu(1), now).min(start + length);
                now = now.max(end + late);
                reserved.charge(&mut queue, now);
            }
            reserved.end();
            queue.remove(vcpu(1));
            runs.push((start, now));
        }
        for (from, _) in runs.clone() {
            for (_, to) in runs.iter().filter(|(_, to)| *to > from) {
                let supplied: u64 = runs.iter().filter(|(start, end)| *start >= from && end <= to).map(|(s, e)| e - s).sum();
                let bound = budget * ((to - from).div_ceil(period) + 1);
                prop_assert!(supplied <= bound + 2 * 4, "{supplied} of {bound} in {from}..{to}");
            }
        }
    }
}

#[test]
fn a_shorter_period_does_not_wait_for_the_end_of_a_longer_one_and_gives_no_budget_before_its_own() {
    let (mut reserved, mut queue, place) = made(10, 100);
    reserved.set(place, (10, 1_000_000), 1000);
    assert!(!run(&mut reserved, &mut queue, place, 1000, 1010));
    assert_eq!(reserved.holds(place, vcpu(1), 1100), Some(1_000_000));
    reserved.set(place, (10, 100), 1150);
    assert_eq!(reserved.holds(place, vcpu(1), 1249), Some(1250));
    assert_eq!(reserved.renew(place, &mut queue, 1250), None);
    assert!(queue.contains(vcpu(1)));
}
