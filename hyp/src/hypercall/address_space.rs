//! AS, pages: the guest's MMU. Checks range, attributes and rights; the address space does the rest.

use strato_abi::address_space::{Attributes, LastFault, UnmapFlags};
use strato_abi::call::{AsMap, AsMapReply, AsProtect, AsProtectReply, AsQuery, AsQueryReply, AsUnmap, AsUnmapReply};
use strato_abi::error::{Code, Error, Reason};
use strato_abi::handle::Handle as AbiHandle;
use strato_abi::plan::VM_JIT;
use strato_abi::regs::Request;
use strato_abi::share::{BORROWED_OBJECTS, BORROWED_RANGES};
use strato_abi::{Ipa, MemHandle};

use super::{CallError, Handle, Handler, Outcome, Short, decode, device, page, reply};
use crate::allocator::AllocError;
use crate::arch;
use crate::machine::Cx;
use crate::memory::descriptor::{Attr, MemoryType};
use crate::memory::source::Charged;
use crate::memory::stage2::SpaceError;
use crate::vm::Inner;
use crate::vm::handles::{Flags, MemRef, Range, Ranges};

/// Returns what the ABI says of an address space's refusal; the address is argument 2.
pub(super) fn refusal(error: SpaceError, attributes_argument: u8) -> CallError {
    match error {
        SpaceError::BadRange => CallError::of(Code::BadAddress, 2, Reason::Reserved, 0),
        SpaceError::Exists => CallError::of(Code::Exists, 2, Reason::None, 0),
        SpaceError::NotMapped => CallError::of(Code::NotMapped, 2, Reason::None, 0),
        SpaceError::BadAttribute => CallError::of(Code::BadAttribute, attributes_argument, Reason::None, 0),
        SpaceError::NoRight(missing) => {
            CallError::of(Code::Denied, attributes_argument, Reason::NoRight, missing.bits())
        }
        SpaceError::NoMemory => CallError::bare(Code::NoMemory),
        SpaceError::Quota => CallError::bare(Code::Quota),
        SpaceError::Dying => CallError::of(Code::State, 1, Reason::None, 0),
    }
}

/// The VM has no address space in the slot that a handle of it names.
pub(super) const NO_SPACE: CallError = CallError::bare(Code::Internal);

/// Returns checked attributes in the form that an entry has.
fn attributes(cx: &Cx<'_>, wanted: Attributes, argument: u8) -> Result<Attr, CallError> {
    let may_write_execute = cx.vm.flags & VM_JIT != 0;
    let wanted = decode::attributes(wanted, argument, may_write_execute)?;
    Attr::new(wanted, MemoryType::Normal, may_write_execute)
        .map_err(|_| CallError::of(Code::BadAttribute, argument, Reason::None, 0))
}

impl Handle for AsMap {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, AsMapReply> {
        let Ok(request) = Self::from_regs(arguments) else { return Short::Long };
        page::map(request, cx).map_or(Short::Long, |reply| Short::Done(Outcome::Reply(reply)))
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsMapReply>, CallError> {
        let range = decode::page_range(self.address, self.pages, 5)?;
        let attr = attributes(cx, self.attributes, 6)?;
        let MemHandle(handle) = self.mem;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let slot = decode::space(inner, &cx.context, self.space)?;
        if let Ok(device) = inner.handles.device(handle) {
            let (mut pool, _held) = cx.machine.memory.lock(&mut held);
            return device::map(&self, range, slot, device, inner, &mut pool.allocator);
        }
        let mem = inner.handles.mem(handle).map_err(|error| CallError::Handle(3, error))?;
        if mem.flags.intersects(Flags::REVOKED) {
            return Err(CallError::of(Code::Revoked, 3, Reason::None, 0));
        }
        if mem.flags.intersects(Flags::LENT | Flags::FREEING) {
            return Err(CallError::of(Code::State, 3, Reason::None, 0));
        }
        decode::within_rights(self.attributes, mem.rights, 6)?;
        let attr = attr.up_to(Attributes::from_bits_truncate(u64::from(mem.rights.bits())));
        let first = decode::page_offset(self.offset, range.pages, mem.pages)?;
        let pa = mem.base.checked_add(first).ok_or(CallError::bare(Code::Internal))?;
        let room = borrowed_room(inner, handle, &mem, slot, range)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        // Counted as mapped before it is, so that the object cannot go in between; what was not mapped is taken off again.
        let wanted = u32::try_from(range.pages).map_err(|_| CallError::bare(Code::Internal))?;
        pool.allocator.mem_add_mapped(mem.id, wanted).map_err(|_| CallError::Handle(3, super::HandleError::Stale))?;
        let mut source = Charged::new(&mut pool.allocator, &mut inner.account, arch::interrupt_pending);
        let space = inner.spaces.get_mut(slot);
        let mapped = space.map(|space| space.map(range.start, pa, range.pages, attr, &mut source));
        let done = mapped.as_ref().and_then(|mapped| mapped.as_ref().ok()).map_or(0, |mapped| mapped.pages);
        let missing = range.pages.saturating_sub(done);
        if missing != 0 {
            let missing = u32::try_from(missing).unwrap_or(0);
            pool.allocator.mem_sub_mapped(mem.id, missing).map_err(|_: AllocError| CallError::bare(Code::Internal))?;
        }
        let mapped = mapped.ok_or(NO_SPACE)?.map_err(|error| refusal(error, 6))?;
        if let Some(room) = room {
            let exact = inner.handles.ranges(handle.index()).with(pages_of(slot, range.start, done));
            inner.handles.set_ranges(handle.index(), exact.unwrap_or(room));
        }
        Ok(Outcome::Reply(AsMapReply { level: mapped.level as u64, done }))
    }
}

/// Returns `pages` pages from `start` on, as the ranges of borrowed memory count them.
const fn pages_of(space: u8, start: Ipa, pages: u64) -> Range {
    Range { space, first: start.bytes() >> 12, pages }
}

/// Returns the ranges of borrowed memory with `range` in them: what its owner looks through when it takes it back. `None` for
/// other memory.
fn borrowed_room(
    inner: &Inner,
    handle: AbiHandle,
    mem: &MemRef,
    slot: u8,
    range: decode::PageRange,
) -> Result<Option<Ranges>, CallError> {
    if !mem.flags.contains(Flags::BORROWED) {
        return Ok(None);
    }
    let ranges = inner.handles.ranges(handle.index());
    if ranges.is_empty() && !inner.handles.has_room_to_map() {
        return Err(CallError::of(Code::Full, 3, Reason::TableFull, BORROWED_OBJECTS));
    }
    let room = ranges.with(pages_of(slot, range.start, range.pages));
    room.map(Some).ok_or(CallError::of(Code::Full, 3, Reason::TableFull, BORROWED_RANGES))
}

impl Handle for AsUnmap {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, AsUnmapReply> {
        let Ok(request) = Self::from_regs(arguments) else { return Short::Long };
        page::unmap(request, cx).map_or(Short::Long, |reply| Short::Done(Outcome::Reply(reply)))
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsUnmapReply>, CallError> {
        let range = decode::page_range(self.address, self.pages, 3)?;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let slot = decode::space(inner, &cx.context, self.space)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut source = Charged::new(&mut pool.allocator, &mut inner.account, arch::interrupt_pending);
        let done = if self.flags.contains(UnmapFlags::NO_SYNC) {
            let (space, used) = inner.spaces.get_late(slot, &mut source).ok_or(NO_SPACE)?;
            space.unmap_later(range.start, range.pages, used, &mut source)
        } else {
            inner.spaces.get_mut(slot).ok_or(NO_SPACE)?.unmap(range.start, range.pages, &mut source)
        };
        let done = done.map_err(|error| refusal(error, 0))?;
        // With `NO_SYNC` too: before borrowed memory is its owner's alone again, what was left is completed.
        inner.handles.trim(pages_of(slot, range.start, done));
        Ok(Outcome::Reply(AsUnmapReply { reserved: 0, done }))
    }
}

impl Handle for AsProtect {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsProtectReply>, CallError> {
        let range = decode::page_range(self.address, self.pages, 3)?;
        let attr = attributes(cx, self.attributes, 4)?;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let slot = decode::space(inner, &cx.context, self.space)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut source = Charged::new(&mut pool.allocator, &mut inner.account, arch::interrupt_pending);
        let done = if self.flags.contains(UnmapFlags::NO_SYNC) {
            let (space, used) = inner.spaces.get_late(slot, &mut source).ok_or(NO_SPACE)?;
            space.protect_later(range.start, range.pages, attr, used, &mut source)
        } else {
            inner.spaces.get_mut(slot).ok_or(NO_SPACE)?.protect(range.start, range.pages, attr, &mut source)
        };
        Ok(Outcome::Reply(AsProtectReply { reserved: 0, done: done.map_err(|error| refusal(error, 4))? }))
    }
}

impl Handle for AsQuery {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsQueryReply>, CallError> {
        let page = self.address.page_base();
        let (address, fault) = cx.context.last_fault;
        let fault = if address == page.bytes() { fault } else { 0 };
        let (inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let slot = decode::space(&inner, &cx.context, self.space)?;
        let space = inner.spaces.get(slot).ok_or(NO_SPACE)?;
        if space.is_dying() {
            return Err(refusal(SpaceError::Dying, 0));
        }
        let Some(leaf) = space.query(page) else {
            let was_revoked = inner.handles.was_revoked(slot, page.bytes() >> 12);
            let fault = if was_revoked { LastFault::Revoked as u64 } else { fault };
            return Err(Error::of(Code::NotMapped, 2, Reason::None, fault).into());
        };
        if leaf.attr.memory() == MemoryType::Device {
            return device::found(&inner, &leaf, cx.vm.handle_limit, fault);
        }
        let object = {
            let (pool, _held) = cx.machine.memory.lock(&mut held);
            pool.allocator.mem_at(leaf.pa)
        };
        let found = object.and_then(|(id, _)| inner.handles.find_mem(id, leaf.pa, cx.vm.handle_limit));
        let (handle, mem) = found.ok_or(Error::of(Code::BadAddress, 2, Reason::Reserved, 0))?;
        Ok(Outcome::Reply(AsQueryReply {
            mem: MemHandle(handle),
            offset: leaf.pa.bytes().saturating_sub(mem.base.bytes()),
            attributes: leaf.attr.rights(),
            level: leaf.level as u64,
            fault,
        }))
    }
}
