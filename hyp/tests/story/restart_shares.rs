//! Restart of a VM that has a share of a core's time: it gets the same again on the same core, and never two budgets for one.

use strato_abi::Call;
use strato_abi::plan::VM_RESTART;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::restart::{handle_in, restarting};
use crate::stage::{Story, Who};
use crate::talk::A;

const CRASH: [u64; 4] = [1, 2, 3, 4];
const MS: u32 = 1000;

/// A VM that fails as often as it likes.
fn failing() -> Guest {
    Guest { priority: 0, restart_limit: 255, ..restarting("a", VM_RESTART) }
}

/// It has one millisecond in each four of core 0, which it shares with one of the highest priority.
fn reserved() -> Story {
    let mut system = System::new([failing(), Guest { priority: 31, ..Guest::new("b") }]);
    system.sched(0, 0, MS, 4 * MS, 1);
    Story::new(&system)
}

/// Does turns of a sixteenth of a slice. Returns how many `who` ran.
fn turns_of(s: &mut Story, turns: usize, who: Who) -> usize {
    s.pace = SLICE / 16;
    s.ran();
    s.turns(turns);
    s.ran().iter().filter(|&&it| it == who).count()
}

#[test]
fn its_next_life_has_the_same_share_of_the_same_core() {
    let mut s = reserved();
    let before = turns_of(&mut s, 640, A);
    for life in 2..5 {
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_life(0, life);
        let after = turns_of(&mut s, 640, A);
        assert!((150..=180).contains(&after) && after.abs_diff(before) < 10, "{before} and {after}");
        s.call(A, Call::VcpuSchedSet, &[handle_in(life.into(), 1), 20, 0, 0]);
    }
    s.close();
}

#[test]
fn one_that_fails_without_end_has_no_more_of_any_window_than_one_that_does_not() {
    let mut s = reserved();
    s.pace = SLICE / 16;
    for steps in 0..60 {
        // It does something for a while, and fails.
        (0..steps % 7).for_each(|_| s.begin(A, Call::VcpuYield, &[0, 0]));
        s.begin(A, Call::CorePanic, &CRASH);
    }
    s.ran();
    s.turns(6400);
    let lives = s.vm(0, |vm| vm.life.number);
    assert!(lives > 20, "{lives}");
    let ran = s.ran();
    for period in [1, 2, 5, 20] {
        let window = period * 64;
        let most = ran.windows(window).map(|part| part.iter().filter(|&&who| who == A).count()).max().unwrap();
        assert!(most <= (16 + 1) * (period + 1), "{most} in {window}");
    }
    while s.try_vm(0, strato_hyp::vm::Vm::is_ending) != Some(false) {
        s.turns(1);
    }
    s.close();
}

#[test]
fn a_budget_that_is_used_up_is_used_up_for_the_next_life() {
    let mut system = System::new([failing(), Guest { priority: 31, ..Guest::new("b") }]);
    system.sched(0, 0, MS, 1000 * MS, 1);
    let mut s = Story::new(&system);
    s.pace = SLICE / 16;
    assert!((15..=18).contains(&turns_of(&mut s, 100, A)));
    // It has nothing left: whoever ends it, its next life begins with the next period.
    let machine = s.machine;
    s.vm(0, |vm| strato_hyp::dispatcher::service::end_vm(machine, vm, strato_hyp::vm::Ending::Stopped));
    assert_eq!(turns_of(&mut s, 2000, A), 0);
    assert_eq!(s.vm(0, |vm| vm.life.number), 2, "it is there");
    assert!((15..=18).contains(&turns_of(&mut s, 16_000, A)));
    s.close();
}

#[test]
fn what_the_life_before_made_of_its_share_is_over() {
    let mut s = reserved();
    // Less, and seldom.
    let second = u64::from(1000 * MS) * SLICE / 1000;
    s.call(A, Call::VcpuSchedSet, &[handle_in(1, 1), 3, SLICE / 100, second]);
    s.begin(A, Call::CorePanic, &CRASH);
    let machine = s.machine;
    s.turns(60);
    if s.try_vm(0, |vm| vm.life.number) == Some(1) {
        s.vm(0, |vm| strato_hyp::dispatcher::service::end_vm(machine, vm, strato_hyp::vm::Ending::Stopped));
    }
    turns_of(&mut s, 400, A);
    let after = turns_of(&mut s, 640, A);
    assert!((150..=180).contains(&after), "{after}");
    s.close();
}

#[test]
fn shares_of_several_cores_come_back_wherever_the_vm_is_made_again() {
    let a = Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..failing() };
    let b = Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], priority: 31, ..Guest::new("b") };
    let mut system = System::new([b, a]);
    let (a, second): (Who, Who) = ((1, 0), (1, 1));
    // The places of the others' shares are counted over.
    system.sched(0, 0, MS, 20 * MS, 0).sched(0, 1, MS, 20 * MS, 0);
    system.sched(1, 1, MS, 4 * MS, 1).sched(1, 0, MS, 8 * MS, 2);
    let mut s = Story::on(&system, 2);
    s.call((0, 0), Call::VcpuStart, &[1, CODE, 0]);
    let mut before = None;
    for life in 2..6 {
        s.call(a, Call::VcpuStart, &[1, CODE, 0]);
        let homes = s.vm(1, |vm| [0, 1].map(|n| vm.vcpu(n).unwrap().public.orders.home()));
        assert_eq!(homes, [1, 0]);
        // Time passes twice as fast for each of two cores.
        let got = [turns_of(&mut s, 640, a), turns_of(&mut s, 640, second)];
        let [first, other] = *before.get_or_insert(got);
        assert!(got[0].abs_diff(first) < 10 && got[1].abs_diff(other) < 10, "{got:?} and {before:?} before");
        assert!((150..200).contains(&first) && (75..100).contains(&other));
        // Either core is the one that makes it again.
        s.begin(if life % 2 == 0 { a } else { second }, Call::CorePanic, &CRASH);
        s.until_life(1, life);
    }
    s.close();
}
