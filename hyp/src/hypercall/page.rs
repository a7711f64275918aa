//! AS, one page: MAP and UNMAP of a page, or a block of 2 MiB, of plain memory in the first address space, whose table is there
//! and stays; and MAP of a page of borrowed memory whose ranges take it.
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
    let inner = &mut *inner;
    if let Some(mem) = inner.handles.plain_mem(handle) {
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        fill(call, level, vm, mem, &mut inner.spaces, &mut pool.allocator)
    } else {
        // A page of borrowed memory, when its ranges take it without more ado.
        let has_room = inner.handles.has_room_to_map();
        let mut borrowed = inner.handles.plain_borrowed(handle).filter(|_| level == Level::Three)?;
        let ranges = Some(borrowed.ranges()).filter(|ranges| has_room || !ranges.is_empty())?;
        let ranges = ranges.with_page(FIRST, call.address.bytes() >> 12)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let reply = fill(call, level, vm, borrowed.mem(), &mut inner.spaces, &mut pool.allocator)?;
        borrowed.set_ranges(ranges);
        Some(reply)
    }
}

/// Maps a page or block of `mem`, or returns `None`.
#[inline(always)]
fn fill(
    call: AsMap,
    level: Level,
    vm: &Vm,
    mem: Mem<'_>,
    spaces: &mut Spaces,
    allocator: &mut Allocator,
) -> Option<AsMapReply> {
    let (pa, attr) = (mem.part(call.offset, level.pages())?, vm.attrs.get(call.attributes, mem.rights())?);
    let pa = Some(pa).filter(|pa| level == Level::Three || pa.is_aligned(level.bytes()))?;
    let vacant = spaces.first_settled()?.vacant(call.address, level)?;
    allocator.mem_add_mapped(mem.id(), u32::try_from(level.pages()).ok()?).ok()?;
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
    let pa = space.take_page(call.address, |_| true)?;
    pool.allocator.mem_page_unmapped(pa);
    Some(AsUnmapReply { reserved: 0, done: 1 })
}
