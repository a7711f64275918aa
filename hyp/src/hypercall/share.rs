//! SHARE: memory that one VM offers to another, and how it comes back. Checks what is asked, under the locks of both VMs.

use strato_abi::address_space::Attributes;
use strato_abi::call::{
    ShareAccept, ShareAcceptReply, ShareInfo, ShareInfoReply, ShareOffer, ShareOfferReply, ShareRelinquish,
    ShareRelinquishReply, ShareRevoke, ShareRevokeReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::{Handle as AbiHandle, MemHandle, PeerHandle, Rights, ShareHandle};
use strato_abi::share::{ShareState, Steps, Verb};

use super::withdraw::{over, withdraw};
use super::{CallError, Handle, Outcome};
use crate::allocator::{AllocError, Allocator};
use crate::arch;
use crate::arch::epoch::Stay;
use crate::lock::{Guard, Held, VM, lock_found};
use crate::machine::{Cx, Machine, Pool};
use crate::vm::handles::{Far, Flags, HandleTable, MemRef, Share, ShareRef};
use crate::vm::sharing::{self, ShareError, Side};
use crate::vm::{Inner, Vm};

/// Returns what the ABI says of a refusal; the share, or the memory, is argument `argument`.
pub(super) fn refusal(error: ShareError, argument: u8) -> CallError {
    match error {
        ShareError::State(state) => CallError::of(Code::State, argument, Reason::None, state as u64),
        ShareError::Full(limit) => CallError::Handle(0, super::HandleError::Full(limit)),
        ShareError::Memory(AllocError::Quota) => CallError::bare(Code::Quota),
        ShareError::Memory(AllocError::Busy) => CallError::of(Code::Busy, argument, Reason::None, 0),
        ShareError::Memory(_) | ShareError::Space(_) | ShareError::Broken => CallError::bare(Code::Internal),
    }
}

const PEER_GONE: CallError = CallError::of(Code::PeerGone, 1, Reason::None, 0);

/// The caller's VM and another, both locked.
struct Both<'a> {
    inner: Guard<'a, Inner>,
    /// What of the other VM was found; it holds as long as both are locked.
    far: Far,
    vm: &'a Vm,
    theirs: Guard<'a, Inner>,
    held: Held<'a, VM>,
}

/// Locks the caller's VM and the one at the other end of what `look` finds in the caller's table. `None` when that is nothing,
/// or the VM is gone.
#[inline(always)]
fn lock_both<'a>(
    (near, machine, stay): (&'a Vm, &'a Machine, &'a Stay<'a>),
    locks: &'a mut Held<'_, 0>,
    look: impl Fn(&HandleTable) -> Result<Option<Far>, CallError>,
) -> Result<Option<Both<'a>>, CallError> {
    let find = |inner: &Inner| {
        let far = look(&inner.handles).map_err(Some)?.ok_or(None)?;
        let vm = machine.vm_of(stay, far.place, far.incarnation).ok_or(None)?;
        Ok(((far, vm), (vm.place, &vm.inner)))
    };
    match lock_found((near.place, &near.inner), find, locks) {
        Ok(((far, vm), inner, theirs, held)) => Ok(Some(Both { inner, far, vm, theirs, held })),
        Err(Some(Some(error))) => Err(error),
        Err(Some(None) | None) => Ok(None),
    }
}

/// Locks the caller's VM and the one that `peer`, argument 1, names, if that is not ending.
#[inline(always)]
fn lock_peer<'a>(
    near: (&'a Vm, &'a Machine, &'a Stay<'a>),
    locks: &'a mut Held<'_, 0>,
    PeerHandle(peer): PeerHandle,
) -> Result<Both<'a>, CallError> {
    let look = |handles: &HandleTable| handles.peer(peer).map(Some).map_err(|error| CallError::Handle(1, error));
    // One that ends withdraws its offers afterwards, under its lock.
    lock_both(near, locks, look)?.filter(|both| !both.vm.is_ending()).ok_or(PEER_GONE)
}

impl Handle for ShareOffer {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareOfferReply>, CallError> {
        let Both { mut inner, vm: peer, mut theirs, mut held, .. } =
            lock_peer((cx.vm, cx.machine, cx.stay), &mut cx.locks, self.peer)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut owner = Side { vm: cx.vm, inner: &mut inner };
        owner.inner.sync(&mut pool.allocator);
        let share = self.checked(&owner.inner.handles, &pool.allocator, peer)?;
        let handle = sharing::offer(&mut owner, share, &mut pool.allocator).map_err(|error| refusal(error, 2))?;
        let told = Side { vm: peer, inner: &mut theirs }.raise_peer(cx.vm, Steps::OFFERED);
        cx.wakes.set(peer.place, told);
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
        let (pages, tag, state) = (self.pages, self.tag, ShareState::Offered);
        Ok(ShareRef { id: mem.id, base, pages, far: peer.far(0), tag, terms, mem: handle, state, cursor: (0, 0) })
    }
}

/// Returns the open offer to the VM `me` that `key` names: the first one when it is 0.
#[inline(always)]
fn find_offer(handles: &mut HandleTable, key: u64, me: Far) -> Result<Share<'_>, CallError> {
    let unknown = CallError::of(Code::Invalid, 2, Reason::UnknownValue, 0);
    let handle = if key == 0 {
        handles.first_offer(me).ok_or(CallError::of(Code::Empty, 2, Reason::None, 0))?
    } else {
        AbiHandle::from_bits(u32::try_from(key).map_err(|_| unknown)?)
    };
    handles.offer(handle, me).ok_or(unknown)
}

impl Handle for ShareAccept {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareAcceptReply>, CallError> {
        let Both { mut inner, far, vm: peer, mut theirs, mut held } =
            lock_peer((cx.vm, cx.machine, cx.stay), &mut cx.locks, self.peer)?;
        let share = find_offer(&mut theirs.handles, self.key, cx.vm.far(0))?;
        let missing = self.rights.difference(share.rights());
        if !missing.is_empty() {
            return Err(CallError::of(Code::Denied, 3, Reason::NoRight, missing.bits()));
        }
        let wanted = if self.rights.is_empty() { share.rights() } else { self.rights };
        let rights = Rights::from_bits_truncate(u16::try_from(wanted.bits()).unwrap_or(0));
        let (pages, tag, verb) = (share.pages(), share.tag(), share.verb());
        let (index, port) = (share.index(), share.bound(Steps::ACCEPTED));
        let mut borrower = Side { vm: cx.vm, inner: &mut inner };
        let accepted = if verb == Verb::Donate {
            let (mut pool, _held) = cx.machine.memory.lock(&mut held);
            let mut owner = Side { vm: peer, inner: &mut theirs };
            sharing::take_over(&mut owner, &mut borrower, index, &mut pool.allocator)
        } else {
            sharing::accept(share, Far { index, ..far }, &mut borrower, rights)
        };
        let handle = accepted.map_err(|error| refusal(error, 2))?;
        cx.wakes.set(peer.place, port.map_or(0, |port| peer.raise_bound(port)));
        Ok(Outcome::Reply(ShareAcceptReply { mem: MemHandle(handle), pages, tag }))
    }
}

/// Returns the memory that `handle`, argument 1, names, if it is borrowed.
fn borrowed(handles: &HandleTable, handle: AbiHandle) -> Result<MemRef, CallError> {
    let mem = handles.mem(handle).map_err(|error| CallError::Handle(1, error))?;
    let is_borrowed = mem.flags.contains(Flags::BORROWED);
    if is_borrowed { Ok(mem) } else { Err(CallError::of(Code::Denied, 1, Reason::NotAllowed, 0)) }
}

/// Returns the share that the memory of `handle` still belongs to.
fn share_of(handles: &HandleTable, handle: AbiHandle) -> Result<Option<Far>, CallError> {
    let is_held = !borrowed(handles, handle)?.flags.intersects(Flags::OVER | Flags::ORPHANED);
    Ok(handles.far(handle.index()).filter(|_| is_held))
}

impl Handle for ShareRelinquish {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareRelinquishReply>, CallError> {
        let MemHandle(handle) = self.mem;
        let look = |handles: &HandleTable| share_of(handles, handle);
        let Some(Both { mut inner, far, vm: owner, mut theirs, mut held }) =
            lock_both((cx.vm, cx.machine, cx.stay), &mut cx.locks, look)?
        else {
            return relinquish_alone(cx, handle);
        };
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let allocator = &mut pool.allocator;
        let done = sharing::take_part(&mut inner, handle.index(), allocator, arch::interrupt_pending)
            .map_err(|error| refusal(error, 1))?;
        if !inner.handles.ranges(handle.index()).is_empty() {
            inner.handles.flag(handle.index(), Flags::FREEING, Flags::empty());
            return Ok(Outcome::Reply(ShareRelinquishReply { left: 1, done }));
        }
        let mut side = Side { vm: owner, inner: &mut theirs };
        let told = sharing::give_back(&mut side, far.index, allocator).map_err(|error| refusal(error, 1))?;
        inner.handles.remove(handle);
        cx.wakes.set(owner.place, told);
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
    let done = sharing::take_part(&mut inner, handle.index(), &mut pool.allocator, arch::interrupt_pending)
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
        let Some(Both { mut inner, vm: peer, mut theirs, mut held, .. }) =
            lock_both((cx.vm, cx.machine, cx.stay), &mut cx.locks, look)?
        else {
            return over(cx, handle);
        };
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let (mut owner, mut borrower) = (Side { vm: cx.vm, inner: &mut inner }, Side { vm: peer, inner: &mut theirs });
        let allocator = &mut pool.allocator;
        let pending = arch::interrupt_pending;
        let revoked = sharing::revoke(&mut owner, &mut borrower, handle.index(), self.policy, allocator, pending)
            .map_err(|error| refusal(error, 1))?;
        cx.wakes.set(peer.place, revoked.told);
        Ok(Outcome::Reply(ShareRevokeReply { state: revoked.state as u64, done: revoked.pages }))
    }
}

impl Handle for ShareInfo {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ShareInfoReply>, CallError> {
        let ShareHandle(handle) = self.share;
        let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let share = inner.handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
        Ok(Outcome::Reply(ShareInfoReply { state: share.state as u64, terms: share.terms.bits(), pages: share.pages }))
    }
}
