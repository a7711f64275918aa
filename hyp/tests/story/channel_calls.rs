//! EVT: making and ending channels between VMs, and how handles to them are refused.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::event_calls::{PORT, pair};
use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

#[test]
fn an_offer_connects_once_and_both_ends_reach_each_other() {
    let mut s = Story::new(&pair());
    let [port, key, _] = s.call(A, Call::EvtOffer, &[handle(1)]);
    assert_ne!(key, 0);
    assert_eq!(s.refused(A, Call::EvtSend, &[port]), (Code::State, 1, Reason::None));
    let far = s.call(B, Call::EvtConnect, &[handle(1), key])[0];
    assert_eq!(s.refused(B, Call::EvtConnect, &[handle(1), key]), (Code::Invalid, 2, Reason::UnknownValue));
    s.call(A, Call::EvtSend, &[port]);
    assert_eq!(s.word(B, 0), 1 << (far & 0xffff));
    s.call(B, Call::EvtSend, &[far]);
    assert_eq!(s.word(A, 0), 1 << (port & 0xffff));
    s.close();
}

#[test]
fn only_the_vm_that_an_offer_is_for_can_connect_and_only_with_its_key() {
    let mut system = System::new([Guest::new("a"), Guest::new("b"), Guest::new("c")]);
    system.peer(0, 1).peer(1, 0).peer(2, 0).peer(2, 1);
    let mut s = Story::new(&system);
    let c = (2, 0);
    let key = s.call(A, Call::EvtOffer, &[handle(1)])[1];
    assert_eq!(s.refused(c, Call::EvtConnect, &[handle(1), key]), (Code::Invalid, 2, Reason::UnknownValue));
    assert_eq!(s.refused(c, Call::EvtConnect, &[handle(2), key]), (Code::Invalid, 2, Reason::UnknownValue));
    for wrong in [0, key + 1, key ^ 1 << 16, key | 1 << 32, u64::MAX] {
        assert_eq!(s.refused(B, Call::EvtConnect, &[handle(1), wrong]), (Code::Invalid, 2, Reason::UnknownValue));
    }
    s.call(B, Call::EvtConnect, &[handle(1), key]);
    s.close();
}

#[test]
fn a_closed_port_is_stale_and_its_other_end_learns_of_it() {
    let mut s = Story::new(&pair());
    s.call(A, Call::EvtClose, &[PORT]);
    for call in [Call::EvtClose, Call::EvtSend, Call::EvtUnmask] {
        assert_eq!(s.refused(A, call, &[PORT]), (Code::Stale, 1, Reason::None), "{}", call.name());
    }
    assert_eq!(s.refused(A, Call::EvtBindVcpu, &[PORT, 0]), (Code::Stale, 1, Reason::None));
    assert_eq!(s.refused(B, Call::EvtSend, &[PORT]), (Code::PeerGone, 1, Reason::None));
    s.call(B, Call::EvtClose, &[PORT]);
    s.close();
}

#[test]
fn a_withdrawn_offer_connects_to_nothing() {
    let mut s = Story::new(&pair());
    let [port, key, _] = s.call(A, Call::EvtOffer, &[handle(1)]);
    s.call(A, Call::EvtClose, &[port]);
    assert_eq!(s.refused(B, Call::EvtConnect, &[handle(1), key]), (Code::Invalid, 2, Reason::UnknownValue));
    s.close();
}

#[test]
fn a_number_that_is_used_again_starts_clear_and_the_old_handle_stays_stale() {
    let mut s = Story::new(&System::pair(Guest { handles: 3, ..Guest::new("a") }, Guest::new("b")));
    s.call(B, Call::EvtSend, &[PORT]);
    s.call(A, Call::EvtClose, &[PORT]);
    s.turns(3);
    let [port, key, _] = s.call(A, Call::EvtOffer, &[handle(1)]);
    assert_eq!(port, PORT + (1 << 16));
    assert_eq!(s.word(A, 0), 0, "the old event is gone");
    assert_eq!(s.refused(A, Call::EvtSend, &[PORT]), (Code::Stale, 1, Reason::None));
    let far = s.call(B, Call::EvtConnect, &[handle(1), key])[0];
    s.call(B, Call::EvtSend, &[far]);
    assert_eq!(s.word(A, 0), 1 << 2);
    s.close();
}

#[test]
fn a_full_table_takes_no_more_ports() {
    let mut s =
        Story::new(&System::pair(Guest { handles: 4, ..Guest::new("a") }, Guest { handles: 3, ..Guest::new("b") }));
    let key = s.call(A, Call::EvtOffer, &[handle(1)])[1];
    assert_eq!(s.refused(A, Call::EvtOffer, &[handle(1)]), (Code::Full, 0, Reason::TableFull));
    assert_eq!(s.refused(B, Call::EvtConnect, &[handle(1), key]), (Code::Full, 0, Reason::TableFull));
    s.close();
}

#[test]
fn every_handle_argument_is_refused_by_index_and_generation() {
    let mut s = Story::new(&pair());
    for call in [Call::EvtSend, Call::EvtUnmask, Call::EvtClose] {
        assert_eq!(s.refused(A, call, &[0]).0, Code::BadHandle, "{}", call.name());
        assert_eq!(s.refused(A, call, &[handle(3)]).0, Code::BadHandle, "{}", call.name());
        assert_eq!(s.refused(A, call, &[handle(0xffff)]).0, Code::BadHandle, "{}", call.name());
        assert_eq!(s.refused(A, call, &[PORT + (1 << 16)]).0, Code::Stale, "{}", call.name());
        assert_eq!(s.refused(A, call, &[PORT | 1 << 32]), (Code::Invalid, 1, Reason::TooLarge), "{}", call.name());
    }
    for call in [Call::EvtOffer, Call::EvtConnect] {
        assert_eq!(s.refused(A, call, &[handle(0), 1]).0, Code::WrongKind, "{}", call.name());
        assert_eq!(s.refused(A, call, &[PORT, 1]).0, Code::WrongKind, "{}", call.name());
        assert_eq!(s.refused(A, call, &[handle(3), 1]).0, Code::BadHandle, "{}", call.name());
        assert_eq!(s.refused(A, call, &[handle(1) + (1 << 16), 1]).0, Code::Stale, "{}", call.name());
    }
    s.close();
}

#[test]
fn a_vm_that_ended_is_gone_for_its_peer() {
    let mut s = Story::new(&pair());
    let key = s.call(B, Call::EvtOffer, &[handle(1)])[1];
    s.ask(B, Call::CoreExit, &[0, 0]);
    assert_eq!(s.refused(A, Call::EvtSend, &[PORT]), (Code::PeerGone, 1, Reason::None));
    assert_eq!(s.refused(A, Call::EvtOffer, &[handle(1)]), (Code::PeerGone, 1, Reason::None));
    assert_eq!(s.refused(A, Call::EvtConnect, &[handle(1), key]), (Code::PeerGone, 1, Reason::None));
    s.close();
}
