//! Mem: what the calls of group MEM, and those about any handle, have to answer and do.

use strato_abi::call::{CoreHandleDrop, CoreHandleInfo, MemAlloc, MemFree, MemInfo, MemSplit};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::{AddressSpaceHandle, Handle, Kind};
use strato_abi::mem::{MEM_PAGES_MAX, MemState, SCRUB_PAGES_PER_CALL};
use strato_abi::share::ShareState;

use crate::state::{Answer, Frame, Mem, Model, Named, Object, Refusals, refusal};

/// The rights of an owner: all.
pub(crate) const ALL: u64 = 15;
const OWNER: u64 = 8;

pub(crate) const FULL: (Code, usize, Reason) = (Code::Full, 0, Reason::TableFull);

/// Returns the answer with these results.
pub(crate) fn reply(results: &[u64]) -> Answer {
    Answer::Reply { results: results.iter().copied().map(Some).collect(), repeats: false }
}

impl Model {
    /// Makes an object of `pages` pages that `owner` holds by one handle; returns its number.
    pub(crate) fn make(&mut self, owner: usize, pages: u64) -> usize {
        let first = Frame { alloc: self.allocs, page: 0 };
        self.allocs += 1;
        self.objects.push(Object { first, pages, owner: Some(owner), references: 1, is_gone: false });
        self.objects.len() - 1
    }

    /// Gives `vm` the handle of its own object `object`; returns the entry.
    pub(crate) fn own(&mut self, vm: usize, object: usize) -> usize {
        let Object { first, pages, .. } = self.objects[object];
        let mem = Mem { object, first, pages, rights: ALL, is_lent: false, is_freeing: false, borrow: None };
        self.vms[vm].put(Named::Mem(mem))
    }

    pub(crate) fn mem_alloc(&mut self, vm: usize, call: &MemAlloc) -> Result<Answer, Refusals> {
        let why = match call.pages {
            0 => Some(Reason::TooSmall),
            1..=MEM_PAGES_MAX if call.pages.is_power_of_two() => None,
            1..=MEM_PAGES_MAX => Some(Reason::Misaligned),
            _ => Some(Reason::TooLarge),
        };
        if let Some(why) = why {
            return Err(vec![refusal(Code::Invalid, 1, why)]);
        }
        let mut refusals = Vec::new();
        refusals.extend(self.vms[vm].work.map(|_| refusal(Code::Busy, 0, Reason::None)));
        refusals.extend((!self.vms[vm].has_room()).then_some(FULL));
        refusals.extend((call.pages > self.left(vm)).then_some(refusal(Code::Quota, 1, Reason::None)));
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let object = self.make(vm, call.pages);
        let index = self.own(vm, object);
        let handle = self.vms[vm].handle(index).bits();
        // How many of them the pool has as zeros is its own affair.
        Ok(Answer::Reply { results: vec![Some(u64::from(handle)), None], repeats: true })
    }

    /// Returns what is refused of memory that the caller has to own.
    fn owned(&self, vm: usize, handle: Handle) -> Result<(usize, &Mem), Refusals> {
        let (index, mem) = self.vms[vm].mem(handle, 1).map_err(|refusal| vec![refusal])?;
        let mut refusals = Vec::new();
        refusals.extend(mem.is_freeing.then_some(refusal(Code::State, 1, Reason::None)));
        refusals.extend((mem.rights & OWNER == 0).then_some(refusal(Code::Denied, 1, Reason::NotOwner)));
        if refusals.is_empty() { Ok((index, mem)) } else { Err(refusals) }
    }

    /// Returns whether the object is mapped somewhere, or anybody but its owner holds it.
    pub(crate) fn is_used(&self, object: usize) -> bool {
        self.mapped(object) != 0 || self.objects[object].references != 1
    }

    /// Does a step of what is under way in `vm`. Returns the pages that are left, and those of this step.
    pub(crate) fn scrub(&mut self, vm: usize) -> (u64, u64) {
        let (handle, left) = self.vms[vm].work.expect("something is under way");
        let done = left.min(SCRUB_PAGES_PER_CALL);
        self.vms[vm].work = Some((handle, left - done));
        if left == done {
            let index = usize::from(handle.index());
            let object = self.vms[vm].mem_mut(index).object;
            self.objects[object].is_gone = true;
            self.vms[vm].remove(index);
            self.vms[vm].work = None;
        }
        (left - done, done)
    }

    pub(crate) fn mem_free(&mut self, vm: usize, call: &MemFree, whole: bool) -> Result<Answer, Refusals> {
        let handle = call.mem.0;
        if self.vms[vm].work.is_none_or(|(of, _)| of != handle) {
            let (index, mem) = self.owned(vm, handle)?;
            let (object, pages) = (mem.object, mem.pages);
            let is_free = self.vms[vm].work.is_none();
            if is_free {
                self.sync(vm);
            }
            if !is_free || self.is_used(object) {
                return Err(vec![refusal(Code::Busy, 1, Reason::None)]);
            }
            self.objects[object].references = 0;
            self.vms[vm].mem_mut(index).is_freeing = true;
            self.vms[vm].work = Some((handle, pages));
        }
        let (mut left, mut done) = self.scrub(vm);
        while whole && left != 0 {
            let more = self.scrub(vm);
            (left, done) = (more.0, done + more.1);
        }
        Ok(Answer::Reply { results: vec![Some(left), Some(done)], repeats: whole })
    }

    pub(crate) fn mem_split(&mut self, vm: usize, call: &MemSplit) -> Result<Answer, Refusals> {
        let (index, mem) = self.owned(vm, call.mem.0)?;
        let (object, half) = (mem.object, mem.pages / 2);
        let mut refusals = Vec::new();
        refusals.extend((half == 0).then_some(refusal(Code::Invalid, 1, Reason::TooSmall)));
        refusals.extend((call.offset != half << 12).then_some(refusal(Code::Invalid, 2, Reason::UnknownValue)));
        refusals.extend((!self.vms[vm].has_room()).then_some(FULL));
        if !refusals.is_empty() {
            return Err(refusals);
        }
        self.sync(vm);
        if self.is_used(object) {
            return Err(vec![refusal(Code::Busy, 1, Reason::None)]);
        }
        let first = self.objects[object].first;
        self.objects[object].pages = half;
        self.vms[vm].mem_mut(index).pages = half;
        let second = Object { first: first.plus(half), ..self.objects[object].clone() };
        self.objects.push(second);
        let second = self.own(vm, self.objects.len() - 1);
        Ok(reply(&[u64::from(self.vms[vm].handle(second).bits())]))
    }

    pub(crate) fn mem_info(&mut self, vm: usize, call: &MemInfo) -> Result<Answer, Refusals> {
        let (_, mem) = self.vms[vm].mem(call.mem.0, 1).map_err(|refusal| vec![refusal])?;
        if mem.is_freeing {
            return Err(vec![refusal(Code::State, 1, Reason::None)]);
        }
        let mut state = MemState::empty();
        state.set(MemState::OWNED, mem.rights & OWNER != 0);
        state.set(MemState::BORROWED, mem.borrow.is_some());
        state.set(MemState::LENT, mem.is_lent);
        state.set(MemState::REVOKED, mem.borrow.as_ref().is_some_and(|borrow| borrow.is_revoked));
        let mapped = if self.objects[mem.object].is_gone { 0 } else { self.mapped(mem.object) };
        Ok(reply(&[mem.pages, state.bits(), mapped]))
    }

    pub(crate) fn handle_drop(&mut self, vm: usize, call: &CoreHandleDrop) -> Result<Answer, Refusals> {
        let in_use = refusal(Code::State, 1, Reason::None);
        if call.handle == AddressSpaceHandle::FIRST.0 {
            return Err(vec![in_use]);
        }
        let (index, named) = self.vms[vm].look(call.handle, 1).map_err(|refusal| vec![refusal])?;
        let is_over = match named {
            Named::Peer(_) => true,
            Named::Mem(mem) => mem.borrow.as_ref().is_some_and(|borrow| borrow.is_over),
            Named::Share(share) => {
                matches!(share.state, ShareState::Relinquished | ShareState::Revoked | ShareState::Donated)
            }
            Named::Space(_) | Named::Nothing => false,
        };
        if !is_over {
            return Err(vec![in_use]);
        }
        self.vms[vm].remove(index);
        Ok(reply(&[]))
    }

    pub(crate) fn handle_info(&mut self, vm: usize, call: &CoreHandleInfo) -> Result<Answer, Refusals> {
        let (kind, rights, far) = if call.handle == AddressSpaceHandle::FIRST.0 {
            (Kind::AddressSpace, 0, None)
        } else {
            let (_, named) = self.vms[vm].look(call.handle, 1).map_err(|refusal| vec![refusal])?;
            let (rights, far) = match named {
                Named::Mem(mem) => (mem.rights, mem.borrow.as_ref().map(|borrow| borrow.from.0)),
                Named::Share(share) => (0, Some(share.peer)),
                Named::Peer(peer) => (0, Some(*peer)),
                Named::Space(_) | Named::Nothing => (0, None),
            };
            (named.kind().expect("it names something"), rights, far)
        };
        let label = far.filter(|&far| self.vms[far].is_alive).map_or(0, |far| u64::from(b'a') + far as u64);
        Ok(reply(&[kind as u64, rights, label, 0, 0, 0]))
    }

    /// Gives `vm` what the plan gives it: its `ram`, its peers, and memory of its own that is mapped nowhere.
    pub(crate) fn born(&mut self, vm: usize) {
        let ram = self.make(vm, crate::state::RAM);
        self.own(vm, ram);
        for peer in (0..self.vms.len()).filter(|&peer| peer != vm) {
            self.vms[vm].put(Named::Peer(peer));
        }
        let own = self.make(vm, crate::state::OWN);
        self.own(vm, own);
    }
}
