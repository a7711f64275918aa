//! Borrowed memory page by page: what is mapped and given back the short way, beside other pages of one table.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::{HOLE, R};
use crate::share_calls::{FORCE, LEND, PEER, REGION, RELINQUISHED, REVOKED, RW, lent, map, state, system};
use crate::stage::Story;
use crate::talk::{A, B};

/// Two VMs with a region of their own each, both under the same handle.
fn two_with_neighbors() -> Story {
    let mut system = system(16);
    system.own_region(1, 1, 16);
    Story::new(&system)
}

#[test]
fn pages_that_are_borrowed_are_mapped_and_given_back_one_by_one_and_their_neighbors_stay() {
    let mut s = two_with_neighbors();
    map(&mut s, B, REGION, HOLE + 0x8000, 1);
    for page in 0..3 {
        let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, page << 12, 1, RW, page]);
        let [mem, pages, tag] = s.call(B, Call::ShareAccept, &[PEER, key, R]);
        assert_eq!((pages, tag), (1, page));
        assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mem, 0, 1, RW]), (Code::Denied, 6, Reason::NoRight));
        assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mem, 0x1000, 1, R]).0, Code::Overflow);
        assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE + 0x8000, mem, 0, 1, R]).0, Code::Exists);
        assert_eq!(s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 1, R])[1], 1);
        assert_eq!(s.ask(B, Call::AsQuery, &[0, HOLE]).unwrap()[1..4], [mem, 0, R]);
        assert_eq!(s.call(A, Call::MemInfo, &[REGION])[2], 1);
        assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 1]);
        assert_eq!(s.refused(B, Call::AsQuery, &[0, HOLE]).0, Code::NotMapped);
        assert_eq!((state(&mut s, share), s.call(A, Call::MemInfo, &[REGION])[2]), (RELINQUISHED, 0));
    }
    assert_eq!(s.ask(B, Call::AsQuery, &[0, HOLE + 0x8000]).unwrap()[1], REGION);
}

#[test]
fn what_was_mapped_page_by_page_is_all_taken_back() {
    let mut s = two_with_neighbors();
    let (share, mem) = lent(&mut s, RW | LEND);
    map(&mut s, B, REGION, HOLE + 0x10_0000, 1);
    for page in 0..16 {
        let address = HOLE + (page << 12);
        assert_eq!(s.call(B, Call::AsMap, &[0, address, mem, page << 12, 1, RW])[1], 1);
    }
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[..2], [REVOKED, 16]);
    for page in 0..16 {
        assert_eq!(s.refused(B, Call::AsQuery, &[0, HOLE + (page << 12)]).0, Code::NotMapped);
    }
    assert_eq!(s.call(A, Call::MemInfo, &[REGION])[2], 0);
}
