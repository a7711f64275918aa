//! Restart, and those who know the VM: the channels and peers of the plan lead to it again, and nothing of its former life does.

use strato_abi::Call;
use strato_abi::error::Code;
use strato_abi::plan::VM_RESTART;

use crate::memory_calls::HOLE;
use crate::plan::{Guest, System};
use crate::restart::{ALWAYS, handle_in, restarting};
use crate::share_calls::{PEER, RW, lent};
use crate::stage::Story;
use crate::talk::{A, B, handle};

const CRASH: [u64; 4] = [1, 2, 3, 4];

fn pair() -> System {
    System::pair(restarting("a", VM_RESTART), Guest::new("b"))
}

#[test]
fn a_channel_of_the_plan_leads_nowhere_meanwhile_and_to_the_new_life_then() {
    let mut s = Story::new(&pair());
    s.call(B, Call::EvtSend, &[handle(2)]);
    s.call(A, Call::EvtSend, &[handle(2)]);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_gone(0);
    s.begin(B, Call::EvtSend, &[handle(2)]);
    s.turn_on(0);
    s.turn_on(0);
    assert_eq!(s.answer(B, Call::EvtSend).map(|x| Code::from_i64(x[0].cast_signed())), Some(Some(Code::PeerGone)));
    s.until_life(0, 2);
    assert_eq!(s.word(A, 0), 0, "nothing that was sent to the life before");
    assert_eq!(s.word(B, 0), 1 << 2, "what it has pending stays");
    s.call(B, Call::EvtSend, &[handle(2)]);
    assert_eq!(s.word(A, 0), 1 << 2);
    assert_eq!(s.refused(A, Call::EvtSend, &[handle(2)]).0, Code::Stale);
    s.call(A, Call::EvtSend, &[handle_in(2, 2)]);
    s.close();
}

#[test]
fn a_channel_is_found_from_either_end_of_its_record() {
    let mut s = Story::new(&System::pair(Guest::new("a"), restarting("b", VM_RESTART)));
    s.begin(B, Call::CorePanic, &CRASH);
    s.until_life(1, 2);
    s.call(A, Call::EvtSend, &[handle(2)]);
    assert_eq!(s.word(B, 0), 1 << 2);
    s.call(B, Call::EvtSend, &[handle_in(2, 2)]);
    assert_eq!(s.word(A, 0), 1 << 2);
    s.close();
}

#[test]
fn two_that_restart_find_each_other_whoever_comes_first() {
    for gap in 0..60 {
        let b = Guest { cores: [1, 0, 0, 0, 0, 0, 0, 0], ..restarting("b", ALWAYS) };
        let mut s = Story::on(&System::pair(restarting("a", VM_RESTART), b), 2);
        s.begin(A, Call::CorePanic, &CRASH);
        s.turns(gap);
        s.begin(B, Call::CoreExit, &[0, 1]);
        s.until_life(0, 2);
        s.until_life(1, 2);
        let port = handle_in(2, 2);
        s.call(A, Call::EvtSend, &[port]);
        s.call(B, Call::EvtSend, &[port]);
        assert_eq!((s.word(A, 0), s.word(B, 0)), (1 << 2, 1 << 2), "after {gap} turns");
        let [_, key, _] = s.call(A, Call::EvtOffer, &[handle_in(2, 1)]);
        s.call(B, Call::EvtConnect, &[handle_in(2, 1), key]);
        s.close();
    }
}

#[test]
fn a_port_that_the_peer_closed_or_uses_for_another_stays_as_it_is() {
    for is_used_again in [false, true] {
        let mut s = Story::new(&System::pair(restarting("a", VM_RESTART), Guest { handles: 3, ..Guest::new("b") }));
        s.call(B, Call::EvtClose, &[handle(2)]);
        s.turns(3);
        if is_used_again {
            let [port, key, _] = s.call(B, Call::EvtOffer, &[handle(1)]);
            assert_eq!(port, handle(2) + (1 << 16));
            s.call(A, Call::EvtConnect, &[handle(1), key]);
        }
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_life(0, 2);
        assert_eq!(s.refused(A, Call::EvtSend, &[handle_in(2, 2)]).0, Code::PeerGone);
        if is_used_again {
            assert_eq!(s.refused(B, Call::EvtSend, &[handle(2) + (1 << 16)]).0, Code::PeerGone, "not the plan's");
        }
        s.close();
    }
}

#[test]
fn a_peer_of_the_plan_names_the_new_life_and_one_that_has_ended_is_gone() {
    let mut s = Story::new(&pair());
    let [port, key, _] = s.call(B, Call::EvtOffer, &[handle(1)]);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    let peer = handle_in(2, 1);
    assert_eq!(s.refused(A, Call::EvtConnect, &[peer, key]).0, Code::Invalid, "the offer was to the life before");
    s.call(B, Call::EvtClose, &[port]);
    let [_, key, _] = s.call(B, Call::EvtOffer, &[handle(1)]);
    s.call(A, Call::EvtConnect, &[peer, key]);
    assert_eq!(s.ask(B, Call::CoreExit, &[0, 0]), None);
    s.until_gone(1);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 3);
    assert_eq!(s.refused(A, Call::EvtOffer, &[handle_in(3, 1)]).0, Code::PeerGone);
    assert_eq!(s.refused(A, Call::EvtSend, &[handle_in(3, 2)]).0, Code::PeerGone);
    s.close();
}

#[test]
fn what_a_peer_borrowed_is_the_old_memory_and_never_shows_the_new_life() {
    let mut system = pair();
    system.own(0, 16);
    let mut s = Story::new(&system);
    let (share, mem) = lent(&mut s, RW);
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
    let pa = |s: &mut Story, who: (u8, u8), at: u64| {
        s.vm(who.0, |vm| {
            let mut none = strato_hyp::lock::Held::for_example();
            let (inner, _held) = vm.inner.lock(&mut none);
            inner.spaces.get(0).unwrap().query(strato_abi::Ipa::new(at).unwrap()).map(|leaf| leaf.pa.bytes())
        })
    };
    let old = pa(&mut s, B, HOLE);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    assert_eq!((pa(&mut s, B, HOLE), old.is_some()), (old, true), "it stays the borrower's");
    assert_eq!(s.refused(A, Call::ShareInfo, &[share]).0, Code::Stale);
    s.call(A, Call::AsMap, &[0, HOLE, handle_in(2, 3), 0, 16, RW]);
    let new = pa(&mut s, A, HOLE).unwrap();
    assert!(old.is_some_and(|old| new.abs_diff(old) >= 16 << 12), "other memory");
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, 1 << 32 | share, 0]).0, Code::Invalid);
    assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 16]);
    s.close();
}

#[test]
fn the_port_bound_to_the_end_of_a_peer_is_raised_at_each_end() {
    let mut s = Story::new(&pair());
    let own = handle(2);
    s.call(B, Call::EvtBindObject, &[handle(1), own, 32]);
    for life in 2..4 {
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_life(0, life);
        let index = own & 0xffff;
        assert_eq!(s.word(B, 0) >> index & 1, 1, "life {life}");
        s.vm(1, |vm| vm.withdraw(index as u16));
    }
    s.close();
}
