//! SHARE: one of the two VMs ends, in each state of a share, and ports that are bound to what happens.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::{HOLE, R};
use crate::plan::{Guest, System};
use crate::share_calls::{
    ASKED, DONATE, FORCE, LEND, REGION, RELINQUISHED, REVOKED, REVOKING, lent, offer, state, system, two,
};
use crate::stage::{Story, Who};
use crate::talk::{A, B, handle};

const RW: u64 = 3;
const PEER: u64 = 1 << 16 | 1;
const PORT: u64 = 1 << 16 | 2;

fn end(s: &mut Story, who: Who) {
    assert_eq!(s.ask(who, Call::CoreExit, &[0, 0]), None);
    s.turns(120);
    assert!(s.try_vm(who.0, |_| ()).is_none());
}

/// Returns whether the port of `who` was raised since the last look.
fn was_raised(s: &mut Story, who: Who) -> bool {
    let selector = s.call(who, Call::EvtAck, &[])[0];
    s.vm(who.0, |vm| {
        let index = 2;
        let number = vm.ports[index].binding().vcpu();
        vm.area.withdraw(number, index as u16, &vm.vcpu(number).unwrap().public.sink)
    }) || selector != 0
}

#[test]
fn what_an_owner_shared_stays_with_its_borrower_and_is_scrubbed_behind_it() {
    for terms in [RW, LEND | RW] {
        for asked in [false, true] {
            let mut s = two();
            let (share, mem) = lent(&mut s, terms);
            s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 8, RW]);
            if asked {
                s.call(A, Call::ShareRevoke, &[share, 0]);
            }
            end(&mut s, A);
            s.call(B, Call::AsMap, &[0, HOLE + 0x8000, mem, 0x8000, 8, RW]);
            assert_eq!(s.refused(B, Call::ShareAccept, &[PEER, 0, 0]).0, Code::PeerGone);
            assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 16]);
            assert_eq!(s.refused(B, Call::ShareRelinquish, &[mem]).0, Code::Stale);
            end(&mut s, B);
            s.audit();
        }
    }
}

#[test]
fn an_orphan_is_scrubbed_in_parts_one_at_a_time() {
    let mut system = system(64);
    system.own_region(0, 1, 64);
    let mut s = Story::new(&system);
    let mut mems = [0; 2];
    for (n, region) in [(0, handle(3)), (1, handle(4))] {
        let [_, key, _] = s.call(A, Call::ShareOffer, &[PEER, region, 0, 64, LEND | RW, 0]);
        mems[n] = s.call(B, Call::ShareAccept, &[PEER, key, 0])[0];
    }
    end(&mut s, A);
    assert_eq!(s.call(B, Call::ShareRelinquish, &[mems[0]])[0], 1);
    s.call(B, Call::AsMap, &[0, HOLE, mems[1], 0, 1, R]);
    assert_eq!(s.refused(B, Call::ShareRelinquish, &[mems[1]]), (Code::Busy, 1, Reason::None));
    s.call(B, Call::AsUnmap, &[0, HOLE, 1, 0]); // the refusal has changed nothing
    s.call(B, Call::AsMap, &[0, HOLE, mems[1], 0, 1, R]);
    assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, mems[0], 0, 1, R]), (Code::State, 3, Reason::None));
    let calls = (0..9).take_while(|_| s.call(B, Call::ShareRelinquish, &[mems[0]])[0] != 0).count();
    assert_eq!(calls, 2, "64 pages, 16 each");
    assert_eq!(s.call(B, Call::ShareRelinquish, &[mems[1]])[0], 1);
    end(&mut s, B); // in the middle
    s.audit();
}

#[test]
fn an_owner_that_ends_in_each_state_leaves_nothing_behind() {
    for terms in [RW, LEND | RW, DONATE | RW] {
        for accepted in [false, true] {
            for b_first in [false, true] {
                let mut s = two();
                let (_, key) = offer(&mut s, terms);
                if accepted {
                    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
                    s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
                }
                end(&mut s, if b_first { B } else { A });
                end(&mut s, if b_first { A } else { B });
                s.audit();
            }
        }
    }
}

#[test]
fn both_ends_may_end_at_once() {
    for terms in [RW, LEND | RW, DONATE | RW] {
        let far = Guest { cores: [1, 0, 0, 0, 0, 0, 0, 0], quota: 200, ..Guest::new("b") };
        let mut system = System::pair(Guest { quota: 200, ..Guest::new("a") }, far);
        system.frames = 4096;
        system.own(0, 16);
        let mut s = Story::on(&system, 2);
        let (_, mem) = lent(&mut s, terms);
        s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
        s.begin(A, Call::CoreExit, &[0, 0]);
        s.begin(B, Call::CoreExit, &[0, 0]);
        s.turns(200);
        s.audit();
    }
}

#[test]
fn a_borrower_that_ends_has_given_its_memory_back() {
    for (terms, ask) in [(RW, false), (LEND | RW, false), (LEND | RW, true)] {
        let mut s = two();
        let (share, mem) = lent(&mut s, terms);
        s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 16, RW]);
        if ask {
            s.call(A, Call::ShareRevoke, &[share, 0]);
            assert_eq!(state(&mut s, share), ASKED);
        }
        s.call(A, Call::EvtBindObject, &[share, PORT, 4]);
        end(&mut s, B);
        assert_eq!(state(&mut s, share), RELINQUISHED);
        assert!(was_raised(&mut s, A));
        s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 16, RW]);
        s.close();
    }
}

#[test]
fn a_revoke_that_is_under_way_comes_to_an_end_whoever_ends() {
    for who in [A, B] {
        let mut s = Story::new(&system(256));
        let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 256, LEND | RW, 0]);
        let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
        s.call(B, Call::AsMap, &[0, HOLE, mem, 0, 128, RW]);
        s.call(B, Call::AsMap, &[0, HOLE + 0x8_0000, mem, 0x8_0000, 128, RW]);
        assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[..2], [REVOKING, 128]);
        end(&mut s, who);
        if who == A {
            assert_eq!(s.refused(B, Call::AsMap, &[0, 0x7000_0000, mem, 0, 1, R]).0, Code::Revoked);
            while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
        } else {
            assert_eq!(state(&mut s, share), RELINQUISHED);
            assert_eq!(s.refused(A, Call::ShareRevoke, &[share, FORCE]).0, Code::State);
        }
        s.close();
    }
}

#[test]
fn a_borrower_that_gives_back_in_the_middle_of_a_revoke_is_done_either_way() {
    for by_owner in [false, true] {
        let mut s = Story::new(&system(512));
        let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, 0, 512, LEND | RW, 0]);
        let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
        for n in 0..4 {
            s.call(B, Call::AsMap, &[0, HOLE + 0x1000 + n * 0x8_0000, mem, n * 0x8_0000, 128, RW]);
        }
        assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[0], REVOKING);
        assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[0], 1);
        if by_owner {
            while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
            assert_eq!(s.call(B, Call::ShareRelinquish, &[mem])[..2], [0, 0]);
        } else {
            while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
            assert_eq!(state(&mut s, share), RELINQUISHED);
        }
        for n in 0..512 {
            assert_eq!(s.refused(B, Call::AsQuery, &[0, HOLE + 0x1000 + n * 0x1000]).0, Code::NotMapped);
        }
        s.call(A, Call::AsMap, &[0, HOLE, REGION, 0, 1, RW]);
        s.close();
    }
}

#[test]
fn an_offer_that_is_taken_back_is_told_to_its_peer() {
    let mut s = two();
    s.call(B, Call::EvtBindObject, &[PEER, PORT, 64]);
    let (share, _) = offer(&mut s, LEND | RW);
    assert!(!was_raised(&mut s, B), "not bound to OFFERED");
    s.call(A, Call::ShareRevoke, &[share, 0]);
    assert!(was_raised(&mut s, B), "WITHDRAWN");
    s.close();
}

#[test]
fn each_step_raises_the_port_that_is_bound_to_it_and_no_other_does() {
    let mut s = two();
    s.call(B, Call::EvtBindObject, &[PEER, PORT, 1]);
    let (share, key) = offer(&mut s, LEND | RW);
    assert!(was_raised(&mut s, B), "OFFERED");
    s.call(A, Call::EvtBindObject, &[share, PORT, 2]);
    let [mem, ..] = s.call(B, Call::ShareAccept, &[PEER, key, 0]);
    assert!(was_raised(&mut s, A), "ACCEPTED");
    s.call(B, Call::EvtBindObject, &[mem, PORT, 8]);
    s.call(A, Call::ShareRevoke, &[share, 0]);
    assert!(was_raised(&mut s, B), "ASKED");
    s.call(B, Call::EvtBindObject, &[mem, PORT, 16]);
    s.call(A, Call::ShareRevoke, &[share, 0]);
    assert!(!was_raised(&mut s, B), "not bound to ASKED any more");
    assert_eq!(s.call(A, Call::ShareRevoke, &[share, FORCE])[0], REVOKED);
    assert!(was_raised(&mut s, B), "REVOKED");
    s.call(B, Call::ShareRelinquish, &[mem]);
    assert!(!was_raised(&mut s, A), "its share was over");
    let (share, mem) = lent(&mut s, RW);
    s.call(A, Call::EvtBindObject, &[share, PORT, 4]);
    s.call(B, Call::ShareRelinquish, &[mem]);
    assert!(was_raised(&mut s, A), "RELINQUISHED");
    let (_, mem) = lent(&mut s, RW);
    let [port, ..] = s.call(B, Call::EvtOffer, &[PEER]);
    s.call(B, Call::EvtBindObject, &[mem, port, 32]);
    s.call(B, Call::EvtBindObject, &[PEER, PORT, 32]);
    assert!(was_raised(&mut s, B), "OFFERED, from the last two offers");
    end(&mut s, A);
    assert!(was_raised(&mut s, B), "ENDED");
    s.close();
}

#[test]
fn a_port_that_was_closed_or_is_another_by_now_is_not_raised() {
    let mut s = two();
    let [port, ..] = s.call(B, Call::EvtOffer, &[PEER]);
    s.call(B, Call::EvtBindObject, &[PEER, port, 1]);
    s.call(B, Call::EvtClose, &[port]);
    offer(&mut s, RW);
    assert_eq!(s.call(B, Call::EvtAck, &[])[0], 0);
    s.turns(4);
    let [again, ..] = s.call(B, Call::EvtOffer, &[PEER]);
    assert_eq!((again & 0xffff, again == port), (port & 0xffff, false), "the same entry");
    offer(&mut s, RW);
    assert_eq!(s.call(B, Call::EvtAck, &[])[0], 0);
    s.close();
}

#[test]
fn what_nothing_happens_to_cannot_be_bound() {
    let mut s = two();
    let (share, mem) = lent(&mut s, RW);
    let bind = |s: &mut Story, who, arguments: [u64; 3]| s.refused(who, Call::EvtBindObject, &arguments);
    assert_eq!(bind(&mut s, A, [REGION, PORT, 1]), (Code::WrongKind, 1, Reason::None));
    assert_eq!(bind(&mut s, A, [PORT, PORT, 1]), (Code::WrongKind, 1, Reason::None));
    assert_eq!(bind(&mut s, A, [share, PEER, 2]), (Code::WrongKind, 2, Reason::None));
    assert_eq!(bind(&mut s, A, [handle(200), PORT, 2]), (Code::BadHandle, 1, Reason::None));
    for (who, object, steps) in [(A, share, 8), (A, PEER, 2), (B, mem, 1), (B, mem, 64)] {
        assert_eq!(bind(&mut s, who, [object, PORT, steps]), (Code::Invalid, 3, Reason::ReservedBits));
    }
    s.call(A, Call::EvtBindObject, &[share, PORT, 0]);
    s.close();
}
