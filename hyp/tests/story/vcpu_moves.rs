//! A vCPU moves to another core: everything of it goes along, and it is on one core at a time.

use proptest::prelude::*;
use strato_abi::Call;
use strato_abi::plan::VM_FP;
use strato_hyp::arch::{Deed, gic_cpu, guest};
use strato_hyp::gic::Priority;

use crate::irq_shares::priority;
use crate::plan::{CODE, Guest, RTC_INTID, SLICE, System};
use crate::stage::{INTERRUPT, Story, Who, shown};
use crate::talk::{A, handle};

const SECOND: Who = (0, 1);
/// Handles to half of core 0 and half of core 1.
const HERE: u64 = 1 << 16 | 1;
const THERE: u64 = 1 << 16 | 2;

/// One VM with two vCPUs on core 0 and half of the time of each of `cores` cores.
fn system(cores: u8) -> System {
    let mut system = System::new([Guest { vcpus: 2, flags: VM_FP, ..Guest::new("a") }]);
    for core in 0..cores {
        system.sched(0, core, 500, 1000, 0);
    }
    system
}

/// Moves `who` by the handle `to`.
fn go(s: &mut Story, who: Who, to: u64) {
    s.call(who, Call::VcpuSchedSet, &[to, 5, 0, 0]);
}

fn home(s: &mut Story, who: Who) -> u8 {
    s.vm(who.0, |vm| vm.vcpu(who.1).unwrap().public.orders.home())
}

/// Returns whether `who` runs when core `n` alone does turns.
fn runs_on(s: &mut Story, who: Who, n: usize) -> bool {
    s.pace = SLICE / 8;
    s.ran();
    (0..24).for_each(|_| _ = s.turn_on(n));
    s.pace = SLICE;
    s.ran().contains(&who)
}

#[test]
fn a_vcpu_runs_on_the_core_of_the_handle_and_nowhere_else() {
    let mut s = Story::on(&system(2), 2);
    for (to, core) in [(THERE, 1), (HERE, 0), (THERE, 1)] {
        go(&mut s, A, to);
        assert_eq!(home(&mut s, A), core);
        assert!(runs_on(&mut s, A, core.into()) && !runs_on(&mut s, A, 1 - usize::from(core)));
    }
    // Without a handle it stays where it is.
    s.call(A, Call::VcpuSchedSet, &[0, 1, 0, 0]);
    assert!(runs_on(&mut s, A, 1));
    s.close();
}

#[test]
fn its_registers_go_along_those_of_fp_with_them() {
    let mut s = Story::on(&system(2), 2);
    let mark = |s: &mut Story, value: u64| {
        s.trap(A, CODE, strato_hyp::arch::frame::RawExit { esr: 7 << 26, ..INTERRUPT_SYNC }).unwrap();
        s.deed(A, move |_| {
            guest::change(|el1| el1.tpidr_el1 = value);
            guest::change_fp(|fp| fp.v[9] = [value, !value]);
            Deed::Exit(INTERRUPT)
        });
    };
    mark(&mut s, 0xa);
    go(&mut s, A, THERE);
    // Somebody else uses what it left behind.
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    assert!(guest::fp_traps() || home(&mut s, A) == 1);
    s.trap(SECOND, CODE, strato_hyp::arch::frame::RawExit { esr: 7 << 26, ..INTERRUPT_SYNC }).unwrap();
    s.deed(SECOND, |_| {
        guest::change_fp(|fp| fp.v[9] = [1, 2]);
        Deed::Exit(INTERRUPT)
    });
    s.trap(A, CODE, strato_hyp::arch::frame::RawExit { esr: 7 << 26, ..INTERRUPT_SYNC }).unwrap();
    s.deed(A, |_| {
        guest::change(|el1| assert_eq!(el1.tpidr_el1, 0xa));
        guest::change_fp(|fp| assert_eq!(fp.v[9], [0xa, !0xa]));
        Deed::Exit(INTERRUPT)
    })
    .unwrap();
    s.close();
}

const INTERRUPT_SYNC: strato_hyp::arch::frame::RawExit =
    strato_hyp::arch::frame::RawExit { vector: 0, esr: 0, far: 0, hpfar: 0 };

#[test]
fn what_is_pending_and_deadlines_go_along() {
    let mut s = Story::on(&system(2), 2);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.call(A, Call::VcpuKick, &[1]);
    go(&mut s, A, THERE);
    assert_ne!(s.call(A, Call::VcpuWait, &[u64::MAX])[0], 0, "the kick of before");
    // A wait there is over by its deadline, and by a kick from the core of before.
    let end = shown() + 8 * SLICE;
    assert!(s.call(A, Call::VcpuWait, &[end])[1] >= end);
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(8);
    s.call(SECOND, Call::VcpuKick, &[1]);
    assert!(s.until_seen(A).is_some());
    s.close();
}

#[test]
fn a_watchdog_goes_along() {
    for waits in [true, false] {
        let mut s = Story::on(&system(2), 2);
        s.call(A, Call::VcpuWatchdog, &[40 * SLICE]);
        go(&mut s, A, THERE);
        if waits {
            s.begin(A, Call::VcpuWait, &[u64::MAX]);
        }
        s.turns(8);
        assert!(s.try_vm(0, |_| ()).is_some());
        s.turns(400);
        assert!(s.try_vm(0, |_| ()).is_none(), "it is stopped and given back, waits: {waits}");
    }
}

#[test]
fn interrupts_of_devices_go_along() {
    let mut system = System::driver(Guest::new("a"));
    system.sched(0, 1, 500, 1000, 0);
    let mut s = Story::on(&system, 2);
    let (irq, port, there) = (handle(2), handle(3), handle(4));
    s.call(A, Call::EvtBindIrq, &[irq, port, 0]);
    assert_eq!(priority(&s), Priority::Low, "its VM has no share of this core");
    go(&mut s, A, there);
    assert_eq!(priority(&s), Priority::Usual, "it is sent to the core of now, of which its VM has a share");
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(6);
    gic_cpu::pend(RTC_INTID);
    s.take_interrupts(1);
    assert!(s.until_seen(A).is_some(), "it is woken where it is now");
    s.close();
}

#[test]
fn a_vm_that_ends_while_its_vcpu_is_between_two_cores_is_given_back() {
    for turns in 0..4 {
        let mut s = Story::on(&system(2), 2);
        s.call(A, Call::VcpuStart, &[1, CODE, 0]);
        s.begin(A, Call::VcpuSchedSet, &[THERE, 5, 0, 0]);
        for _ in 0..turns {
            s.turn_on(0);
        }
        s.close();
    }
}

#[test]
fn what_was_sent_to_the_core_of_before_is_done_by_that_of_now() {
    let mut s = Story::on(&system(2), 2);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    go(&mut s, SECOND, THERE);
    s.begin(SECOND, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    let (machine, who) = (s.machine, strato_hyp::scheduler::VcpuRef::new(0, 1).unwrap());
    // A letter about it to the wrong core is nobody's order.
    machine.send_mail(0, who);
    s.turns(4);
    assert!(s.seen(SECOND).is_none());
    s.call(A, Call::VcpuKick, &[2]);
    assert!(s.until_seen(SECOND).is_some());
    s.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // Two vCPUs move among three cores, wait, kick and yield to each other; each stays reachable.
    #[test]
    fn no_vcpu_is_lost_or_on_two_cores(steps in prop::collection::vec((0..2u8, 0..8u8, 0..5usize), 1..80)) {
        let mut s = Story::on(&system(3), 3);
        s.call(A, Call::VcpuStart, &[1, CODE, 0]);
        for (who, step, turns) in steps {
            let who = (0, who);
            let other = u64::from(1 - who.1);
            match step {
                0..4 => s.begin(who, Call::VcpuSchedSet, &[[HERE, THERE, handle(3), 0][usize::from(step)], 10, 0, 0]),
                4 => s.begin(who, Call::VcpuWait, &[shown() + 3 * SLICE]),
                5 => s.begin(who, Call::VcpuKick, &[1 << other]),
                6 => s.begin(who, Call::VcpuYield, &[1, other]),
                _ => s.begin(who, Call::VcpuWatchdog, &[0]),
            }
            s.turns(turns);
        }
        for who in [A, SECOND] {
            prop_assert!(s.deed(who, |_| Deed::Exit(INTERRUPT)).is_some(), "{who:?} is lost");
            prop_assert!(s.seen(who).is_some());
        }
        s.close();
    }
}

/// What lies between a look-up and an entry on one core is one step to another one: here it ends the VM before the first core looks up who
/// is next, and reads its letter only when that leaves.
#[test]
fn a_vm_that_ends_elsewhere_while_the_core_is_passed_to_it_runs_to_its_next_exit_and_is_gone() {
    let (b, other) = ((1, 0), (1, 1));
    for (call, arguments) in [(Call::VcpuYield, [0, 0]), (Call::VcpuWait, [u64::MAX, 0])] {
        let two = Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..Guest::new("b") };
        let mut s = Story::on(&System::pair(Guest::new("a"), two), 2);
        s.call(b, Call::VcpuStart, &[1, CODE, 0]);
        s.call(A, Call::CoreNop, &[]);
        s.pace = SLICE / 64;
        let has_core = |s: &mut Story, who: Who| {
            s.ran();
            s.turn_on(0);
            s.ran().last() == Some(&who)
        };
        assert!((0..200).any(|_| has_core(&mut s, A)), "the first core is at the other VM's");
        s.begin(other, Call::CoreExit, &[3, 0]);
        (0..20).for_each(|_| _ = s.turn_on(1));
        assert!(s.ran().contains(&other), "the VM has ended itself");
        assert!(s.try_vm(1, |vm| assert!(vm.is_ending())).is_some(), "one of it is still on the first core");
        // The core is passed on without a look at the letter.
        s.begin(A, call, &arguments);
        s.turn_on(0);
        assert_eq!(s.ran(), [A, b], "it runs once more, to its next exit");
        s.turns(60);
        assert!(!s.ran().contains(&b), "it is stopped");
        assert!(s.try_vm(1, |_| ()).is_none(), "all of it is given back");
        s.close();
    }
}
