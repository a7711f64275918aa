//! AS, one page: MAP and UNMAP of a page, or a block of 2 MiB, of plain memory in the first address space, whose table is there
//! and stays.
//!
//! That is what a guest asks for most, so it has a way of its own through the same rooms: every check is made, none has a
//! reason. Where one fails, nothing has changed, and `address_space` answers the call from the start.

use strato_abi::MemHandle;
use strato_abi::address_space::UnmapFlags;
use strato_abi::call::{AsMap, AsMapReply, AsUnmap, AsUnmapReply};
use strato_abi::handle::AddressSpaceHandle;

use super::decode;
use crate::machine::Cx;
use crate::memory::descriptor::Level;
use crate::vm::spaces::FIRST;

/// Pages of a block of level 2.
const PAGES_OF_BLOCK: u64 = Level::Two.pages();

/// Returns whether `space` is the current address space, and that is the one that the VM began with.
#[inline(always)]
fn is_current(space: AddressSpaceHandle, cx: &Cx<'_>) -> bool {
    space == AddressSpaceHandle::CURRENT && cx.context.space.slot == FIRST
}

/// Maps the page or the block, or returns `None`.
#[inline(always)]
pub(super) fn map(call: AsMap, cx: &mut Cx<'_>) -> Option<AsMapReply> {
    match call.pages {
        1 => map_leaf(call, cx, Level::Three),
        PAGES_OF_BLOCK => {
            core::hint::cold_path(); // pages are mapped more often
            map_leaf(call, cx, Level::Two)
        }
        _ => None,
    }
}

#[inline(always)]
fn map_leaf(call: AsMap, cx: &mut Cx<'_>, level: Level) -> Option<AsMapReply> {
    if !is_current(call.space, cx) || !decode::is_open(call.address) {
        return None;
    }
    let (vm, MemHandle(handle)) = (cx.vm, call.mem);
    let (mut inner, mut held) = vm.inner.lock(&mut cx.locks);
    let (mut pool, _held) = cx.machine.memory.lock(&mut held);
    let inner = &mut *inner;
    let mem = inner.handles.plain_mem(handle)?;
    let (pa, attr) = (mem.part(call.offset, level.pages())?, vm.attrs.get(call.attributes, mem.rights())?);
    let pa = Some(pa).filter(|pa| level == Level::Three || pa.is_aligned(level.bytes()))?;
    let vacant = inner.spaces.first_settled()?.vacant(call.address, level)?;
    pool.allocator.mem_add_mapped(mem.id(), u32::try_from(level.pages()).ok()?).ok()?;
    vacant.fill(pa, attr);
    Some(AsMapReply { level: level as u64, done: level.pages() })
}

/// Unmaps the page, or returns `None`.
#[inline(always)]
pub(super) fn unmap(call: AsUnmap, cx: &mut Cx<'_>) -> Option<AsUnmapReply> {
    let is_page = call.pages == 1 && is_current(call.space, cx) && decode::is_open(call.address);
    if !is_page || call.flags != UnmapFlags::empty() {
        return None;
    }
    let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
    let (mut pool, _held) = cx.machine.memory.lock(&mut held);
    let inner = &mut *inner;
    if inner.handles.has_borrowed() {
        return None; // their ranges would have to be trimmed
    }
    let space = inner.spaces.first_settled()?;
    let pa = space.take_page(call.address)?;
    pool.allocator.mem_page_unmapped(pa);
    Some(AsUnmapReply { reserved: 0, done: 1 })
}
