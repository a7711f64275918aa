//! SHARE: what SPEC.md settles where two moves meet: asked while it is revoked, given back while it is revoked, dropped, donated,
//! and how many of each there can be.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::{HOLE, R};
use crate::plan::{Guest, SHARED, System};
use crate::share_calls::{
    ACCEPTED, DONATE, DONATED, FORCE, LEND, REGION, RELINQUISHED, REVOKED, REVOKING, lent, offer, state, system, two,
};
use crate::stage::{Story, Who};
use crate::talk::{A, B, handle, refusal};

const RW: u64 = 3;
const ASK: u64 = 0;
const PEER: u64 = 1 << 16 | 1;
const NO_SYNC: u64 = 1;

/// Returns code and quantity of a refusal.
fn quantity(s: &mut Story, who: Who, call: Call, arguments: &[u64]) -> (Code, u64) {
    let x = s.ask(who, call, arguments).unwrap();
    (refusal(&x).unwrap().0, x[1] >> 16)
}

/// Lends 256 pages, mapped in two parts of 128 at B. Returns the share and B's handle.
fn lent_in_parts(s: &mut Story) -> (u64, u64) {
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 256, LEND | RW, 0]);
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 128, RW]);
    s.call(B, Call::AsMap, &[0, HOLE + 0x8_0000, mem, 0x8_0000, 128, RW]);
    (share, mem)
}

#[test]
fn a_revoke_that_has_begun_goes_on_by_either_policy() {
    let mut s = Story::new(&system(256));
    let (share, _) = lent_in_parts(&mut s);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[..2], [REVOKING, 128]);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, ASK])[..2], [REVOKED, 128]);
    s.close();
}

#[test]
fn what_is_given_back_during_a_revoke_is_relinquished_and_its_owner_hears_of_it() {
    let mut s = Story::new(&system(256));
    let (share, mem) = lent_in_parts(&mut s);
    let [port, ..] = s.call(A, Call::EvtOffer, &[PEER]);
    s.call(A, Call::EvtBindObject, &[share, port, 4]);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[0], REVOKING);
    while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
    assert_eq!(s.call(A, Call::EvtAck, &[])[0], 1, "RELINQUISHED");
    assert_eq!(state(&mut s, share), RELINQUISHED);
    for policy in [ASK, FORCE] {
        assert_eq!(quantity(&mut s, A, Call::ShareRevoke, &[share, policy]), (Code::State, RELINQUISHED));
    }
    s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 1, RW]);
    s.close();
}

#[test]
fn a_handle_to_borrowed_memory_is_dropped_once_it_was_revoked_and_not_before() {
    let mut s = Story::new(&system(256));
    let (share, mem) = lent_in_parts(&mut s);
    let in_use = |s: &mut Story, who, object, kind| {
        assert_eq!(quantity(s, who, Call::CoreHandleDrop, &[object]), (Code::State, kind));
    };
    in_use(&mut s, B, mem, 2);
    in_use(&mut s, A, share, 3);
    s.call(A, Call::ShareRevoke, &[share, FORCE]);
    in_use(&mut s, B, mem, 2);
    in_use(&mut s, A, share, 3);
    while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
    assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mem, 0, 1, R]).0, Code::Revoked);
    for (who, object) in [(B, mem), (A, share)] {
        s.call(who, Call::CoreHandleDrop, &[object]);
        assert_eq!(s.refused(who, Call::CoreHandleDrop, &[object]).0, Code::Stale);
    }
    let x = s.ask(B, Call::AsQuery, &[0, HOLE]).unwrap();
    assert_eq!((refusal(&x).unwrap().0, x[1] >> 16), (Code::NotMapped, 0), "with the handle the reason goes");
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 256, DONATE | RW, 0]);
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    assert_eq!(state(&mut s, share), DONATED);
    in_use(&mut s, B, mem, 2);
    s.call(A, Call::CoreHandleDrop, &[share]);
    s.close();
}

#[test]
fn memory_of_an_owner_that_ended_is_given_back_and_not_dropped() {
    let mut s = two();
    let (_, mem) = lent(&mut s, RW);
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    s.turns(120);
    assert_eq!(s.refused(B, Call::CoreHandleDrop, &[mem]), (Code::State, 1, Reason::None));
    while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
    s.close();
}

#[test]
fn what_another_vm_holds_is_neither_lent_nor_donated_nor_freed() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.share(0, 16, &[(0, 11), (1, 3)]);
    let mut s = Story::new(&system);
    s.call(A, Call::AsUnmap, &[0, SHARED, 16, 0]);
    s.call(B, Call::AsUnmap, &[0, SHARED, 16, 0]);
    let held = |s: &mut Story| {
        for terms in [LEND | RW, DONATE | RW] {
            let whole = [PEER, REGION, 0, 16, terms, 0];
            assert_eq!(s.refused(A, Call::ShareOffer, &whole), (Code::Busy, 2, Reason::None), "the manifest's handle");
        }
        assert_eq!(s.refused(A, Call::MemFree, &[REGION]), (Code::Busy, 1, Reason::None));
    };
    held(&mut s);
    let (share, mem) = lent(&mut s, RW);
    held(&mut s);
    assert_eq!(state(&mut s, share), ACCEPTED);
    assert_eq!(
        s.refused(B, Call::ShareOffer, &[PEER, mem, 0, 16, DONATE | RW, 0]),
        (Code::Denied, 2, Reason::NotOwner)
    );
    s.close();
}

#[test]
fn the_reason_revoked_is_told_where_it_was_mapped_until_then_and_nowhere_else() {
    let mut s = two();
    let (share, mem) = lent(&mut s, RW);
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
    s.call(B, Call::AsUnmap, &[0, HOLE + 0x2000, 2, 0]);
    s.call(B, Call::AsUnmap, &[0, HOLE + 0x8000, 3, NO_SYNC]);
    while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
    for page in 0..18 {
        let found = quantity(&mut s, B, Call::AsQuery, &[0, HOLE + page * 0x1000]);
        let was_mapped = page < 16 && !(2..4).contains(&page) && !(8..11).contains(&page);
        assert_eq!(found, (Code::NotMapped, if was_mapped { 3 } else { 0 }), "page {page}");
    }
    s.close();
}

#[test]
fn a_space_made_in_the_middle_of_a_revoke_is_told_nothing_of_the_one_before_it() {
    for calls in [1, 2] {
        let mut s = Story::new(&system(512));
        let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 512, LEND | RW, 0]);
        let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
        let space = s.call(B, Call::AsCreate, &[])[0];
        for (n, at) in [(0, space), (1, 0), (2, space)] {
            s.call(B, Call::AsMap, &[at, HOLE + n * 0x8_0000, mem, n * 0x8_0000, 128, RW]);
        }
        for _ in 0..calls {
            assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[..2], [REVOKING, 128]);
        }
        while s.call(B, Call::AsDestroy, &[space])[0] != 0 {}
        let space = s.call(B, Call::AsCreate, &[])[0];
        let reason = |s: &mut Story, space, n: u64| quantity(s, B, Call::AsQuery, &[space, HOLE + n * 0x8_0000]);
        for n in [0, 2] {
            assert_eq!(reason(&mut s, space, n), (Code::NotMapped, 0), "part {n} after {calls} calls");
        }
        while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
        for (n, space, why) in [(0, space, 0), (1, 0, 3), (2, space, 0)] {
            assert_eq!(reason(&mut s, space, n), (Code::NotMapped, why), "part {n} after it and {calls} calls");
        }
        s.close();
    }
}

#[test]
fn what_was_unmapped_without_sync_takes_no_range_and_is_its_owners_after_a_revoke() {
    for ends_space in [false, true] {
        let mut s = Story::new(&system(16));
        let (share, mem) = lent(&mut s, LEND | RW);
        let space = if ends_space { s.call(B, Call::AsCreate, &[])[0] } else { 0 };
        for n in 0..6 {
            let at = HOLE + n * 0x20_0000;
            s.call(B, Call::AsMap, &[space, at, mem, 0, 16, RW]);
            s.call(B, Call::AsUnmap, &[space, at, 16, NO_SYNC]);
        }
        if ends_space {
            s.call(B, Call::AsDestroy, &[space]);
        }
        assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[..2], [REVOKED, 0]);
        assert_eq!(s.call(A, Call::MemInfo, &[REGION]), [16, 1, 0], "nothing of it counts as mapped");
        while s.call(A, Call::MemFree, &[REGION])[0] != 0 {}
        s.close();
    }
}

#[test]
fn open_offers_and_objects_of_borrowed_memory_that_are_mapped_have_a_limit() {
    let guest = |label| Guest { handles: 200, quota: 400, ..Guest::new(label) };
    let mut system = System::pair(guest("a"), guest("b"));
    system.frames = 2048;
    system.own(0, 16);
    let mut s = Story::new(&system);
    let part = [PEER, REGION, 0, 1, R, 0];
    for _ in 0..128 {
        s.call(A, Call::ShareOffer, &part);
    }
    assert_eq!(quantity(&mut s, A, Call::ShareOffer, &part), (Code::Full, 128));
    let mems: Vec<u64> = (0..65).map(|_| s.call(B, Call::ShareAccept, &[PEER, 0, 0])[0]).collect();
    s.call(A, Call::ShareOffer, &part);
    let at = |n: usize| HOLE + n as u64 * 0x1000;
    for (n, mem) in mems.iter().enumerate().take(64) {
        s.call(B, Call::AsMap, &[0, at(n), *mem, 0, 1, R]);
    }
    assert_eq!(quantity(&mut s, B, Call::AsMap, &[0, at(64), mems[64], 0, 1, R]), (Code::Full, 64));
    s.call(B, Call::AsMap, &[0, at(64), mems[0], 0, 1, R]);
    s.call(B, Call::AsUnmap, &[0, at(3), 1, 0]);
    s.call(B, Call::AsMap, &[0, at(3), mems[64], 0, 1, R]);
    assert_eq!(s.ask(B, Call::CoreExit, &[0, 0]), None);
    s.turns(200);
    assert_eq!(quantity(&mut s, A, Call::ShareRevoke, &[handle(10), FORCE]), (Code::State, RELINQUISHED));
    assert_eq!(quantity(&mut s, A, Call::ShareRevoke, &[handle(130), FORCE]), (Code::State, RELINQUISHED));
    while s.call(A, Call::MemFree, &[REGION])[0] != 0 {}
    s.close();
}

#[test]
fn an_offer_to_a_vm_that_ends_is_over_and_its_owner_hears_of_it() {
    for terms in [RW, LEND | RW, DONATE | RW] {
        let mut s = two();
        let (share, _) = offer(&mut s, terms);
        let [port, ..] = s.call(A, Call::EvtOffer, &[PEER]);
        s.call(A, Call::EvtBindObject, &[share, port, 4]);
        assert_eq!(s.ask(B, Call::CoreExit, &[0, 0]), None);
        s.turns(120);
        assert_eq!(s.call(A, Call::EvtAck, &[])[0], 1, "RELINQUISHED");
        assert_eq!(quantity(&mut s, A, Call::ShareRevoke, &[share, FORCE]), (Code::State, RELINQUISHED));
        let again = [PEER, REGION, 0, 16, RW, 0];
        assert_eq!(s.refused(A, Call::ShareOffer, &again), (Code::PeerGone, 1, Reason::None));
        s.call(A, Call::CoreHandleDrop, &[share]);
        s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 16, RW]);
        s.close();
    }
}
