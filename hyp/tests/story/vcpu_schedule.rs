//! VCPU.SCHED_SET and what a budget does: who runs when there is one, when it is used up, and when it is lent.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::vcpu::RunState;

use crate::plan::{CODE, Guest, SCHED_PRIORITY, SLICE, System};
use crate::stage::{Story, Who, shown};
use crate::talk::{A, B, handle};

const SECOND: Who = (0, 1);
const MS: u32 = 1000;
/// The first handle of a VM that has nothing but its memory.
const SCHED: u64 = 1 << 16 | 1;

/// Two VMs on one core, of which the first, of the lowest priority, has one millisecond in each four.
fn reserved() -> Story {
    let mut system = System::new([Guest { priority: 0, ..Guest::new("a") }, Guest { priority: 31, ..Guest::new("b") }]);
    system.sched(0, 0, MS, 4 * MS, 1);
    Story::new(&system)
}

/// Does turns of a quarter slice, and returns how many each of `who` ran.
fn shares<const N: usize>(s: &mut Story, turns: usize, who: [Who; N]) -> [usize; N] {
    shares_at(s, 4, turns, who)
}

/// The same with as many turns in a slice as `pace` says.
fn shares_at<const N: usize>(s: &mut Story, pace: u64, turns: usize, who: [Who; N]) -> [usize; N] {
    s.pace = SLICE / pace;
    s.ran();
    s.turns(turns);
    let ran = s.ran();
    who.map(|who| ran.iter().filter(|&&it| it == who).count())
}

#[test]
fn who_has_a_budget_runs_before_every_priority_until_it_is_used_up_and_again_in_the_next_period() {
    let mut s = reserved();
    s.turns(2);
    // Four milliseconds are 16 turns, and a quarter of them is its own; one turn more sees that nothing is left.
    let [a, b] = shares(&mut s, 160, [A, B]);
    assert!((46..=52).contains(&a) && a + b == 160, "{a} and {b}");
    s.close();
}

#[test]
fn in_no_window_does_it_get_more_than_its_budgets_and_one_more() {
    let mut s = reserved();
    s.pace = SLICE / 16;
    s.ran();
    s.turns(640);
    let ran = s.ran();
    for period in [1, 2, 5] {
        let window = period * 64;
        let most = ran.windows(window).map(|part| part.iter().filter(|&&who| who == A).count()).max().unwrap();
        // A millisecond is 16 turns, and each stretch may be one too long.
        assert!(most <= (16 + 1) * (period + 1), "{most} in {window}");
    }
    s.close();
}

#[test]
fn without_a_handle_it_runs_in_what_is_left_by_its_priority() {
    let mut s = reserved();
    s.begin(A, Call::VcpuSchedSet, &[0, 0, 0, 0]);
    s.turns(20);
    assert_eq!(shares(&mut s, 40, [A, B])[0], 0);
    s.close();
}

#[test]
fn a_vcpu_that_is_out_of_budget_is_runnable_and_comes_back_by_itself() {
    let mut system = System::new([Guest { vcpus: 2, ..Guest::new("a") }]);
    system.sched(0, 0, MS, 10 * MS, 2);
    let mut s = Story::new(&system);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.pace = SLICE / 4;
    s.turns(8);
    s.ran();
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Runnable as u64);
    assert!(s.ran().iter().all(|&who| who == A), "it is out of budget");
    let [_, second] = shares(&mut s, 200, [A, SECOND]);
    assert!((22..=30).contains(&second), "{second}");
    s.close();
}

#[test]
fn one_that_waits_keeps_its_budget_to_the_end_of_the_period() {
    let mut s = reserved();
    s.begin(A, Call::VcpuWait, &[shown() + 10 * SLICE]);
    s.turns(9);
    s.ran();
    assert!(s.until_seen(A).is_some());
    s.pace = SLICE / 4;
    s.ran();
    s.turns(3);
    assert_eq!(s.ran(), [A, A, A], "it had not used any of it");
    s.close();
}

#[test]
fn budget_and_period_are_up_to_those_of_the_handle_and_asking_renews_nothing() {
    let mut s = reserved();
    // Half of the budget in twice the period: an eighth of what it was.
    let half = u64::from(MS) * SLICE / 1000 / 2;
    s.call(A, Call::VcpuSchedSet, &[SCHED, 3, half, 8 * SLICE]);
    let [a, _] = shares(&mut s, 320, [A, B]);
    assert!((26..=34).contains(&a), "{a}");
    // Whoever asks all the time gets no more than it may have.
    s.ran();
    for _ in 0..40 {
        s.call(A, Call::VcpuSchedSet, &[SCHED, 3, 0, 0]);
    }
    let ran = s.ran();
    let count = ran.iter().filter(|&&who| who == A).count();
    assert!(count <= ran.len() * 5 / 16 + 8, "{count} of {}", ran.len());
    s.close();
}

#[test]
fn what_is_above_the_cap_of_the_handle_is_refused_with_the_cap_and_changes_nothing() {
    let mut s = reserved();
    let (budget, period) = (SLICE, 4 * SLICE);
    let most = u64::from(SCHED_PRIORITY);
    for (arguments, want) in [
        ([SCHED, 32, 0, 0], (Code::Invalid, 2, Reason::TooLarge)),
        ([SCHED, u64::MAX, 0, 0], (Code::Invalid, 2, Reason::TooLarge)),
        ([SCHED, most + 1, 0, 0], (Code::Denied, 2, Reason::TooLarge)),
        ([SCHED, most, budget + 1, 0], (Code::Denied, 3, Reason::TooLarge)),
        ([SCHED, most, u64::MAX, 0], (Code::Denied, 3, Reason::TooLarge)),
        ([SCHED, most, 0, period - 1], (Code::Denied, 4, Reason::TooSmall)),
        ([SCHED, most, 0, 1], (Code::Denied, 4, Reason::TooSmall)),
        ([0, 1, 0, 0], (Code::Denied, 2, Reason::TooLarge)),
        ([0, 0, 1, 0], (Code::Invalid, 3, Reason::TooLarge)),
        ([0, 0, 0, 1], (Code::Invalid, 4, Reason::TooLarge)),
        ([handle(0), 0, 0, 0], (Code::WrongKind, 1, Reason::None)),
        ([handle(9), 0, 0, 0], (Code::BadHandle, 1, Reason::None)),
        ([SCHED + (1 << 16), 0, 0, 0], (Code::Stale, 1, Reason::None)),
    ] {
        assert_eq!(s.refused(A, Call::VcpuSchedSet, &arguments), want, "{arguments:x?}");
    }
    s.call(A, Call::VcpuSchedSet, &[SCHED, most, budget, u64::MAX]);
    s.close();
}

#[test]
fn a_sibling_that_is_yielded_to_runs_on_the_budget_of_who_yields() {
    let sibling = Guest { vcpus: 2, priority: 1, ..Guest::new("a") };
    let mut system = System::new([sibling, Guest { priority: 31, ..Guest::new("b") }]);
    system.sched(0, 0, 2 * MS, 20 * MS, 1);
    let mut s = Story::new(&system);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.pace = SLICE / 8;
    for _ in 0..12 {
        s.begin(A, Call::VcpuYield, &[1, 1]);
    }
    s.ran();
    s.turns(640);
    let ran = s.ran();
    let [a, second, b] = [A, SECOND, B].map(|who| ran.iter().filter(|&&it| it == who).count());
    // Two milliseconds in each twenty are a tenth of the time; what is handed over within a turn counts twice.
    let turns = ran.len();
    assert!(second > 0, "it runs before one of the highest priority");
    assert!(second <= turns / 10 + 24 && a <= turns / 10 + 24, "{a} {second} {b}");
    // What was lent ends: by itself it has no chance.
    s.turns(480);
    s.ran();
    s.turns(320);
    assert!(!s.ran().contains(&SECOND));
    s.close();
}

/// Two vCPUs of the lowest priority with shares of their own, of which the second has one of five periods' worth of slices, beside one of
/// the highest. Time is a sixteenth of a slice for each turn.
fn two_shares() -> Story {
    let sibling = Guest { vcpus: 2, priority: 1, ..Guest::new("a") };
    let mut system = System::new([sibling, Guest { priority: 31, ..Guest::new("b") }]);
    system.sched(0, 0, 4 * MS, 20 * MS, 1);
    system.sched(0, 0, MS, 100 * MS, 2);
    let mut s = Story::new(&system);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.pace = SLICE / 16;
    s
}

/// Lets the second vCPU use its budget up while the first waits, until the first is ready again. Returns whether it is out.
fn use_up(s: &mut Story) {
    s.begin(A, Call::VcpuWait, &[shown() + 30 * SLICE]);
    s.turns(440);
    s.ran();
    assert!(s.until_seen(A).is_some());
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Runnable as u64);
    assert!(s.ran().iter().all(|&who| who != SECOND), "it is out of budget");
}

#[test]
fn a_sibling_that_is_out_of_budget_runs_on_the_budget_of_who_yields_to_it() {
    let mut s = two_shares();
    use_up(&mut s);
    s.begin(A, Call::VcpuYield, &[1, 1]);
    s.turns(4);
    let ran = s.ran();
    assert!(ran.iter().filter(|&&who| who == SECOND).count() >= 3, "it runs at once: {ran:?}");
    // The turn ends with the slice: it waits for its own budget as before, and what it took was the lender's.
    s.turns(16);
    s.ran();
    s.turns(160);
    assert!(!s.ran().contains(&SECOND), "the loan is over");
    // A hundredth of the time is its own.
    let [a, second] = shares_at(&mut s, 16, 3200, [A, SECOND]);
    assert!((600..=704).contains(&a) && (16..=48).contains(&second), "{a} and {second}");
    s.close();
}

#[test]
fn what_is_lent_is_taken_of_the_lender_and_no_window_has_more_than_both_budgets() {
    let mut s = two_shares();
    use_up(&mut s);
    for _ in 0..200 {
        s.begin(A, Call::VcpuYield, &[1, 1]);
        s.begin(SECOND, Call::VcpuYield, &[1, 0]);
    }
    s.ran();
    s.turns(1200);
    let ran = s.ran();
    let is_ours = |who: &Who| *who == A || *who == SECOND;
    assert!(ran.contains(&SECOND));
    // Four slices of twenty are 64 turns of 320, and one of a hundred is 16; what is handed over within a turn counts twice.
    for window in ran.windows(320) {
        let ours = window.iter().filter(|who| is_ours(who)).count();
        assert!(ours <= 2 * (2 * 64 + 2 * 16) + 16, "{ours}");
    }
    s.close();
}

#[test]
fn a_loan_to_one_that_is_out_of_budget_ends_when_it_waits_and_it_wakes_by_its_own_again() {
    let mut s = two_shares();
    use_up(&mut s);
    s.begin(A, Call::VcpuYield, &[1, 1]);
    s.begin(SECOND, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Blocked as u64);
    s.call(A, Call::VcpuKick, &[2]);
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Runnable as u64);
    s.ran();
    s.turns(160);
    assert!(!s.ran().contains(&SECOND), "it has no budget yet");
    s.turns(1600);
    assert!(s.ran().contains(&SECOND), "its own budget is whole again");
    s.close();
}

#[test]
fn one_that_turns_itself_off_on_a_loan_has_none_when_it_starts_again() {
    let mut s = two_shares();
    use_up(&mut s);
    s.begin(A, Call::VcpuYield, &[1, 1]);
    s.begin(SECOND, Call::VcpuStop, &[]);
    s.turns(4);
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], RunState::Off as u64);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.ran();
    s.turns(160);
    assert!(!s.ran().contains(&SECOND), "it has no budget yet");
    s.close();
}

#[test]
fn a_vm_that_ends_while_a_budget_is_lent_leaves_nothing_behind() {
    for call in [Call::CoreExit, Call::CorePanic] {
        let mut s = two_shares();
        use_up(&mut s);
        s.begin(A, Call::VcpuYield, &[1, 1]);
        s.begin(SECOND, call, &[3, 0, 0, 0]);
        s.turns(64);
        assert!(s.try_vm(0, |_| ()).is_none(), "it ended on what was lent");
        s.ran();
        s.turns(2000); // over the ends of both shares' periods: nobody comes back by them
        assert!(s.ran().iter().all(|&who| who == B));
        s.close();
    }
}
