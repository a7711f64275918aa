//! SHARE: handles that name nothing, something that is gone or something else; rights that the owner has not; full tables.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::R;
use crate::plan::{Guest, SHARED, System};
use crate::share_calls::{FORCE, LEND, REGION, REVOKED, lent, offer, two};
use crate::stage::Story;
use crate::talk::{A, B, handle};

const RW: u64 = 3;
const RX: u64 = 5;
const PEER: u64 = 1 << 16 | 1;
const PORT: u64 = 1 << 16 | 2;

#[test]
fn every_handle_of_a_share_is_refused_by_index_generation_and_kind() {
    let mut s = two();
    let (share, _) = offer(&mut s, RW);
    let cases = [
        (Call::ShareOffer, 0, PEER, REGION, vec![PEER, REGION, 0, 16, RW, 0]),
        (Call::ShareOffer, 1, REGION, PEER, vec![PEER, REGION, 0, 16, RW, 0]),
        (Call::ShareAccept, 0, PEER, REGION, vec![PEER, 0, 0]),
        (Call::ShareRelinquish, 0, REGION, PEER, vec![REGION]),
        (Call::ShareRevoke, 0, share, REGION, vec![share, FORCE]),
        (Call::ShareInfo, 0, share, PORT, vec![share]),
        (Call::EvtBindObject, 0, PEER, PORT, vec![PEER, PORT, 1]),
        (Call::EvtBindObject, 1, PORT, PEER, vec![PEER, PORT, 1]),
    ];
    for (call, at, good, other, arguments) in cases {
        for (wrong, code) in [
            (handle(9), Code::BadHandle),
            (handle(0xffff), Code::BadHandle),
            (0, Code::BadHandle),
            (good + (1 << 16), Code::Stale),
            (other, Code::WrongKind),
        ] {
            let mut arguments = arguments.clone();
            arguments[at] = wrong;
            assert_eq!(s.refused(A, call, &arguments), (code, at + 1, Reason::None), "{} {wrong:#x}", call.name());
        }
    }
    s.close();
}

#[test]
fn nobody_offers_more_than_it_may_do_itself() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.share(0, 16, &[(0, 9)]);
    let mut s = Story::new(&system);
    s.call(A, Call::AsUnmap, &[0, SHARED, 16, 0]);
    for terms in [RW, RX, LEND | RW] {
        let wanted = [PEER, REGION, 0, 16, terms, 0];
        assert_eq!(s.refused(A, Call::ShareOffer, &wanted), (Code::Denied, 5, Reason::NoRight));
    }
    lent(&mut s, LEND | R);
    s.close();
}

#[test]
fn a_full_table_makes_no_offer_and_accepts_none() {
    let guest = |label, handles| Guest { handles, ..Guest::new(label) };
    let mut system = System::pair(guest("a", 5), guest("b", 4));
    system.own(0, 16);
    let mut s = Story::new(&system);
    let full = (Code::Full, 0, Reason::TableFull);
    while s.ask(B, Call::EvtOffer, &[PEER]).unwrap()[0] == 0 {}
    let (share, key) = offer(&mut s, RW);
    assert_eq!(s.refused(A, Call::ShareOffer, &[PEER, REGION, 0, 16, RW, 0]), full);
    assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, key, 0]), full);
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[0], REVOKED);
    s.call(A, Call::CoreHandleDrop, &[share]);
    offer(&mut s, LEND | RW);
    s.close();
}
