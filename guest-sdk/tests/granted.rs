//! Offered and borrowed memory over a recorder: what each end asks for, in which order, and what a drop gives back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use strato_guest::abi::address_space::Attributes;
use strato_guest::abi::call::{
    AsMapReply, AsUnmapReply, CoreHandleDropReply, EvtBindObjectReply, MemAllocReply, MemFreeReply, MemInfoReply,
    ShareAcceptReply, ShareInfoReply, ShareOfferReply, ShareRelinquishReply, ShareRevokeReply, VcpuWaitReply,
};
use strato_guest::abi::share::ShareState;
use strato_guest::abi::{Call, Code, Error, Handle, Ipa, MemHandle, PeerHandle, PortHandle, Reason, ShareHandle};
use strato_guest::event_area::EventCells;
use strato_guest::{Borrowed, Owned, Recorder};

const MEM: MemHandle = MemHandle(Handle::new(4, 1));
const SHARE: ShareHandle = ShareHandle(Handle::new(6, 1));
const PEER: PeerHandle = PeerHandle(Handle::new(2, 1));
const RW: Attributes = Attributes::READ.union(Attributes::WRITE);
const AT: Ipa = Ipa::new(0x6000_0000).unwrap();

fn offered() -> Recorder {
    let recorder = Recorder::new().answer(MemAllocReply { mem: MEM.0, done: 2 });
    recorder.answer(ShareOfferReply { share: SHARE, key: 9 })
}

fn accepted() -> Recorder {
    Recorder::new().answer(ShareAcceptReply { mem: MEM, pages: 2, tag: 77 })
}

fn revoked(state: ShareState) -> ShareRevokeReply {
    ShareRevokeReply { state: state as u64, done: 1 }
}

fn info(state: ShareState) -> ShareInfoReply {
    ShareInfoReply { state: state as u64, terms: 3, pages: 2 }
}

fn error(code: Code) -> Error {
    Error::of(code, 1, Reason::None, 0)
}

fn port(index: u16) -> PortHandle {
    PortHandle(Handle::new(index, 1))
}

fn made(recorder: &Recorder) -> Vec<Call> {
    recorder.calls().iter().map(|(id, _)| Call::from_function_id(*id).unwrap()).collect()
}

#[test]
fn shared_memory_stays_mapped_and_a_drop_takes_it_from_the_peer_before_it_is_freed() {
    let recorder = Recorder::new().answer(MemAllocReply { mem: MEM.0, done: 2 });
    let recorder = recorder.answer(AsMapReply { level: 3, done: 2 }).answer(ShareOfferReply { share: SHARE, key: 9 });
    let recorder = recorder.answer(revoked(ShareState::Revoking)).answer(revoked(ShareState::Revoked));
    let recorder = recorder.answer(CoreHandleDropReply {}).answer(AsUnmapReply { reserved: 0, done: 2 });
    let recorder = recorder.answer(MemFreeReply { left: 0, done: 2 });
    let shared = Owned::new_on(&recorder, 2).unwrap().map(AT, RW).unwrap().share(PEER, RW, 5).unwrap();
    assert_eq!((shared.key(), shared.handle(), shared.memory().window().unwrap().bytes()), (9, SHARE, 8192));
    drop(shared);
    let calls = made(&recorder);
    let ends = [Call::ShareRevoke, Call::ShareRevoke, Call::CoreHandleDrop, Call::AsUnmap, Call::MemFree];
    assert_eq!(calls[3..], ends);
    let offer = recorder.calls()[2].1;
    assert_eq!(offer[..6], [PEER.0.bits().into(), MEM.0.bits().into(), 0, 2, RW.bits(), 5]);
}

#[test]
fn memory_that_the_peer_gave_back_returns_to_its_owner() {
    let recorder = offered().refuse(error(Code::State), 0).answer(CoreHandleDropReply {});
    let lent = Owned::new_on(&recorder, 2).unwrap().lend(PEER, RW, 0).unwrap();
    let object = lent.end().unwrap();
    assert_eq!((object.handle(), object.pages()), (MEM, 2));
    drop(object);
    let calls = [Call::MemAlloc, Call::ShareOffer, Call::ShareRevoke, Call::CoreHandleDrop, Call::MemFree];
    assert_eq!(made(&recorder), calls);
    assert_eq!(recorder.calls()[1].1[4], RW.bits() | 1 << 4, "the terms say lend");
}

#[test]
fn a_refused_offer_or_end_returns_what_it_was_given() {
    let recorder = Recorder::new().answer(MemAllocReply { mem: MEM.0, done: 2 }).refuse(error(Code::PeerGone), 0);
    let (object, refusal) = Owned::new_on(&recorder, 2).unwrap().share(PEER, RW, 0).unwrap_err();
    assert_eq!((object.handle(), refusal.code()), (MEM, Code::PeerGone));
    let recorder = offered().refuse(error(Code::Quota), 0).refuse(error(Code::Quota), 0);
    let shared = Owned::new_on(&recorder, 2).unwrap().share(PEER, RW, 0).unwrap();
    let (shared, refusal) = shared.end().unwrap_err();
    assert_eq!((shared.handle(), refusal.code()), (SHARE, Code::Quota));
    drop(shared);
    assert_eq!(made(&recorder)[3..], [Call::ShareRevoke, Call::MemFree], "the share is not over: its handle stays");
}

#[test]
fn a_wait_binds_its_port_before_it_looks_and_looks_again_after_each_event() {
    let recorder = offered().answer(EvtBindObjectReply {}).answer(info(ShareState::Offered));
    let recorder = recorder.answer(info(ShareState::Accepted)).answer(EvtBindObjectReply {});
    let recorder = recorder.answer(info(ShareState::Relinquished));
    let lent = Owned::new_on(&recorder, 2).unwrap().lend(PEER, RW, 0).unwrap();
    EventCells::of_this_vcpu().raise(50);
    lent.wait_accepted(port(50)).unwrap();
    lent.wait_returned(port(50)).unwrap();
    let first = [Call::EvtBindObject, Call::ShareInfo, Call::ShareInfo, Call::EvtBindObject, Call::ShareInfo];
    assert_eq!(made(&recorder)[2..], first);
    assert_eq!(recorder.calls()[2].1[..3], [SHARE.0.bits().into(), port(50).0.bits().into(), 6]);
}

#[test]
fn a_donation_is_withdrawn_or_gone_and_what_is_gone_is_not_freed() {
    for (end, object) in [(ShareState::Revoked, Some(MEM)), (ShareState::Donated, None)] {
        let recorder = offered();
        let recorder =
            if object.is_some() { recorder.answer(revoked(end)) } else { recorder.refuse(error(Code::State), 0) };
        let recorder = recorder.answer(info(end)).answer(CoreHandleDropReply {});
        let donation = Owned::new_on(&recorder, 2).unwrap().donate(PEER, 0).unwrap();
        let back = donation.withdraw().unwrap();
        assert_eq!(back.as_ref().map(Owned::handle), object);
        drop(back);
        assert_eq!(made(&recorder).contains(&Call::MemFree), object.is_some());
    }
}

#[test]
fn borrowed_memory_is_given_back_by_a_drop_to_the_end_and_unmapped_by_that() {
    let recorder = accepted().answer(AsMapReply { level: 3, done: 2 });
    let recorder = recorder.answer(ShareRelinquishReply { left: 1, done: 1 });
    let recorder = recorder.answer(ShareRelinquishReply { left: 0, done: 1 });
    let borrowed = Borrowed::accept_on(&recorder, PEER, 9).unwrap();
    assert_eq!((borrowed.handle(), borrowed.pages(), borrowed.tag()), (MEM, 2, 77));
    drop(borrowed.map(AT, RW).unwrap());
    assert_eq!(made(&recorder)[1..], [Call::AsMap, Call::ShareRelinquish, Call::ShareRelinquish]);
}

#[test]
fn borrowed_memory_can_be_unmapped_and_mapped_again_and_a_refusal_returns_it() {
    let recorder = accepted().answer(AsMapReply { level: 3, done: 2 }).answer(AsUnmapReply { reserved: 0, done: 2 });
    let recorder = recorder.refuse(error(Code::Revoked), 0).refuse(error(Code::Quota), 0);
    let recorder = recorder.answer(ShareRelinquishReply { left: 0, done: 0 });
    let borrowed = Borrowed::accept_on(&recorder, PEER, 9).unwrap().map(AT, RW).unwrap().unmap().unwrap();
    let (borrowed, refusal) = borrowed.map(AT, RW).unwrap_err();
    assert_eq!(refusal.code(), Code::Revoked);
    let (borrowed, refusal) = borrowed.relinquish().unwrap_err();
    assert_eq!(refusal.code(), Code::Quota);
    borrowed.relinquish().unwrap();
    assert_eq!(made(&recorder).len(), 6);
}

#[test]
fn an_offer_is_waited_for_and_accepted_once_it_is_there() {
    let recorder = Recorder::new().answer(EvtBindObjectReply {}).refuse(error(Code::Empty), 0);
    let recorder = recorder.answer(VcpuWaitReply { selector: 1, now: 0 }).refuse(error(Code::Denied), 0);
    let refusal = Borrowed::wait_on(&recorder, PEER, port(51)).unwrap_err();
    assert_eq!((refusal.call, refusal.code()), (Call::VcpuWait, Code::Denied), "no event, and waiting is forbidden");
    let recorder = Recorder::new().answer(EvtBindObjectReply {}).refuse(error(Code::Empty), 0);
    let recorder = recorder.answer(ShareAcceptReply { mem: MEM, pages: 2, tag: 77 });
    EventCells::of_this_vcpu().raise(51);
    assert_eq!(Borrowed::wait_on(&recorder, PEER, port(51)).unwrap().tag(), 77);
    assert_eq!(made(&recorder)[..3], [Call::EvtBindObject, Call::ShareAccept, Call::ShareAccept]);
}

#[test]
fn what_is_donated_to_one_who_borrows_goes_to_the_pool() {
    let recorder = accepted().refuse(error(Code::Denied), 0).answer(MemFreeReply { left: 0, done: 2 });
    drop(Borrowed::accept_on(&recorder, PEER, 0).unwrap());
    assert_eq!(made(&recorder)[1..], [Call::ShareRelinquish, Call::MemFree]);
}

#[test]
fn a_donation_is_accepted_as_owned_and_a_loan_is_given_back_instead() {
    let owned = |state| accepted().answer(MemInfoReply { pages: 2, state, mapped: 0 });
    let recorder = owned(1).answer(MemFreeReply { left: 0, done: 2 });
    let object = Owned::accept_on(&recorder, PEER, 0).unwrap();
    assert_eq!((object.handle(), object.pages()), (MEM, 2));
    drop(object);
    assert_eq!(made(&recorder)[2..], [Call::MemFree]);
    let recorder = owned(0).answer(ShareRelinquishReply { left: 0, done: 0 });
    assert_eq!(Owned::accept_on(&recorder, PEER, 0).unwrap_err().code(), Code::Denied);
    assert_eq!(made(&recorder)[2..], [Call::ShareRelinquish]);
}
