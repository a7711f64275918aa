//! Lifecycle: what a VM leaves behind when it ends, alone, with peers, and in the middle of things.

use strato_abi::Call;
use strato_abi::error::Code;
use strato_hyp::arch::Deed;
use strato_hyp::scheduler::VcpuRef;

use crate::plan::{CODE, Guest, SHARED, System};
use crate::stage::{Story, shown};
use crate::talk::{A, B, fill, handle};

const READ_WRITE: u16 = 3;
const OWNER: u16 = 8;

fn sharing() -> System {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.share(0, 4, &[(0, READ_WRITE | OWNER), (1, READ_WRITE)]);
    system
}

/// Waits until the VM in `place` is gone.
fn until_gone(s: &mut Story, place: u8) {
    for _ in 0..200 {
        if s.try_vm(place, |_| ()).is_none() {
            s.turns(2);
            return;
        }
        s.turns(1);
    }
    panic!("VM {place} does not come to its end");
}

#[test]
fn a_region_outlives_its_owner_as_long_as_the_peer_holds_it() {
    let mut s = Story::new(&sharing());
    let region = handle(3);
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    until_gone(&mut s, 0);
    assert_eq!(s.ask(B, Call::AsQuery, &[0, SHARED]).unwrap()[1], region);
    s.call(B, Call::AsUnmap, &[0, SHARED, 4, 0]);
    s.call(B, Call::AsMap, &[0, SHARED, region, 0, 4, 3]);
    assert_eq!(s.ask(B, Call::CoreExit, &[0, 0]), None);
    until_gone(&mut s, 1);
    s.audit();
}

#[test]
fn a_region_goes_back_whichever_ends_first_and_even_when_both_end_at_once() {
    for order in [vec![A, B], vec![B, A]] {
        for both_at_once in [false, true] {
            let mut s = Story::new(&sharing());
            for &who in &order {
                s.begin(who, Call::CoreExit, &[0, 0]);
                if !both_at_once {
                    until_gone(&mut s, who.0);
                }
            }
            until_gone(&mut s, 0);
            until_gone(&mut s, 1);
            s.audit();
        }
    }
}

#[test]
fn a_vm_can_end_with_everything_it_can_make() {
    let mut s = Story::new(&sharing());
    for n in 0..8 {
        s.call(A, Call::AsMap, &[0, 0x8000_0000 + (n << 30), handle(0), 0, 16, 3]);
    }
    for _ in 0..4 {
        let [_, key, _] = s.call(A, Call::EvtOffer, &[handle(1)]);
        s.call(B, Call::EvtConnect, &[handle(1), key]);
    }
    s.call(A, Call::EvtOffer, &[handle(1)]);
    s.call(B, Call::EvtOffer, &[handle(1)]);
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    until_gone(&mut s, 0);
    for port in 4..8 {
        assert_eq!(s.refused(B, Call::EvtSend, &[handle(port)]).0, Code::PeerGone);
        s.call(B, Call::EvtClose, &[handle(port)]);
    }
    s.close();
}

#[test]
fn a_vm_that_waits_ends_when_it_is_told_to() {
    let mut s = Story::new(&System::pair(Guest { vcpus: 2, ..Guest::new("a") }, Guest::new("b")));
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.begin((0, 1), Call::VcpuWait, &[shown() + (1 << 40)]);
    s.turns(6);
    assert_eq!(s.ask(A, Call::CoreExit, &[3, 0]), None);
    until_gone(&mut s, 0);
    assert!(s.log().iter().any(|line| line == "vm a: ended, exit code 3"), "{:?}", s.log());
    s.close();
}

#[test]
fn both_vcpus_that_end_a_vm_at_once_end_it_once() {
    let cores = [0, 1, 0, 0, 0, 0, 0, 0];
    let mut s = Story::on(&System::new([Guest { vcpus: 2, cores, ..Guest::new("a") }]), 2);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(4);
    s.begin(A, Call::CoreExit, &[1, 0]);
    s.begin((0, 1), Call::CoreExit, &[2, 0]);
    s.turns(60);
    let ends = s.log().iter().filter(|line| line.contains("ended, exit code")).count();
    assert_eq!(ends, 1, "{:?}", s.log());
    s.audit();
}

#[test]
fn events_cross_cores_and_a_blocked_vcpu_wakes_on_its_own() {
    let far = Guest { cores: [1, 0, 0, 0, 0, 0, 0, 0], ..Guest::new("b") };
    let mut s = Story::on(&System::pair(Guest::new("a"), far), 2);
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(3);
    s.begin(A, Call::EvtSend, &[handle(2)]);
    s.turn_on(0);
    s.turn_on(0);
    assert!(s.answer(B, Call::VcpuWait).is_none(), "its core did not run yet");
    s.turn_on(1);
    s.turn_on(1);
    assert_eq!(s.answer(B, Call::VcpuWait).unwrap()[1], 1);
    s.close();
}

#[test]
fn a_port_that_closed_while_another_core_may_send_is_used_again_later() {
    let far = Guest { cores: [1, 0, 0, 0, 0, 0, 0, 0], ..Guest::new("b") };
    let mut s = Story::on(&System::pair(Guest { handles: 3, ..Guest::new("a") }, far), 2);
    s.turns(2);
    s.begin(A, Call::EvtClose, &[handle(2)]);
    s.turn_on(0);
    s.turn_on(0);
    s.begin(A, Call::EvtOffer, &[handle(1)]);
    s.turn_on(0);
    s.turn_on(0);
    let x = s.answer(A, Call::EvtOffer).unwrap();
    assert_eq!(Code::from_i64(x[0].cast_signed()), Some(Code::Again), "core 1 has not left its guest since");
    s.turns(2);
    s.call(A, Call::EvtOffer, &[handle(1)]);
    s.close();
}

#[test]
fn an_entry_that_closed_while_another_core_may_send_takes_no_connection_yet() {
    let far = Guest { cores: [1, 0, 0, 0, 0, 0, 0, 0], ..Guest::new("b") };
    let mut s = Story::on(&System::pair(Guest { handles: 3, ..Guest::new("a") }, far), 2);
    let key = s.call(B, Call::EvtOffer, &[handle(1)])[1];
    s.begin(A, Call::EvtClose, &[handle(2)]);
    s.turn_on(0);
    s.turn_on(0);
    s.begin(A, Call::EvtConnect, &[handle(1), key]);
    s.turn_on(0);
    s.turn_on(0);
    let x = s.answer(A, Call::EvtConnect).unwrap();
    assert_eq!(Code::from_i64(x[0].cast_signed()), Some(Code::Again), "core 1 has not left its guest since");
    s.turns(2);
    s.call(A, Call::EvtConnect, &[handle(1), key]);
    s.close();
}

/// 24 letters lie before the one by which the VM asks its own vCPU to stop, and no more than eight are read in a turn.
#[test]
fn a_vcpu_that_ends_its_vm_never_goes_on_whatever_letters_lie_before_its_own() {
    const LAST: (u8, u8) = (3, 0);
    let others = ["a", "b", "c"].map(|label| Guest { vcpus: 8, priority: 1, ..Guest::new(label) });
    for id in [Call::CoreExit, Call::CorePanic] {
        let guests: Vec<_> = others.iter().cloned().chain([Guest::new("d")]).collect();
        let mut s = Story::new(&System::new(guests));
        s.turns(4);
        let machine = s.machine;
        s.step(LAST, move |frame| {
            (0..3).flat_map(|vm| (0..8).map(move |vcpu| (vm, vcpu))).for_each(|(vm, vcpu)| {
                machine.mail[0].put(VcpuRef::new(vm, vcpu).unwrap());
            });
            fill(frame, u64::from(id.function_id()), &[0; 4]);
            Deed::Hvc
        });
        s.ran();
        until_gone(&mut s, 3);
        assert_eq!(s.ran().iter().filter(|&&who| who == LAST).count(), 1, "{}", id.name());
        s.close();
    }
}
