//! AS, life: making, ending and choosing address spaces, and completing what was left to be invalidated.

use strato_abi::AddressSpaceHandle;
use strato_abi::call::{
    AsCreate, AsCreateReply, AsDestroy, AsDestroyReply, AsSwitch, AsSwitchReply, AsSync, AsSyncReply,
};
use strato_abi::error::{Code, Reason};

use super::address_space::refusal;
use super::{CallError, Handle, Outcome, decode};
use crate::allocator::{AllocError, Selector};
use crate::arch::ram::{Pa, Pages};
use crate::machine::Cx;
use crate::memory::source::{Charged, TableSource};
use crate::memory::stage2::{Progress, SpaceError};
use crate::vcpu::Current;
use crate::vm::handles::Object;
use crate::vm::spaces::{EndError, SPACES_MAX};

impl Handle for AsCreate {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsCreateReply>, CallError> {
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let full = CallError::of(Code::Full, 0, Reason::TableFull, SPACES_MAX as u64);
        let slot = inner.spaces.vacant().ok_or(full)?;
        let handle = inner
            .handles
            .insert(Object::Space(slot), cx.vm.handle_limit)
            .map_err(|error| CallError::Handle(0, error))?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        match inner.spaces.create(slot, handle, &mut pool.allocator, &mut inner.account) {
            Ok(()) => Ok(Outcome::Reply(AsCreateReply { space: AddressSpaceHandle(handle) })),
            Err(error) => {
                inner.handles.remove(handle);
                Err(refusal(error, 0))
            }
        }
    }
}

/// Counts the pages that are unmapped on the way to the ledger.
struct Counting<'a, S> {
    source: &'a mut S,
    pages: u64,
}

impl<S: TableSource> TableSource for Counting<'_, S> {
    fn take_table(&mut self) -> Result<Pages, AllocError> {
        self.source.take_table()
    }

    fn give_table_back(&mut self, frame: Pages) {
        self.source.give_table_back(frame);
    }

    fn unmapped(&mut self, pa: Pa, pages: u64) {
        self.pages = self.pages.saturating_add(pages);
        self.source.unmapped(pa, pages);
    }

    fn piece(&mut self, pa: Pa) -> u64 {
        self.source.piece(pa)
    }

    fn interrupt_pending(&mut self) -> bool {
        self.source.interrupt_pending()
    }
}

impl Handle for AsDestroy {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsDestroyReply>, CallError> {
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let slot = decode::space(inner, &cx.context, self.space)?;
        let handle = inner.spaces.handle(slot).ok_or(CallError::bare(Code::Internal))?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut charged = Charged::new(&mut pool.allocator, &mut inner.account, || false);
        let mut source = Counting { source: &mut charged, pages: 0 };
        let progress = inner.spaces.end(slot, &mut source).map_err(|error| match error {
            EndError::First => CallError::of(Code::Denied, 1, Reason::NotAllowed, 0),
            EndError::Current => CallError::of(Code::Busy, 1, Reason::None, 0),
        })?;
        let done = source.pages;
        if progress == Progress::Done {
            inner.handles.remove(handle);
            inner.handles.forget_space(slot);
        }
        Ok(Outcome::Reply(AsDestroyReply { left: u64::from(progress == Progress::More), done }))
    }
}

impl Handle for AsSwitch {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsSwitchReply>, CallError> {
        let (mut guard, _) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *guard;
        let from = cx.context.space.slot;
        let to = decode::space(inner, &cx.context, self.space)?;
        let previous = inner.spaces.handle(from).ok_or(CallError::bare(Code::Internal))?;
        if to != from {
            if !inner.spaces.switch(from, to) {
                return Err(refusal(SpaceError::Dying, 0));
            }
            let selector = inner.spaces.get(to).map_or(Selector::NONE, |space| space.selector());
            cx.context.space = Current { slot: to, selector: cx.cpu.trusted(selector) };
        }
        // Under the lock: the address space that is left may be ended, and its root be somebody else's, as soon as that is open.
        let is_selected = cx.cpu.select(&cx.machine.vmids, cx.context.space.selector);
        drop(guard);
        if !is_selected {
            cx.renew_space();
        }
        Ok(Outcome::Reply(AsSwitchReply { previous: AddressSpaceHandle(previous) }))
    }
}

impl Handle for AsSync {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<AsSyncReply>, CallError> {
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let inner = &mut *inner;
        let slot = decode::space(inner, &cx.context, self.space)?;
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut source = Charged::new(&mut pool.allocator, &mut inner.account, || false);
        let space = inner.spaces.get_mut(slot).ok_or(CallError::bare(Code::Internal))?;
        space.sync(&mut source).map_err(|error| refusal(error, 0))?;
        Ok(Outcome::Reply(AsSyncReply {}))
    }
}
