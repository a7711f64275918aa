//! Stopping a VM: everything goes back, in one order and in bounded steps.
//!
//! Order: vCPUs are off their cores (the dispatcher saw to that) -> ports -> peers hear of it -> shares, whose borrowers keep
//! the memory -> address spaces -> memory, borrowed and own, scrubbed -> the VM itself, once no core can look it up any more.
//! Called by the dispatcher's reaper, one step per turn.

use strato_abi::share::{ShareState, Steps};

use crate::allocator::{Account, AllocError, Allocator, MemId, MemInfo, Owner};
use crate::arch::epoch::Epochs;
use crate::memory::sharing::is_out;
use crate::memory::source::Charged;
use crate::memory::stage2::Progress;

use super::handles::{Far, Flags, MemRef};
use super::sharing::{self, ShareError, Side};
use super::work::{Goal, Work};
use super::{Inner, Vm};

/// Ports closed in one step.
const PORTS_PER_STEP: usize = 16;
/// Handles looked at in one step: where few name memory, most of a step is to find the next one.
const HANDLES_PER_STEP: u16 = 64;

/// How far giving back has come.
#[derive(Debug)]
pub enum Stage {
    /// Ports from this index on are open.
    Ports(usize),
    /// VMs in places from this one on have not heard of the end, and their offers to this one are open.
    Peers(u8),
    /// Shares of entries from this index on are still there.
    Shares(u16),
    /// An address space is still there.
    Space,
    /// Memory named by handles from this index on is still held.
    Memory(u16),
    /// Only what other cores may still look at is left.
    Emptied,
}

/// Does one step. `partner` is the VM that [`partner`] named, locked; `peer` finds the VM in a place.
///
/// # Errors
/// [`AllocError`] when the ledger contradicts the VM: a bug of the hypervisor.
pub fn step<'v>(
    vm: &Vm,
    inner: &mut Inner,
    partner: Option<&mut Side<'_>>,
    (allocator, own): (&mut Allocator, &mut Account),
    epochs: &Epochs,
    peer: impl Fn(u8) -> Option<&'v Vm>,
) -> Result<Step, AllocError> {
    match &mut inner.stage {
        Stage::Ports(first) => {
            let (from, to) = (*first, first.saturating_add(PORTS_PER_STEP));
            *first = to;
            if !close_ports(vm, from, to, epochs, peer) {
                inner.stage = Stage::Peers(0);
            }
        }
        Stage::Peers(place) => {
            if let Some(other) = partner {
                let (told, is_last) = sharing::lose_peer(other, vm, allocator).map_err(bug)?;
                if !is_last {
                    return Ok(Step { told, is_done: false });
                }
                *place = other.vm.place.saturating_add(1);
                return Ok(Step { told: told | other.raise_peer(vm, Steps::ENDED), is_done: false });
            }
            inner.stage = Stage::Shares(0);
        }
        Stage::Shares(from) => {
            let from = *from;
            return Ok(Step { told: end_share(vm, inner, partner, from, allocator)?, is_done: false });
        }
        Stage::Space => {
            let mut source = Charged::new(allocator, &mut inner.account, || false);
            if inner.spaces.end_all(&mut source) == Progress::Done {
                inner.stage = Stage::Memory(0);
            }
        }
        Stage::Memory(from) => {
            // First what is under way: by the guest's own calls, or by the step before.
            if let Some(work) = &mut inner.work {
                work.step();
                if work.left() == 0 {
                    inner.finish_return(allocator, own)?;
                }
                return Ok(Step::default());
            }
            let Some((handle, mem)) = inner.handles.next_mem_of(*from, HANDLES_PER_STEP.into()) else {
                *from = from.saturating_add(HANDLES_PER_STEP);
                if usize::from(*from) >= inner.handles.entries() {
                    inner.stage = Stage::Emptied;
                }
                return Ok(Step::default());
            };
            *from = handle.index().saturating_add(1);
            let far = inner.handles.far(handle.index()).filter(|_| is_held(&mem));
            inner.handles.remove(handle);
            if let (Some(far), Some(owner)) = (far, partner) {
                let told = sharing::give_back(owner, far.index, allocator).map_err(bug)?;
                return Ok(Step { told, is_done: false });
            }
            if !mem.flags.contains(Flags::OVER) {
                let (work, left) = release(mem.id, allocator, &mut inner.account, own)?;
                inner.work = work;
                inner.left = inner.left.saturating_add(left);
            }
        }
        Stage::Emptied => return Ok(Step { told: 0, is_done: true }),
    }
    Ok(Step::default())
}

/// Returns the VM that the next step has to do with: it is locked together with the one that ends. `others` are the places of
/// other VMs, in rising order.
#[must_use]
pub fn partner(inner: &Inner, mut others: impl Iterator<Item = u8>) -> Option<Partner> {
    match &inner.stage {
        Stage::Peers(from) => others.find(|place| place >= from).map(|place| Partner { place, incarnation: None }),
        Stage::Shares(from) => {
            let index = inner.handles.shares().find(|index| index >= from)?;
            let (_, share) = inner.handles.share_at(index)?;
            is_out(share.state).then_some(share.far.into())
        }
        Stage::Memory(from) if inner.work.is_none() => {
            let (handle, mem) = inner.handles.next_mem_of(*from, HANDLES_PER_STEP.into())?;
            inner.handles.far(handle.index()).filter(|_| is_held(&mem)).map(Partner::from)
        }
        Stage::Ports(_) | Stage::Space | Stage::Memory(_) | Stage::Emptied => None,
    }
}

/// The other VM of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its place.
    pub place: u8,
    /// Its incarnation, if it matters.
    pub incarnation: Option<u32>,
}

impl From<Far> for Partner {
    fn from(far: Far) -> Self {
        Self { place: far.place, incarnation: Some(far.incarnation) }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// vCPUs of the other VM to tell, one bit each.
    pub told: u8,
    /// Whether only its [`Remains`](super::remains::Remains) are left.
    pub is_done: bool,
}

/// Returns whether borrowed memory still belongs to a share of its owner.
const fn is_held(mem: &MemRef) -> bool {
    !mem.flags.intersects(Flags::OVER.union(Flags::ORPHANED))
}

/// Two VMs that contradict each other are as bad as a ledger that does.
const fn bug(_: ShareError) -> AllocError {
    AllocError::Stale
}

/// Ends the first share from entry `from` on: an offer is withdrawn, and what a borrower holds is its own to give back.
/// Returns whom to tell there.
fn end_share(
    vm: &Vm,
    inner: &mut Inner,
    partner: Option<&mut Side<'_>>,
    from: u16,
    allocator: &mut Allocator,
) -> Result<u8, AllocError> {
    let next = inner.handles.shares().find(|&index| index >= from);
    let Some((handle, share)) = next.and_then(|index| inner.handles.share_at(index)) else {
        inner.stage = Stage::Space;
        return Ok(0);
    };
    inner.stage = Stage::Shares(handle.index());
    let mut told = 0;
    if is_out(share.state) {
        allocator.break_promise(share.id); // what others borrowed is never memory of another life
        let borrower = partner.ok_or(AllocError::Stale)?;
        told = sharing::orphan(&Side { vm, inner }, handle.index(), share.far, borrower);
    } else if share.state == ShareState::Offered {
        allocator.mem_drop_reference(share.id)?;
    }
    inner.handles.remove(handle);
    Ok(told)
}

/// Closes ports `from..to`, at both ends. Returns whether there are more.
fn close_ports<'v>(vm: &Vm, from: usize, to: usize, epochs: &Epochs, peer: impl Fn(u8) -> Option<&'v Vm>) -> bool {
    for (port, index) in vm.ports.iter().zip(0u16..).skip(from).take(to.saturating_sub(from)) {
        if port.read().is_open() {
            vm.close(index, epochs, &peer);
        }
    }
    to < vm.ports.len()
}

/// Drops the VM's handle to an object. Returns the way of its frames to the pool when it was the last one, and how many pages of the
/// VM's own are left to others.
fn release(
    id: MemId,
    allocator: &mut Allocator,
    account: &mut Account,
    own: &mut Account,
) -> Result<(Option<Work>, u64), AllocError> {
    let left = allocator.mem_drop_reference(id)?;
    let MemInfo { owner, pages, .. } = allocator.mem_info(id).ok_or(AllocError::Stale)?;
    let is_orphan = owner == Owner::Hypervisor;
    let is_promised = allocator.is_promised(id);
    match (left, owner == account.owner()) {
        // It waits for the next life, which finds it zeroed unless others have it all the time.
        (_, true) if is_promised => allocator.mem_hand_over(id, account, own).map(|()| (None, 0)),
        (0, _) if !is_promised => {
            let scrub = allocator.mem_free(id, if is_orphan { own } else { account })?;
            Ok((Some(Work::new(scrub, Goal::Pool { handle: None, is_orphan })), 0))
        }
        // Others still use it: it stays theirs to use, and belongs to the hypervisor until the last of them drops it.
        (_, true) => allocator.mem_hand_over(id, account, own).map(|()| (None, pages)),
        (_, false) => Ok((None, 0)),
    }
}
