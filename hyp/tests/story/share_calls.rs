//! SHARE and BIND_OBJECT: memory offered, accepted, given back and taken back, and each way in which that is refused.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::{HOLE, R, RAM};
use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle, refusal};

pub(crate) const RW: u64 = 3;
pub(crate) const LEND: u64 = 1 << 4;
pub(crate) const DONATE: u64 = 2 << 4;
pub(crate) const PEER: u64 = 1 << 16 | 1;
pub(crate) const OFFERED: u64 = 1;
pub(crate) const ACCEPTED: u64 = 2;
pub(crate) const ASKED: u64 = 3;
pub(crate) const REVOKING: u64 = 4;
pub(crate) const RELINQUISHED: u64 = 5;
pub(crate) const REVOKED: u64 = 6;
pub(crate) const DONATED: u64 = 7;
const ASK: u64 = 0;
pub(crate) const FORCE: u64 = 1;

/// Two VMs with regions of their own under handle 3, mapped nowhere: 16 pages of A's, from which it shares, lends, donates.
pub(crate) fn two() -> Story {
    Story::new(&system(16))
}

pub(crate) fn system(pages: u64) -> System {
    let guest = |label| Guest { quota: 3 * pages as u32 + 100, ..Guest::new(label) };
    let mut system = System::pair(guest("a"), guest("b"));
    system.frames = 4096;
    system.own(0, pages);
    system
}

/// The region of A.
pub(crate) const REGION: u64 = 1 << 16 | 3;

/// Returns share and key.
pub(crate) fn offer(s: &mut Story, terms: u64) -> (u64, u64) {
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 16, terms, 77]);
    (share, key)
}

/// Returns the share and B's handle.
pub(crate) fn lent(s: &mut Story, terms: u64) -> (u64, u64) {
    let (share, key) = offer(s, terms);
    (share, s.call(B, Call::ShareAccept, &[PEER, key, 0])[0])
}

pub(crate) fn state(s: &mut Story, share: u64) -> u64 {
    s.call(A, Call::ShareInfo, &[share])[0]
}

pub(crate) fn map(s: &mut Story, who: (u8, u8), mem: u64, address: u64, pages: u64) {
    assert_eq!(s.call(who, Call::AsMap, &[0, address, mem, 0, pages, RW])[1], pages);
}

#[test]
fn shared_memory_is_mapped_by_both_and_given_back() {
    let mut s = two();
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0x2000, 4, RW, 77]);
    assert_eq!(s.call(A, Call::ShareInfo, &[share]), [OFFERED, RW, 4]);
    let [mem, pages, tag] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    assert_eq!((pages, tag, state(&mut s, share)), (4, 77, ACCEPTED));
    map(&mut s, A, REGION, HOLE, 16);
    map(&mut s, B, mem, HOLE, 4);
    assert_eq!(s.ask(B, Call::AsQuery, &[0, HOLE + 0x1000]).unwrap()[1..4], [mem, 0x1000, RW]);
    assert_eq!(s.refused(B, Call::AsMap, &[0, 0x7000_0000, mem, 0, 5, R]), (Code::Overflow, 4, Reason::PastEnd));
    assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 4]);
    assert_eq!(s.refused(B, Call::AsQuery, &[0, HOLE]).0, Code::NotMapped);
    assert_eq!(s.refused(B, Call::ShareRelinquish, &[mem]).0, Code::Stale);
    assert_eq!(state(&mut s, share), RELINQUISHED);
    assert_eq!(s.refused(A, Call::ShareRevoke, &[share, FORCE]), (Code::State, 1, Reason::None));
    s.call(A, Call::AsUnmap, &[0, HOLE, 16, 0]);
    s.close();
}

#[test]
fn lent_memory_is_the_borrowers_alone_until_it_comes_back() {
    let mut s = two();
    let (share, key) = offer(&mut s, LEND | RW);
    let mapped = [0, HOLE, REGION, 0, 1, R];
    assert_eq!(s.refused(A, Call::AsMap, &mapped), (Code::State, 3, Reason::None), "offered to be lent");
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, R]);
    assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mem, 0, 1, RW]), (Code::Denied, 6, Reason::NoRight));
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, R]);
    assert_eq!(s.refused(A, Call::AsMap, &mapped).0, Code::State);
    s.call(B, Call::ShareRelinquish, &[mem]);
    assert_eq!(state(&mut s, share), RELINQUISHED);
    s.call(A, Call::AsMap, &mapped);
    s.close();
}

#[test]
fn a_donation_changes_the_owner_and_the_accounts() {
    let mut s = two();
    let used = |s: &mut Story, place| s.vm(place, |vm| vm.inner.try_lock().unwrap().account.used());
    let before = (used(&mut s, 0), used(&mut s, 1));
    let (share, mem) = lent(&mut s, DONATE | RW);
    assert_eq!((used(&mut s, 0), used(&mut s, 1)), (before.0 - 16, before.1 + 16));
    assert_eq!(state(&mut s, share), DONATED);
    assert_eq!(s.refused(A, Call::AsMap, &[0, HOLE, REGION, 0, 1, R]).0, Code::Stale);
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
    assert_eq!(s.refused(B, Call::ShareRelinquish, &[mem]), (Code::Denied, 1, Reason::NotAllowed));
    s.call(B, Call::AsUnmap, &[0, HOLE, 16, 0]);
    let [_, key, _] = s.call(B, Call::ShareOffer, &[PEER, mem, 0, 16, DONATE | RW, 0]);
    s.call(A, Call::ShareAccept, &[PEER, key, 0]);
    s.close();
}

#[test]
fn an_offer_is_taken_back_before_it_is_accepted() {
    let mut s = two();
    for (terms, policy) in [(RW, ASK), (LEND | RW, FORCE), (DONATE | RW, ASK)] {
        let (share, key) = offer(&mut s, terms);
        assert_eq!(s.call(A, Call::ShareRevoke, &[share, policy])[..2], [REVOKED, 0]);
        assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), (Code::Invalid, 2, Reason::UnknownValue));
        s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 1, R]);
        s.call(A, Call::AsUnmap, &[0, HOLE, 1, 0]);
    }
    s.close();
}

#[test]
fn force_unmaps_at_the_borrower_in_bounded_parts_wherever_it_is_mapped() {
    let mut s = Story::new(&system(256));
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 256, LEND | RW, 0]);
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    for at in [HOLE, HOLE + 0x1000_0000] {
        map(&mut s, B, mem, at, 128);
        assert_eq!(s.call(B, Call::AsMap, &[0, at + 0x8_0000, mem, 0x8_0000, 128, RW])[1], 128);
    }
    s.call(B, Call::AsUnmap, &[0, HOLE + 0x3000, 2, 0]);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, ASK])[..2], [ASKED, 0]);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, ASK])[..2], [ASKED, 0]);
    let mut pages = 0;
    for calls in 1.. {
        let [state, done, _] = s.call(A, Call::ShareRevoke, &[share, FORCE]);
        assert!(done <= 128 && calls < 12);
        pages += done;
        assert_eq!(s.refused(B, Call::AsMap, &[0, 0x7000_0000, mem, 0, 1, R]), (Code::Revoked, 3, Reason::None));
        if state == REVOKED {
            break;
        }
        assert_eq!(state, REVOKING);
    }
    assert_eq!(pages, 510);
    let x = s.ask(B, Call::AsQuery, &[0, HOLE + 0x9000]).unwrap();
    assert_eq!((refusal(&x).unwrap().0, x[1] >> 16), (Code::NotMapped, 3), "Revoked");
    assert_eq!(s.refused(A, Call::ShareRevoke, &[share, FORCE]).0, Code::State);
    map(&mut s, A, REGION, HOLE, 1);
    assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 0]);
    s.close();
}

#[test]
fn other_memory_between_borrowed_pages_stays_when_they_are_taken_away() {
    for by_force in [false, true] {
        let mut s = two();
        let (share, mem) = lent(&mut s, RW);
        map(&mut s, B, mem, HOLE, 16);
        s.call(B, Call::AsUnmap, &[0, HOLE + 0x4000, 1, 0]);
        s.call(B, Call::AsMap, &[0, HOLE + 0x4000, RAM, 0, 1, R]);
        if by_force {
            while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
        } else {
            while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
        }
        assert_eq!(s.call(B, Call::AsQuery, &[0, HOLE + 0x4000])[0], RAM);
        for page in [0, 3, 5, 15] {
            assert_eq!(s.refused(B, Call::AsQuery, &[0, HOLE + page * 0x1000]).0, Code::NotMapped);
        }
        s.close();
    }
}

#[test]
fn borrowed_memory_is_mapped_at_four_ranges_and_at_no_fifth() {
    let mut s = two();
    let (_, mem) = lent(&mut s, RW);
    for n in 0..4 {
        map(&mut s, B, mem, HOLE + n * 0x10_0000, 2);
    }
    let fifth = [0, HOLE + 0x80_0000, mem, 0, 1, R];
    assert_eq!(s.refused(B, Call::AsMap, &fifth), (Code::Full, 3, Reason::TableFull));
    s.call(B, Call::AsMap, &[0, HOLE + 0x2000, mem, 0, 1, R]);
    s.call(B, Call::AsUnmap, &[0, HOLE + 0x10_0000, 2, 0]);
    s.call(B, Call::AsMap, &fifth);
    s.close();
}

#[test]
fn each_argument_of_an_offer_is_checked() {
    let mut s = two();
    let base = [PEER, REGION, 0, 16, RW, 0];
    let with = |at: usize, value: u64| {
        let mut arguments = base;
        arguments[at] = value;
        arguments
    };
    for (arguments, expected) in [
        (with(0, REGION), (Code::WrongKind, 1, Reason::None)),
        (with(1, PEER), (Code::WrongKind, 2, Reason::None)),
        (with(2, 1), (Code::Misaligned, 3, Reason::Misaligned)),
        (with(2, 0x1000), (Code::Overflow, 3, Reason::PastEnd)),
        (with(2, !0xfff), (Code::Overflow, 3, Reason::PastEnd)),
        (with(3, 0), (Code::Invalid, 4, Reason::TooSmall)),
        (with(3, u64::MAX), (Code::Overflow, 3, Reason::PastEnd)),
        (with(4, 2), (Code::Invalid, 5, Reason::TooSmall)),
        (with(4, 8), (Code::Invalid, 5, Reason::ReservedBits)),
        (with(4, 0x33), (Code::Invalid, 5, Reason::UnknownValue)),
    ] {
        assert_eq!(s.refused(A, Call::ShareOffer, &arguments), expected, "{arguments:x?}");
    }
    for terms in [LEND | RW, DONATE | RW] {
        assert_eq!(
            s.refused(A, Call::ShareOffer, &[PEER, REGION, 0, 8, terms, 0]),
            (Code::Invalid, 4, Reason::TooSmall)
        );
    }
    s.close();
}

#[test]
fn only_what_is_whole_unmapped_and_unshared_is_lent_or_donated() {
    let mut s = two();
    for terms in [LEND | RW, DONATE | RW] {
        let whole = [PEER, REGION, 0, 16, terms, 0];
        map(&mut s, A, REGION, HOLE, 1);
        assert_eq!(s.refused(A, Call::ShareOffer, &whole), (Code::Busy, 2, Reason::None));
        s.call(A, Call::AsUnmap, &[0, HOLE, 1, 0]);
        let (share, _) = offer(&mut s, RW);
        assert_eq!(s.refused(A, Call::ShareOffer, &whole), (Code::Busy, 2, Reason::None));
        s.call(A, Call::ShareRevoke, &[share, ASK]);
        let (share, _) = offer(&mut s, terms);
        assert_eq!(s.refused(A, Call::ShareOffer, &whole), (Code::State, 2, Reason::None));
        assert_eq!(s.refused(A, Call::ShareOffer, &[PEER, REGION, 0, 1, R, 0]), (Code::State, 2, Reason::None));
        s.call(A, Call::ShareRevoke, &[share, ASK]);
    }
    s.close();
}

#[test]
fn what_is_borrowed_is_neither_offered_nor_revoked_and_rights_do_not_grow() {
    let mut s = two();
    let (share, key) = offer(&mut s, R);
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, RW]), (Code::Denied, 3, Reason::NoRight));
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 8]), (Code::Invalid, 3, Reason::ReservedBits));
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), (Code::Invalid, 2, Reason::UnknownValue));
    assert_eq!(s.refused(B, Call::ShareOffer, &[PEER, mem, 0, 1, R, 0]), (Code::Denied, 2, Reason::NotOwner));
    assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mem, 0, 1, RW]), (Code::Denied, 6, Reason::NoRight));
    assert_eq!(s.refused(B, Call::ShareRevoke, &[mem, FORCE]).0, Code::WrongKind);
    assert_eq!(s.refused(B, Call::ShareInfo, &[mem]).0, Code::WrongKind);
    assert_eq!(s.refused(A, Call::ShareRelinquish, &[REGION]), (Code::Denied, 1, Reason::NotAllowed));
    assert_eq!(s.refused(A, Call::ShareRevoke, &[share, 2]), (Code::Invalid, 2, Reason::UnknownValue));
    s.close();
}

#[test]
fn key_0_accepts_the_open_offer_with_the_lowest_index() {
    let mut s = two();
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, 0, 0]), (Code::Empty, 2, Reason::None));
    for tag in 1..4 {
        s.call(A, Call::ShareOffer, &[PEER, REGION, tag << 12, 1, R, tag]);
    }
    for tag in 1..4 {
        assert_eq!(s.call(B, Call::ShareAccept, &[PEER, 0, 0])[2], tag);
    }
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, 0, 0]).0, Code::Empty);
    for key in [1, 1 << 32, u64::MAX, REGION, handle(9)] {
        assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), (Code::Invalid, 2, Reason::UnknownValue));
    }
    s.close();
}

#[test]
fn a_donation_beyond_the_quota_or_the_table_is_refused_and_nothing_changes() {
    let mut system = System::pair(Guest { quota: 400, ..Guest::new("a") }, Guest { handles: 3, ..Guest::new("b") });
    system.frames = 2048;
    system.own(0, 256);
    let mut s = Story::new(&system);
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 256, DONATE | RW, 0]);
    let full = (Code::Full, 0, Reason::TableFull);
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), full);
    s.call(B, Call::EvtClose, &[handle(2)]);
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), (Code::Quota, 0, Reason::None));
    assert_eq!(state(&mut s, share), OFFERED);
    s.call(A, Call::ShareRevoke, &[share, ASK]);
    s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 1, R]);
    s.close();
}
