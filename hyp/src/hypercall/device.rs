//! AS, devices: MAP of a device's registers, and QUERY of where they are mapped. The ledger knows nothing of them: they are in no
//! extent, and nobody but their one owner can map them.

use strato_abi::MemHandle;
use strato_abi::address_space::Attributes;
use strato_abi::call::{AsMap, AsMapReply, AsQueryReply};
use strato_abi::error::{Code, Error, Reason};

use super::address_space::{NO_SPACE, refusal};
use super::decode::{self, PageRange};
use super::{CallError, Outcome};
use crate::allocator::Allocator;
use crate::arch;
use crate::memory::descriptor::{Attr, MemoryType};
use crate::memory::source::Charged;
use crate::memory::stage2::Leaf;
use crate::vm::Inner;
use crate::vm::handles::DeviceRef;

/// What registers can be mapped with.
const MOST: Attributes = Attributes::READ.union(Attributes::WRITE);

/// Maps `range` of the address space in `slot` to registers of `device`.
pub(super) fn map(
    call: &AsMap,
    range: PageRange,
    slot: u8,
    device: DeviceRef,
    inner: &mut Inner,
    allocator: &mut Allocator,
) -> Result<Outcome<AsMapReply>, CallError> {
    let missing = call.attributes - MOST;
    if !missing.is_empty() {
        return Err(CallError::of(Code::Denied, 6, Reason::NoRight, missing.bits()));
    }
    let attr = Attr::new(call.attributes, MemoryType::Device, false)
        .map_err(|_| CallError::of(Code::BadAttribute, 6, Reason::None, 0))?;
    let first = decode::page_offset(call.offset, range.pages, device.pages.into())?;
    let pa = device.base.checked_add(first).ok_or(CallError::bare(Code::Internal))?;
    let mut source = Charged::new(allocator, &mut inner.account, arch::interrupt_pending);
    let space = inner.spaces.get_mut(slot).ok_or(NO_SPACE)?;
    let attr = if device.is_filtered { attr.up_to(call.attributes).answered() } else { attr.up_to(MOST) };
    let mapped = space.map(range.start, pa, range.pages, attr, &mut source);
    let mapped = mapped.map_err(|error| refusal(error, 6))?;
    Ok(Outcome::Reply(AsMapReply { level: mapped.level as u64, done: mapped.pages }))
}

/// Answers AS.QUERY for a leaf that shows registers.
pub(super) fn found(inner: &Inner, leaf: &Leaf, limit: u16, fault: u64) -> Result<Outcome<AsQueryReply>, CallError> {
    let found = inner.handles.find_device(leaf.pa, limit);
    let (handle, device) = found.ok_or(Error::of(Code::BadAddress, 2, Reason::Reserved, 0))?;
    Ok(Outcome::Reply(AsQueryReply {
        mem: MemHandle(handle),
        offset: leaf.pa.bytes().saturating_sub(device.base.bytes()),
        attributes: if leaf.attr.is_answered() { leaf.attr.most() } else { leaf.attr.rights() },
        level: leaf.level as u64,
        fault,
    }))
}
