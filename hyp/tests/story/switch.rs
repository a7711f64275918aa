//! Switch: whoever loses the core, in whatever way, finds its own registers when it is there again.

use strato_abi::Call;
use strato_abi::plan::VM_PLAIN;
use strato_hyp::arch::el1::El1;
use strato_hyp::arch::errata::Guard;
use strato_hyp::arch::{Deed, firmware, guest, selected_vectors};
use strato_hyp::scheduler::VcpuRef;
use strato_hyp::sync::Ordering;
use strato_hyp::vcpu::orders;

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::{INTERRUPT, Story, Who, shown};
use crate::talk::{A, B, fill, handle};

/// Lets `who` look at its EL1 registers and change them, while it has the core.
fn at_el1(s: &mut Story, who: Who, with: impl FnOnce(&mut El1) + 'static) {
    let came_back = s.deed(who, move |_| {
        guest::change(with);
        Deed::Exit(INTERRUPT)
    });
    assert!(came_back.is_some(), "the guest goes on");
}

fn mark(s: &mut Story, who: Who, value: u64) {
    at_el1(s, who, move |el1| (el1.tpidr_el1, el1.cntkctl) = (value, !value));
}

fn is_marked(s: &mut Story, who: Who, value: u64) {
    at_el1(s, who, move |el1| assert_eq!((el1.tpidr_el1, el1.cntkctl), (value, !value)));
}

fn both_are_marked(s: &mut Story) {
    is_marked(s, A, 0xa);
    is_marked(s, B, 0xb);
}

#[test]
fn registers_of_el1_are_kept_apart_however_the_core_is_lost() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    s.pace = SLICE / 4; // so that slices end too
    mark(&mut s, A, 0xa);
    mark(&mut s, B, 0xb);
    both_are_marked(&mut s);
    for _ in 0..3 {
        s.call(A, Call::VcpuYield, &[0, 0]);
        both_are_marked(&mut s);
        s.call(B, Call::VcpuYield, &[0, 0]);
        both_are_marked(&mut s);
    }
    // One waits, and the other has the core at once.
    s.begin(A, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    is_marked(&mut s, B, 0xb);
    s.call(B, Call::EvtSend, &[handle(2)]);
    both_are_marked(&mut s);
    s.close();
}

#[test]
fn each_vm_enters_the_hypervisor_by_the_vectors_that_its_manifest_chose_or_the_core_needs() {
    let plain = Guest { flags: VM_PLAIN, ..Guest::new("a") };
    let mut s = Story::new(&System::pair(plain, Guest::new("b")));
    let selected = |s: &mut Story, who| {
        let came_back = s.deed(who, |_| {
            GUARD.set(selected_vectors());
            Deed::Exit(INTERRUPT)
        });
        assert!(came_back.is_some(), "the guest goes on");
        GUARD.get()
    };
    for _ in 0..2 {
        assert_eq!(selected(&mut s, A), Guard::None);
        s.call(A, Call::VcpuYield, &[0, 0]);
        assert_eq!(selected(&mut s, B), Guard::Short, "the core is a Cortex-A72");
        s.call(B, Call::VcpuYield, &[0, 0]);
    }
    s.close();
}

#[test]
fn predictors_are_cleared_behind_each_vm_that_is_not_trusted_whatever_call_the_core_is_lost_by() {
    firmware::need_to_clear();
    let trusted = |name| Guest { flags: VM_PLAIN, ..Guest::new(name) };
    for (a, b, times) in [
        (Guest::new("a"), Guest::new("b"), [1, 1]),
        (trusted("a"), Guest::new("b"), [0, 1]),
        (trusted("a"), trusted("b"), [0, 0]),
    ] {
        let mut s = Story::new(&System::pair(a, b));
        s.begin(B, Call::VcpuWait, &[u64::MAX]);
        s.turns(4);
        s.pace = 1; // no slice ends from here on
        for ((from, to), times) in [(A, B), (B, A)].into_iter().zip(times) {
            s.deed(from, |_| Deed::Exit(INTERRUPT)).expect("it has the core");
            let before = firmware::cleared();
            s.begin(from, Call::VcpuSignalWait, &[handle(2), u64::MAX]);
            s.until_seen(to).expect("its event woke the other one");
            assert_eq!(firmware::cleared() - before, times, "from {from:?}");
            s.vm(to.0, |vm| vm.area.pages().word(0).unwrap().store(0, Ordering::SeqCst)); // the guest takes it
        }
        s.close();
    }
}

#[test]
fn predictors_are_not_cleared_between_vcpus_of_one_vm() {
    firmware::need_to_clear();
    let mut s = Story::new(&System::one(2));
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    for who in [A, (0, 1), A, (0, 1)] {
        s.call(who, Call::VcpuYield, &[0, 0]);
    }
    assert_eq!(firmware::cleared(), 0);
    s.close();
}

std::thread_local! {
    static GUARD: std::cell::Cell<Guard> = const { std::cell::Cell::new(Guard::Long) };
}

#[test]
fn registers_of_el1_stay_on_a_core_that_sleeps_and_are_saved_when_it_wakes_for_another() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    mark(&mut s, A, 0xa);
    mark(&mut s, B, 0xb);
    // `b` waits, then `a` does and is the one that stays; the deadline of `b` comes first.
    let now = shown();
    s.begin(B, Call::VcpuWait, &[now + 40 * SLICE]);
    s.turns(4);
    mark(&mut s, A, 0xaa); // since it had the core alone, nothing of this was saved
    s.begin(A, Call::VcpuWait, &[now + 60 * SLICE]);
    s.turns(4);
    s.ran();
    assert!(s.turn_on(0), "nobody has the core");
    assert!(s.ran().is_empty());
    s.turns(60);
    assert!(s.answer(A, Call::VcpuWait).is_some() && s.answer(B, Call::VcpuWait).is_some());
    is_marked(&mut s, A, 0xaa);
    is_marked(&mut s, B, 0xb);
    s.close();
}

#[test]
fn a_vcpu_that_is_asked_to_start_while_it_turns_itself_off_starts() {
    let mut s = Story::new(&System::one(2));
    let second = (0, 1);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    let machine = s.machine;
    s.step(second, move |frame| {
        // What a sibling on another core would leave if it came between the end of this call and the look into the box.
        let mut sibling = machine.epochs.join(5).unwrap();
        let stay = sibling.begin();
        let vm = machine.vms[0].get(&stay).unwrap();
        vm.awake.fetch_add(1, Ordering::AcqRel);
        vm.vcpu(1).unwrap().public.orders.ask(orders::START);
        machine.send_mail(0, VcpuRef::new(0, 1).unwrap());
        fill(frame, Call::VcpuStop.function_id().into(), &[]);
        Deed::Hvc
    });
    s.turns(4);
    assert!(s.deed(second, |_| Deed::Exit(INTERRUPT)).is_some(), "it runs again");
    s.close();
}
