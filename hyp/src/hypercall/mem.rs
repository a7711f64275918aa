//! MEM: memory objects. Checks who may do what; the VM's work and the allocator do the rest.

use strato_abi::call::{
    MemAlloc, MemAllocReply, MemFree, MemFreeReply, MemInfo, MemInfoReply, MemSplit, MemSplitReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::mem::{MEM_PAGES_MAX, MemState};
use strato_abi::{Handle as AbiHandle, MemHandle, Rights};

use super::{CallError, Handle, Outcome};
use crate::allocator::AllocError;
use crate::machine::{Cx, Pool};
use crate::vm::Inner;
use crate::vm::handles::{Flags, MemRef, Object};
use crate::vm::work::{Goal, Work};

/// No handle: the object is not there yet.
const NONE: AbiHandle = AbiHandle::from_bits(0);

/// Returns the order of an object of `pages` pages.
fn order_of(pages: u64) -> Result<u32, CallError> {
    match pages {
        0 => Err(CallError::of(Code::Invalid, 1, Reason::TooSmall, 1)),
        1..=MEM_PAGES_MAX if pages.is_power_of_two() => Ok(pages.trailing_zeros()),
        1..=MEM_PAGES_MAX => Err(CallError::of(Code::Invalid, 1, Reason::Misaligned, 0)),
        _ => Err(CallError::of(Code::Invalid, 1, Reason::TooLarge, MEM_PAGES_MAX)),
    }
}

/// What cannot be, unless the hypervisor has a bug.
fn bug<E>(_: E) -> CallError {
    CallError::bare(Code::Internal)
}

impl Handle for MemAlloc {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<MemAllocReply>, CallError> {
        let order = order_of(self.pages)?;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        match &inner.work {
            Some(work) if work.is_object_of(self.pages) => {}
            Some(_) => return Err(CallError::bare(Code::Busy)),
            None => {
                let entry = inner.handles.find_free(cx.vm.handle_limit).map_err(|error| CallError::Handle(0, error))?;
                let (mut pool, _held) = cx.machine.memory.lock(&mut held);
                if begin(inner, order, entry, &mut pool)? == 0 {
                    return finish(inner, &mut pool, 0);
                }
            }
        }
        // Without the lock of all memory: others do not wait for it.
        let work = inner.work.as_mut().ok_or(CallError::bare(Code::Internal))?;
        let done = work.step();
        if work.left() != 0 {
            return Ok(Outcome::Reply(MemAllocReply { mem: NONE, done }));
        }
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        finish(inner, &mut pool, done)
    }
}

/// Takes the frames of an object, paid first, and keeps `entry` for it. Returns how many are to be zeroed.
fn begin(inner: &mut Inner, order: u32, entry: u16, pool: &mut Pool) -> Result<u64, CallError> {
    inner.begin_object(order, entry, &mut pool.allocator).map_err(|error| match error {
        AllocError::Quota => CallError::of(Code::Quota, 1, Reason::None, inner.account.left()),
        AllocError::NoMemory => CallError::of(Code::NoMemory, 1, Reason::None, 0),
        AllocError::Stale | AllocError::Busy => bug(error),
    })
}

/// Gives the object whose pages are all zero its handle.
fn finish(inner: &mut Inner, pool: &mut Pool, done: u64) -> Result<Outcome<MemAllocReply>, CallError> {
    let mem = inner.finish_object(&mut pool.allocator).map_err(bug)?;
    Ok(Outcome::Reply(MemAllocReply { mem, done }))
}

/// Returns the memory that `handle` (argument 1) names, unless it is on its way to the pool.
fn living(inner: &Inner, handle: AbiHandle) -> Result<MemRef, CallError> {
    let mem = inner.handles.mem(handle).map_err(|error| CallError::Handle(1, error))?;
    if mem.flags.contains(Flags::FREEING) { Err(CallError::of(Code::State, 1, Reason::None, 0)) } else { Ok(mem) }
}

/// Returns the memory that `handle` (argument 1) names, which the caller owns.
fn owned(inner: &Inner, handle: AbiHandle) -> Result<MemRef, CallError> {
    let mem = living(inner, handle)?;
    if mem.rights.contains(Rights::OWNER) { Ok(mem) } else { Err(CallError::of(Code::Denied, 1, Reason::NotOwner, 0)) }
}

/// Returns what the ABI says when the object of argument 1 cannot be freed or cut.
fn refusal(error: AllocError) -> CallError {
    match error {
        AllocError::Busy => CallError::of(Code::Busy, 1, Reason::None, 0),
        AllocError::NoMemory => CallError::bare(Code::NoMemory),
        AllocError::Stale | AllocError::Quota => bug(error),
    }
}

impl Handle for MemFree {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<MemFreeReply>, CallError> {
        let MemHandle(handle) = self.mem;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        if !inner.work.as_ref().is_some_and(|work| work.gives_back(handle)) {
            let mem = owned(inner, handle)?;
            if inner.work.is_some() {
                return Err(refusal(AllocError::Busy));
            }
            let (mut pool, _held) = cx.machine.memory.lock(&mut held);
            inner.sync(&mut pool.allocator);
            let scrub = pool.allocator.mem_free_held(mem.id, &inner.account).map_err(refusal)?;
            inner.handles.flag(handle.index(), Flags::FREEING, Flags::empty());
            inner.work = Some(Work::new(scrub, Goal::Pool { handle: Some(handle), is_orphan: false }));
        }
        // Without the lock of all memory: others do not wait for it.
        let work = inner.work.as_mut().ok_or(CallError::bare(Code::Internal))?;
        let done = work.step();
        let left = work.left();
        if left == 0 {
            let (mut pool, _held) = cx.machine.memory.lock(&mut held);
            let Pool { allocator, own, .. } = &mut *pool;
            inner.finish_return(allocator, own).map_err(bug)?;
        }
        Ok(Outcome::Reply(MemFreeReply { left, done }))
    }
}

impl Handle for MemSplit {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<MemSplitReply>, CallError> {
        let MemHandle(handle) = self.mem;
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let mem = owned(inner, handle)?;
        let half = mem.pages / 2;
        if half == 0 {
            return Err(CallError::of(Code::Invalid, 1, Reason::TooSmall, 2));
        }
        if self.offset != half << 12 {
            return Err(CallError::of(Code::Invalid, 2, Reason::UnknownValue, half));
        }
        let entry = inner.handles.find_free(cx.vm.handle_limit).map_err(|error| CallError::Handle(0, error))?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        inner.sync(&mut pool.allocator);
        let (id, base) = pool.allocator.mem_split(mem.id, &inner.account).map_err(refusal)?;
        let first = MemRef { pages: half, ..mem };
        inner.handles.set_mem(handle.index(), &first);
        let second = Object::Mem(MemRef { id, base, ..first });
        let second = inner.handles.insert_at(entry, second).ok_or(CallError::bare(Code::Internal))?;
        Ok(Outcome::Reply(MemSplitReply { second: MemHandle(second) }))
    }
}

impl Handle for MemInfo {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<MemInfoReply>, CallError> {
        let MemHandle(handle) = self.mem;
        let (inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let mem = living(&inner, handle)?;
        let (pool, _held) = cx.machine.memory.lock(&mut held);
        // Borrowed memory that is over is not counted here any more, and may be gone.
        let mapped = pool.allocator.mem_info(mem.id).map_or(0, |info| info.mapped);
        Ok(Outcome::Reply(MemInfoReply { pages: mem.pages, state: state(&mem).bits(), mapped: u64::from(mapped) }))
    }
}

/// Returns how the caller stands to memory.
fn state(mem: &MemRef) -> MemState {
    let mut state = MemState::empty();
    state.set(MemState::OWNED, mem.rights.contains(Rights::OWNER));
    state.set(MemState::BORROWED, mem.flags.contains(Flags::BORROWED));
    state.set(MemState::LENT, mem.flags.contains(Flags::LENT));
    state.set(MemState::REVOKED, mem.flags.contains(Flags::REVOKED));
    state
}
