//! Stopping a VM: everything goes back, in one order and in bounded steps.
//!
//! Order: vCPUs are off their cores (the dispatcher saw to that) -> ports -> address space -> memory, scrubbed -> the VM
//! itself, once no core can look it up any more. Called by the dispatcher's reaper, one step per turn.

use crate::allocator::{Account, AllocError, Allocator, MemId, Owner};
use crate::arch::epoch::Epochs;
use crate::arch::page_box::PageBox;
use crate::arch::ram::Scrub;
use crate::events::Link;
use crate::memory::source::Charged;
use crate::memory::stage2::Progress;

use super::{Inner, Vm};

/// Ports closed in one step.
const PORTS_PER_STEP: usize = 16;

/// How far giving back has come.
#[derive(Debug)]
pub enum Stage {
    /// Ports from this index on are open.
    Ports(usize),
    /// The address space still holds mappings or tables.
    Space,
    /// Memory named by handles from this index on is still held.
    Memory(usize),
    /// Frames are being scrubbed on their way back.
    Scrubbing {
        /// The frames.
        scrub: Scrub,
        /// Whether the hypervisor's account is refunded instead of the VM's.
        is_orphan: bool,
        /// Where to go on with the handles.
        next: usize,
    },
    /// Only what other cores may still look at is left.
    Emptied,
}

/// Does one step. `peer` finds the VM in a place. Returns whether only [`dismantle`] is left.
///
/// # Errors
/// [`AllocError`] when the ledger contradicts the VM: a bug of the hypervisor.
pub fn step<'v>(
    vm: &Vm,
    inner: &mut Inner,
    allocator: &mut Allocator,
    own: &mut Account,
    epochs: &Epochs,
    peer: impl Fn(u8) -> Option<&'v Vm>,
) -> Result<bool, AllocError> {
    match &mut inner.stage {
        Stage::Ports(first) => {
            let (from, to) = (*first, first.saturating_add(PORTS_PER_STEP));
            *first = to;
            if !close_ports(vm, from, to, epochs, peer) {
                inner.stage = Stage::Space;
            }
        }
        Stage::Space => {
            let mut source = Charged::new(allocator, &mut inner.account, || false);
            if inner.space.teardown_step(&mut source) == Progress::Done {
                inner.stage = Stage::Memory(0);
            }
        }
        Stage::Memory(from) => match inner.handles.take_mem(*from) {
            None => inner.stage = Stage::Emptied,
            Some((index, mem)) => {
                let next = index.saturating_add(1);
                inner.stage = release(mem.id, allocator, &mut inner.account, own)?
                    .map_or(Stage::Memory(next), |(scrub, is_orphan)| Stage::Scrubbing { scrub, is_orphan, next });
            }
        },
        Stage::Scrubbing { scrub, next, .. } => {
            let (is_done, next) = (scrub.step(), *next);
            if is_done
                && let Stage::Scrubbing { scrub, is_orphan, .. } =
                    core::mem::replace(&mut inner.stage, Stage::Memory(next))
            {
                let account = if is_orphan { own } else { &mut inner.account };
                let pages = scrub.finish().map_err(|_| AllocError::Busy)?;
                allocator.give_back(pages, account).map_err(|_| AllocError::Busy)?;
            }
        }
        Stage::Emptied => return Ok(true),
    }
    Ok(false)
}

/// Closes ports `from..to`, at both ends. Returns whether there are more.
fn close_ports<'v>(vm: &Vm, from: usize, to: usize, epochs: &Epochs, peer: impl Fn(u8) -> Option<&'v Vm>) -> bool {
    for (index, port) in (0u16..).zip(vm.ports.iter()).take(to).skip(from) {
        if port.read().link() != Link::Free {
            vm.close(index, epochs, &peer);
        }
    }
    to < vm.ports.len()
}

/// Drops the VM's handle to an object. Returns the scrub of its frames when it was the last one.
fn release(
    id: MemId,
    allocator: &mut Allocator,
    account: &mut Account,
    own: &mut Account,
) -> Result<Option<(Scrub, bool)>, AllocError> {
    let left = allocator.mem_drop_reference(id)?;
    let owner = allocator.mem_info(id).ok_or(AllocError::Stale)?.owner;
    let is_orphan = owner == Owner::Hypervisor;
    match (left, owner == account.owner()) {
        (0, _) => allocator.mem_free(id, if is_orphan { own } else { account }).map(|scrub| Some((scrub, is_orphan))),
        // Others still use it: it stays theirs to use, and belongs to the hypervisor until the last of them drops it.
        (_, true) => allocator.mem_hand_over(id, account, own).map(|()| None),
        (_, false) => Ok(None),
    }
}

/// Gives back what the VM object itself consists of, after the last core that could look it up is done.
///
/// Returns the pages that the VM's account still counts: 0, or the hypervisor lost some.
///
/// # Errors
/// [`AllocError`] when the ledger contradicts the VM: a bug of the hypervisor.
pub fn dismantle(vm: PageBox<Vm>, allocator: &mut Allocator) -> Result<u64, AllocError> {
    let (vm, own_pages) = vm.into_parts();
    let Vm { mut vcpus, ports, area, pages: [info, records], inner, .. } = vm;
    let Inner { space, mut account, handles, .. } = inner.into_inner();
    let vmid = space.finish(&mut Charged::new(allocator, &mut account, || false)).map_err(|_| AllocError::Busy)?;
    allocator.give_back_vmid(vmid);
    let rest = [
        ports.into_pages(),
        handles.into_pages(),
        area.into_pages().into_pages(),
        info.into_pages(),
        records.into_pages(),
        own_pages,
    ];
    let vcpus = core::iter::from_fn(|| vcpus.pop()).map(PageBox::into_pages);
    for pages in vcpus.chain(rest) {
        allocator.give_back(pages, &mut account).map_err(|_| AllocError::Busy)?;
    }
    Ok(account.used())
}
