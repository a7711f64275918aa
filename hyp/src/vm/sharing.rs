//! Sharing: what a share's moves do to the handles, the ledger and the mappings of its two VMs.
//!
//! Called by the calls of group SHARE and by `stop`, with both VMs locked (see `lock::lock_pair`) where both change. Which
//! moves are legal is `memory::sharing`'s. Returns whom to tell, and tells nobody.

mod part;

pub use part::take_part;

use strato_abi::handle::{Handle, Rights};
use strato_abi::share::{OPEN_OFFERS, RevokePolicy, ShareState, Steps, Verb};

use super::handles::{Far, Flags, HandleError, MemRef, Object, Share, ShareRef};
use super::{Inner, Vm};
use crate::allocator::{AllocError, Allocator};
use crate::memory::sharing::{Move, after};
use crate::memory::stage2::SpaceError;

/// Offers that one step ends.
const OFFERS_PER_STEP: usize = 16;

/// Why a move is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareError {
    /// The share's state does not allow it.
    State(ShareState),
    /// No entry is free; how many there are.
    Full(u64),
    /// The ledger refuses: a quota, or a contradiction.
    Memory(AllocError),
    /// An address space contradicts what is known of it.
    Space(SpaceError),
    /// The two ends contradict each other: a bug of the hypervisor.
    Broken,
}

impl From<AllocError> for ShareError {
    fn from(error: AllocError) -> Self {
        Self::Memory(error)
    }
}

impl From<HandleError> for ShareError {
    fn from(error: HandleError) -> Self {
        if let HandleError::Full(limit) = error { Self::Full(limit) } else { Self::Broken }
    }
}

/// A VM with its lock held.
pub struct Side<'a> {
    /// The VM.
    pub vm: &'a Vm,
    /// What its lock covers.
    pub inner: &'a mut Inner,
}

impl Side<'_> {
    /// Raises the port that is bound to `step` of the object of entry `index`; returns whom to tell, one bit per vCPU.
    #[inline(always)]
    #[must_use]
    pub fn raise(&self, index: u16, step: Steps) -> u8 {
        self.inner.handles.bound(index, step).map_or(0, |port| self.vm.raise_bound(port))
    }

    /// Raises the ports that are bound to `step` of the peer `peer`.
    #[must_use]
    pub fn raise_peer(&self, peer: &Vm, step: Steps) -> u8 {
        let is_peer = |far: Far| far.place == peer.place && far.incarnation == peer.incarnation;
        let peers = self.inner.handles.peers().filter(|&index| self.inner.handles.far(index).is_some_and(is_peer));
        peers.fold(0, |told, index| told | self.raise(index, step))
    }

    /// Returns entry `index` of the VM's table, as others name it.
    #[inline(always)]
    fn far(&self, index: u16) -> Far {
        self.vm.far(index)
    }
}

impl Vm {
    /// Raises `port`, which was bound to a step of an object; returns whom to tell, one bit per vCPU.
    #[inline(never)]
    #[must_use]
    pub fn raise_bound(&self, port: Handle) -> u8 {
        let word = self.ports.get(usize::from(port.index())).map(super::Port::read);
        // One that was closed since, or is another port by now, is nobody's business.
        let is_same = word.is_some_and(|word| word.is_of(port));
        if is_same { self.raise(port.index()).map_or(0, |vcpu| 1 << (vcpu & 7)) } else { 0 }
    }

    /// Returns entry `index` of the VM's table, as others name it.
    #[inline(always)]
    #[must_use]
    pub const fn far(&self, index: u16) -> Far {
        Far { place: self.place, incarnation: self.incarnation, index }
    }
}

/// Returns the state of a share after `step`.
#[inline(always)]
fn state_after(share: &Share<'_>, step: Move) -> Result<ShareState, ShareError> {
    let state = share.state().ok_or(ShareError::Broken)?;
    after(state, step).ok_or(ShareError::State(state))
}

/// Makes the offer `share` of memory that the caller may offer.
///
/// # Errors
/// [`ShareError::Full`]; [`ShareError::Memory`] when the object has as many holders as can be counted.
pub fn offer(owner: &mut Side<'_>, share: ShareRef, allocator: &mut Allocator) -> Result<Handle, ShareError> {
    if !owner.inner.handles.has_room_to_offer() {
        return Err(ShareError::Full(OPEN_OFFERS));
    }
    let handle = owner.inner.handles.insert(Object::Share(share), owner.vm.handle_limit)?;
    if let Err(error) = allocator.mem_add_reference(share.id) {
        owner.inner.handles.remove(handle);
        return Err(error.into());
    }
    if share.terms.verb != Verb::Share {
        owner.inner.handles.flag(share.mem.index(), Flags::LENT, Flags::empty());
    }
    Ok(handle)
}

/// Lets the borrower have what `share`, whose owner calls it `far`, shares or lends. Returns its handle.
///
/// # Errors
/// [`ShareError`]; nothing changed then.
#[inline(always)]
pub fn accept(mut share: Share<'_>, far: Far, borrower: &mut Side<'_>, rights: Rights) -> Result<Handle, ShareError> {
    let (state, own) = (state_after(&share, Move::Accept(Verb::Share))?, borrower.vm.far(0));
    let object = Object::Borrowed(share.mem(rights, Flags::BORROWED), far);
    let handle = borrower.inner.handles.insert(object, borrower.vm.handle_limit)?;
    share.set_state(state);
    share.set_far(Far { index: handle.index(), ..own });
    Ok(handle)
}

/// Gives the taker what the share of entry `index` donates. Returns its handle.
///
/// # Errors
/// [`ShareError`]; nothing changed then.
#[inline(never)]
pub fn take_over(
    giver: &mut Side<'_>,
    taker: &mut Side<'_>,
    index: u16,
    allocator: &mut Allocator,
) -> Result<Handle, ShareError> {
    let share = giver.inner.handles.share_mut(index).ok_or(ShareError::Broken)?;
    let (state, own, id) = (state_after(&share, Move::Accept(Verb::Donate))?, share.own(), share.id());
    let mem = share.mem(Rights::empty(), Flags::empty());
    let rights = giver.inner.handles.mem(own)?.rights;
    let handle = taker.inner.handles.insert(Object::Mem(MemRef { rights, ..mem }), taker.vm.handle_limit)?;
    if let Err(error) = allocator.mem_hand_over(id, &mut giver.inner.account, &mut taker.inner.account) {
        taker.inner.handles.remove(handle);
        return Err(error.into());
    }
    allocator.break_promise(id);
    // The offer's count is the new owner's from now on, the giver's own goes with its handle.
    giver.inner.handles.remove(own);
    allocator.mem_drop_reference(id)?;
    let mut share = giver.inner.handles.share_mut(index).ok_or(ShareError::Broken)?;
    share.set_state(state);
    share.set_far(taker.far(handle.index()));
    Ok(handle)
}

/// What a revoke came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The state of the share.
    pub state: ShareState,
    /// Pages unmapped at the borrower.
    pub pages: u64,
    /// vCPUs of the borrower to tell.
    pub told: u8,
}

/// Takes an offer back that nobody has accepted.
///
/// # Errors
/// [`ShareError`].
pub fn withdraw(owner: &mut Side<'_>, index: u16, allocator: &mut Allocator) -> Result<Revoked, ShareError> {
    let state = end(owner, index, Move::Revoke(RevokePolicy::Ask), allocator)?;
    Ok(Revoked { state, pages: 0, told: 0 })
}

/// Asks the borrower for the memory, or takes the next part of it away.
///
/// # Errors
/// [`ShareError`].
pub fn revoke(
    owner: &mut Side<'_>,
    borrower: &mut Side<'_>,
    index: u16,
    policy: RevokePolicy,
    allocator: &mut Allocator,
    interrupt_pending: fn() -> bool,
) -> Result<Revoked, ShareError> {
    let far = owner.far(index);
    let mut share = owner.inner.handles.share_mut(index).ok_or(ShareError::Broken)?;
    let state = state_after(&share, Move::Revoke(policy))?;
    let theirs = share.far().index;
    if borrower.inner.handles.far(theirs) != Some(far) {
        return Err(ShareError::Broken);
    }
    if state == ShareState::Asked {
        share.set_state(state);
        return Ok(Revoked { state, pages: 0, told: borrower.raise(theirs, Steps::ASKED) });
    }
    let mem = borrower.inner.handles.mem_at(theirs).ok_or(ShareError::Broken)?;
    // What the borrower left to be invalidated is in no range any more. It may be as much as a call does: then that was it.
    let is_spent = borrower.inner.sync(allocator);
    // While the borrower gives it back itself, what is left stands in the ranges; else they stay for AS.QUERY to tell of.
    let gives_back = mem.flags.contains(Flags::FREEING);
    let (pages, cursor) = if is_spent {
        (0, share.cursor())
    } else if gives_back {
        (take_part(borrower.inner, theirs, allocator, interrupt_pending)?, share.cursor())
    } else {
        part::follow(borrower.inner, theirs, &mem, share.cursor(), allocator, interrupt_pending)?
    };
    borrower.inner.handles.flag(theirs, Flags::REVOKED, Flags::empty());
    let ranges = borrower.inner.handles.ranges(theirs);
    let is_done = if gives_back { ranges.is_empty() } else { ranges.next_from(cursor.0).is_none() };
    share.set_state(state);
    share.set_cursor(cursor);
    if !is_done {
        return Ok(Revoked { state, pages, told: 0 });
    }
    borrower.inner.handles.flag(theirs, Flags::OVER, Flags::empty());
    let state = end(owner, index, Move::Unmapped, allocator)?;
    Ok(Revoked { state, pages, told: borrower.raise(theirs, Steps::REVOKED) })
}

/// Ends the next offers that are open to `peer`, which has ended. Returns whom to tell at the owner, and whether none is left.
///
/// # Errors
/// [`ShareError::Broken`], [`ShareError::Memory`].
pub fn lose_peer(owner: &mut Side<'_>, peer: &Vm, allocator: &mut Allocator) -> Result<(u8, bool), ShareError> {
    let mut told = 0;
    for _ in 0..OFFERS_PER_STEP {
        let Some(index) = owner.inner.handles.offers_to(peer.place, peer.incarnation).next() else {
            return Ok((told, true));
        };
        told |= give_back(owner, index, allocator)?;
    }
    Ok((told, false))
}

/// Ends a share at its owner by `step`: the count of the handle that was lent goes, and the memory can be mapped again. Returns
/// its state.
#[inline(always)]
fn end(owner: &mut Side<'_>, index: u16, step: Move, allocator: &mut Allocator) -> Result<ShareState, ShareError> {
    let mut share = owner.inner.handles.share_mut(index).ok_or(ShareError::Broken)?;
    let state = state_after(&share, step)?;
    share.set_state(state);
    let (id, own, verb) = (share.id(), share.own(), share.verb());
    if verb != Verb::Share && owner.inner.handles.mem(own).is_ok() {
        owner.inner.handles.flag(own.index(), Flags::empty(), Flags::LENT);
    }
    allocator.mem_drop_reference(id)?;
    Ok(state)
}

/// Ends the share of borrowed memory, which is mapped nowhere at the borrower any more: its owner has it back, and the
/// handle at the borrower counts no longer. Returns whom to tell at the owner.
///
/// # Errors
/// [`ShareError`]: the two ends contradict each other.
#[inline(always)]
pub fn give_back(owner: &mut Side<'_>, index: u16, allocator: &mut Allocator) -> Result<u8, ShareError> {
    end(owner, index, Move::GiveBack, allocator)?;
    Ok(owner.raise(index, Steps::RELINQUISHED))
}

/// Cuts borrowed memory off from the share of entry `index`, whose owner ends. Returns whom to tell at the borrower.
#[must_use]
pub fn orphan(owner: &Side<'_>, index: u16, far: Far, borrower: &mut Side<'_>) -> u8 {
    if borrower.inner.handles.far(far.index) != Some(owner.far(index)) {
        return 0;
    }
    borrower.inner.handles.flag(far.index, Flags::ORPHANED, Flags::empty());
    borrower.raise(far.index, Steps::ENDED)
}
