//! AS, one page: MAP and UNMAP of a page of plain memory in the first address space, whose table is there and stays.
//!
//! That is what a guest asks for most, so it has a way of its own through the same rooms: every check is made, none has a
//! reason. Where one fails, nothing has changed, and `address_space` answers the call from the start.

use strato_abi::MemHandle;
use strato_abi::address_space::UnmapFlags;
use strato_abi::call::{AsMap, AsMapReply, AsUnmap, AsUnmapReply};
use strato_abi::handle::AddressSpaceHandle;

use super::decode;
use crate::allocator::Allocator;
use crate::machine::Cx;
use crate::memory::descriptor::Level;
use crate::vm::Vm;
use crate::vm::handles::Mem;
use crate::vm::spaces::{FIRST, Spaces};

/// Returns whether `space` is the current address space, and that is the one that the VM began with.
#[inline(always)]
fn is_current(space: AddressSpaceHandle, cx: &Cx<'_>) -> bool {
    space == AddressSpaceHandle::CURRENT && cx.context.space.slot == FIRST
}

/// Maps the page, or returns `None`.
#[inline(always)]
pub(super) fn map(call: AsMap, cx: &mut Cx<'_>) -> Option<AsMapReply> {
    let is_page = call.pages == 1 && is_current(call.space, cx) && decode::is_open(call.address);
    if !is_page {
        return None;
    }
    let (vm, MemHandle(handle)) = (cx.vm, call.mem);
    let (mut inner, mut held) = vm.inner.lock(&mut cx.locks);
    let inner = &mut *inner;
    if let Some(mem) = inner.handles.plain_mem(handle) {
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        fill(call, vm, mem, &mut inner.spaces, &mut pool.allocator)
    } else {
        // Borrowed memory, when its ranges take the page without more ado.
        let mut borrowed = inner.handles.plain_borrowed(handle)?;
        let ranges = borrowed.ranges().with_page(FIRST, call.address.bytes() >> 12)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let reply = fill(call, vm, borrowed.mem(), &mut inner.spaces, &mut pool.allocator)?;
        borrowed.set_ranges(ranges);
        Some(reply)
    }
}

/// Maps a page of `mem`, or returns `None`.
#[inline(always)]
fn fill(call: AsMap, vm: &Vm, mem: Mem<'_>, spaces: &mut Spaces, allocator: &mut Allocator) -> Option<AsMapReply> {
    let (pa, attr) = (mem.page(call.offset)?, vm.attrs.get(call.attributes, mem.rights())?);
    let vacant = spaces.first_settled()?.vacant(call.address)?;
    allocator.mem_page_mapped(mem.id()).ok()?;
    vacant.fill(pa, attr);
    Some(AsMapReply { level: Level::Three as u64, done: 1 })
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
    let pa = space.take_page(call.address, |_| true)?;
    pool.allocator.mem_page_unmapped(pa);
    Some(AsUnmapReply { reserved: 0, done: 1 })
}
