//! SHARE: memory that one VM offers to another, and how it comes back. Checks what is asked, under the locks of both VMs.

use strato_abi::address_space::Attributes;
use strato_abi::call::{
    ShareAccept, ShareAcceptReply, ShareInfo, ShareInfoReply, ShareOffer, ShareOfferReply, ShareRelinquish,
    ShareRelinquishReply, ShareRevoke, ShareRevokeReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::{Handle as AbiHandle, MemHandle, PeerHandle, Rights, ShareHandle};
use strato_abi::share::{ShareState, Steps, Verb};

use super::event::peer_of;
use super::{CallError, Handle, Outcome};
use crate::allocator::{AllocError, Allocator};
use crate::arch;
use crate::lock::lock_pair;
use crate::machine::{Cx, Pool, Wakes};
use crate::memory::sharing::is_out;
use crate::vm::Vm;
use crate::vm::handles::{Far, Flags, HandleTable, MemRef, ShareRef};
use crate::vm::sharing::{self, ShareError, Side};

/// Returns what the ABI says of a refusal; the share, or the memory, is argument `argument`.
fn refusal(error: ShareError, argument: u8) -> CallError {
    match error {
        ShareError::State(state) => CallError::of(Code::State, argument, Reason::None, state as u64),
        ShareError::Full(limit) => CallError::Handle(0, super::HandleError::Full(limit)),
        ShareError::Memory(AllocError::Quota) => CallError::bare(Code::Quota),
        ShareError::Memory(AllocError::Busy) => CallError::of(Code::Busy, argument, Reason::None, 0),
        ShareError::Memory(_) | ShareError::Space(_) | ShareError::Broken => CallError::bare(Code::Internal),
    }
}

const PEER_GONE: CallError = CallError::of(Code::PeerGone, 1, Reason::None, 0);

/// Returns the VM at the other end of what `look` finds in the caller's table. It is locked afterwards, together with the
/// caller's, and what was found is looked at again then.
fn other_end<'s>(
    cx: &mut Cx<'s>,
    look: impl FnOnce(&HandleTable) -> Result<Option<Far>, CallError>,
) -> Result<Option<&'s Vm>, CallError> {
    let far = {
        let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        look(&inner.handles)?
    };
    Ok(far.and_then(|far| peer_of(cx, far.place, far.incarnation)))
}

/// Returns the VM that `peer`, argument 1, names, if it is not ending.
fn living_peer<'s>(cx: &mut Cx<'s>, PeerHandle(peer): PeerHandle) -> Result<&'s Vm, CallError> {
    let far = |handles: &HandleTable| {
        handles.peer(peer).map_err(|error| CallError::Handle(1, error))?;
        Ok(handles.far(peer.index()))
    };
    other_end(cx, far)?.ok_or(PEER_GONE)
}

impl Handle for ShareOffer {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareOfferReply>, CallError> {
        let peer = living_peer(cx, self.peer)?;
        let near = (cx.me.vm(), &cx.vm.inner);
        let (mut inner, theirs, mut held) =
            lock_pair(near, (peer.place, &peer.inner), &mut cx.locks).ok_or(PEER_GONE)?;
        if peer.is_ending() {
            return Err(PEER_GONE);
        }
        let (mut theirs, (mut pool, _held)) = (theirs, cx.machine.memory.lock(&mut held));
        let mut owner = Side { vm: cx.vm, inner: &mut inner };
        owner.inner.sync(&mut pool.allocator);
        let share = self.checked(&owner.inner.handles, &pool.allocator, peer)?;
        let handle = sharing::offer(&mut owner, share, &mut pool.allocator).map_err(|error| refusal(error, 2))?;
        let told = Side { vm: peer, inner: &mut theirs }.raise_peer(cx.vm, Steps::OFFERED);
        cx.wakes = Wakes { place: peer.place, vcpus: told };
        Ok(Outcome::Reply(ShareOfferReply { share: ShareHandle(handle), key: u64::from(handle.bits()) }))
    }
}

/// An offer's arguments, checked.
trait Checked {
    fn checked(&self, handles: &HandleTable, allocator: &Allocator, peer: &Vm) -> Result<ShareRef, CallError>;
}

impl Checked for ShareOffer {
    fn checked(&self, handles: &HandleTable, allocator: &Allocator, peer: &Vm) -> Result<ShareRef, CallError> {
        let (MemHandle(handle), terms) = (self.mem, self.terms);
        let mem = handles.mem(handle).map_err(|error| CallError::Handle(2, error))?;
        if !mem.rights.contains(Rights::OWNER) || mem.flags.contains(Flags::BORROWED) {
            return Err(CallError::of(Code::Denied, 2, Reason::NotOwner, 0));
        }
        if !self.offset.is_multiple_of(4096) {
            return Err(CallError::of(Code::Misaligned, 3, Reason::Misaligned, 4096));
        }
        if self.pages == 0 {
            return Err(CallError::of(Code::Invalid, 4, Reason::TooSmall, 1));
        }
        if (self.offset >> 12).checked_add(self.pages).is_none_or(|end| end > mem.pages) {
            return Err(CallError::of(Code::Overflow, 3, Reason::PastEnd, mem.pages));
        }
        if !terms.rights.contains(Attributes::READ) {
            return Err(CallError::of(Code::Invalid, 5, Reason::TooSmall, Attributes::READ.bits()));
        }
        super::decode::within_rights(terms.rights, mem.rights, 5)?;
        if mem.flags.intersects(Flags::LENT | Flags::FREEING) {
            return Err(CallError::of(Code::State, 2, Reason::None, 0));
        }
        let info = allocator.mem_info(mem.id).ok_or(CallError::bare(Code::Internal))?;
        if terms.verb != Verb::Share {
            if self.pages != mem.pages {
                return Err(CallError::of(Code::Invalid, 4, Reason::TooSmall, mem.pages));
            }
            if info.mapped != 0 || info.references != 1 {
                return Err(CallError::of(Code::Busy, 2, Reason::None, 0));
            }
        }
        let base = mem.base.checked_add(self.offset).ok_or(CallError::bare(Code::Internal))?;
        let far = Far { place: peer.place, incarnation: peer.incarnation, index: 0 };
        let (pages, tag, state) = (self.pages, self.tag, ShareState::Offered);
        Ok(ShareRef { id: mem.id, base, pages, far, tag, terms, mem: handle, state, cursor: (0, 0) })
    }
}

/// Returns the open offer to `me` that `key` names: the first one when it is 0.
fn find_offer(handles: &HandleTable, key: u64, me: &Vm) -> Result<(u16, ShareRef), CallError> {
    let is_open = |share: &ShareRef| {
        let is_mine = share.far.place == me.place && share.far.incarnation == me.incarnation;
        is_mine && share.state == ShareState::Offered
    };
    if key == 0 {
        let open = |index| handles.share_at(index).filter(|(_, share)| is_open(share)).map(|(_, share)| (index, share));
        return handles.shares().find_map(open).ok_or(CallError::of(Code::Empty, 2, Reason::None, 0));
    }
    let handle = u32::try_from(key).ok().map(AbiHandle::from_bits);
    let found = handle.and_then(|handle| Some((handle.index(), handles.share(handle).ok().filter(is_open)?)));
    found.ok_or(CallError::of(Code::Invalid, 2, Reason::UnknownValue, 0))
}

impl Handle for ShareAccept {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareAcceptReply>, CallError> {
        let peer = living_peer(cx, self.peer)?;
        let near = (cx.me.vm(), &cx.vm.inner);
        let (mut inner, mut theirs, mut held) =
            lock_pair(near, (peer.place, &peer.inner), &mut cx.locks).ok_or(PEER_GONE)?;
        // One that ends withdraws its offers afterwards, under its lock.
        if peer.is_ending() {
            return Err(PEER_GONE);
        }
        let (index, share) = find_offer(&theirs.handles, self.key, cx.vm)?;
        let offered = share.terms.rights;
        let missing = self.rights.difference(offered);
        if !missing.is_empty() {
            return Err(CallError::of(Code::Denied, 3, Reason::NoRight, missing.bits()));
        }
        let wanted = if self.rights.is_empty() { offered } else { self.rights };
        let rights = Rights::from_bits_truncate(u16::try_from(wanted.bits()).unwrap_or(0));
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let (mut owner, mut borrower) = (Side { vm: peer, inner: &mut theirs }, Side { vm: cx.vm, inner: &mut inner });
        let (handle, told) = sharing::accept(&mut owner, &mut borrower, index, rights, &mut pool.allocator)
            .map_err(|error| refusal(error, 2))?;
        cx.wakes = Wakes { place: peer.place, vcpus: told };
        Ok(Outcome::Reply(ShareAcceptReply { mem: MemHandle(handle), pages: share.pages, tag: share.tag }))
    }
}

/// Returns the memory that `handle`, argument 1, names, if it is borrowed.
fn borrowed(handles: &HandleTable, handle: AbiHandle) -> Result<MemRef, CallError> {
    let mem = handles.mem(handle).map_err(|error| CallError::Handle(1, error))?;
    let is_borrowed = mem.flags.contains(Flags::BORROWED);
    if is_borrowed { Ok(mem) } else { Err(CallError::of(Code::Denied, 1, Reason::NotAllowed, 0)) }
}

/// Returns the share that `mem` still belongs to.
fn share_of(handles: &HandleTable, handle: AbiHandle, mem: &MemRef) -> Option<Far> {
    let is_held = !mem.flags.intersects(Flags::OVER | Flags::ORPHANED);
    handles.far(handle.index()).filter(|_| is_held)
}

impl Handle for ShareRelinquish {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareRelinquishReply>, CallError> {
        let MemHandle(handle) = self.mem;
        let look = |handles: &HandleTable| Ok(share_of(handles, handle, &borrowed(handles, handle)?));
        let Some(owner) = other_end(cx, look)? else { return relinquish_alone(cx, handle) };
        let near = (cx.me.vm(), &cx.vm.inner);
        let (mut inner, mut theirs, mut held) =
            lock_pair(near, (owner.place, &owner.inner), &mut cx.locks).ok_or(CallError::bare(Code::Internal))?;
        let mem = borrowed(&inner.handles, handle)?;
        // The share may have ended between the two looks: then nothing but the handle is left, or an orphan.
        let Some(far) = share_of(&inner.handles, handle, &mem) else {
            drop((inner, theirs, held));
            return relinquish_alone(cx, handle);
        };
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let allocator = &mut pool.allocator;
        let done = sharing::take_part(&mut inner, handle.index(), &mem, allocator, arch::interrupt_pending)
            .map_err(|error| refusal(error, 1))?;
        inner.handles.flag(handle.index(), Flags::FREEING, Flags::empty());
        if !inner.handles.ranges(handle.index()).is_empty() {
            return Ok(Outcome::Reply(ShareRelinquishReply { left: 1, done }));
        }
        let mut side = Side { vm: owner, inner: &mut theirs };
        let told = sharing::give_back(&mut side, far.index, allocator).map_err(|error| refusal(error, 1))?;
        inner.handles.remove(handle);
        cx.wakes = Wakes { place: owner.place, vcpus: told };
        Ok(Outcome::Reply(ShareRelinquishReply { left: 0, done }))
    }
}

/// Gives back what belongs to no share any more: it was revoked, or its owner has ended.
#[cold]
fn relinquish_alone(cx: &mut Cx<'_>, handle: AbiHandle) -> Result<Outcome<ShareRelinquishReply>, CallError> {
    let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
    let mem = borrowed(&inner.handles, handle)?;
    if mem.flags.contains(Flags::OVER) {
        inner.handles.remove(handle);
        return Ok(Outcome::Reply(ShareRelinquishReply { left: 0, done: 0 }));
    }
    let (mut pool, _held) = cx.machine.memory.lock(&mut held);
    inner.check_let_go(handle, mem.id, &pool.allocator).map_err(|error| refusal(ShareError::Memory(error), 1))?;
    let done = sharing::take_part(&mut inner, handle.index(), &mem, &mut pool.allocator, arch::interrupt_pending)
        .map_err(|error| refusal(error, 1))?;
    inner.handles.flag(handle.index(), Flags::FREEING, Flags::empty());
    if !inner.handles.ranges(handle.index()).is_empty() {
        return Ok(Outcome::Reply(ShareRelinquishReply { left: 1, done }));
    }
    let Pool { allocator, own, .. } = &mut *pool;
    let is_done =
        inner.let_go(handle, mem.id, allocator, own).map_err(|error| refusal(ShareError::Memory(error), 1))?;
    if is_done {
        inner.handles.remove(handle);
    }
    Ok(Outcome::Reply(ShareRelinquishReply { left: u64::from(!is_done), done }))
}

impl Handle for ShareRevoke {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareRevokeReply>, CallError> {
        let ShareHandle(handle) = self.share;
        // An offer may be accepted between the first look and the locks, once: what is out does not become an offer again.
        if let Some(revoked) = withdraw(cx, handle)? {
            return Ok(revoked);
        }
        let look = |handles: &HandleTable| {
            let share = handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
            Ok(Some(share.far))
        };
        let Some(peer) = other_end(cx, look)? else { return over(cx, handle) };
        let near = (cx.me.vm(), &cx.vm.inner);
        let (mut inner, mut theirs, mut held) =
            lock_pair(near, (peer.place, &peer.inner), &mut cx.locks).ok_or(CallError::bare(Code::Internal))?;
        inner.handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let (mut owner, mut borrower) = (Side { vm: cx.vm, inner: &mut inner }, Side { vm: peer, inner: &mut theirs });
        let allocator = &mut pool.allocator;
        let pending = arch::interrupt_pending;
        let revoked = sharing::revoke(&mut owner, &mut borrower, handle.index(), self.policy, allocator, pending)
            .map_err(|error| refusal(error, 1))?;
        cx.wakes = Wakes { place: peer.place, vcpus: revoked.told };
        Ok(Outcome::Reply(ShareRevokeReply { state: revoked.state as u64, done: revoked.pages }))
    }
}

/// Takes back an offer that nobody holds, or refuses a share that is over; `None` when the peer holds it.
fn withdraw(cx: &mut Cx<'_>, handle: AbiHandle) -> Result<Option<Outcome<ShareRevokeReply>>, CallError> {
    let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
    let share = inner.handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
    if is_out(share.state) {
        return Ok(None);
    }
    let (mut pool, _held) = cx.machine.memory.lock(&mut held);
    let mut owner = Side { vm: cx.vm, inner: &mut inner };
    let revoked =
        sharing::withdraw(&mut owner, handle.index(), &mut pool.allocator).map_err(|error| refusal(error, 1))?;
    Ok(Some(Outcome::Reply(ShareRevokeReply { state: revoked.state as u64, done: 0 })))
}

/// Refuses a share whose borrower has gone since the first look: it has given everything back before.
#[cold]
fn over(cx: &mut Cx<'_>, handle: AbiHandle) -> Result<Outcome<ShareRevokeReply>, CallError> {
    withdraw(cx, handle)?.ok_or(CallError::bare(Code::Internal))
}

impl Handle for ShareInfo {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareInfoReply>, CallError> {
        let ShareHandle(handle) = self.share;
        let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let share = inner.handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
        Ok(Outcome::Reply(ShareInfoReply { state: share.state as u64, terms: share.terms.bits(), pages: share.pages }))
    }
}
