//! Maps: what the calls of group AS have to answer and do.

use strato_abi::addr::{IPA_BITS, Ipa, WINDOW_BASE, WINDOW_SIZE};
use strato_abi::address_space::{Attributes, LastFault, UnmapFlags};
use strato_abi::call::{AsCreate, AsDestroy, AsMap, AsProtect, AsQuery, AsSwitch, AsSync, AsUnmap};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::AddressSpaceHandle;

use crate::mem::{FULL, reply};
use crate::space::{End, Leaf, Space, WINDOW};
use crate::state::{Answer, Borrow, Model, Named, Refusals, refusal};
use crate::talk::Refusal;

/// What a space that is being ended refuses.
const DYING: Refusal = (Code::State, 1, Reason::None);
/// The tables of an address space that has nothing but the window.
const NEW_TABLES: u64 = 3;

/// Returns what is wrong with a range of pages.
fn range(start: Ipa, pages: u64, argument: usize) -> Refusals {
    let (first, window) = (start.bytes() >> 12, WINDOW_BASE >> 12);
    let mut refusals = Vec::new();
    refusals.extend((pages == 0).then_some(refusal(Code::Invalid, argument, Reason::TooSmall)));
    refusals.extend((!start.is_page_aligned()).then_some(refusal(Code::Misaligned, 2, Reason::Misaligned)));
    let end = first.saturating_add(pages);
    let is_past = end > 1 << (IPA_BITS - 12);
    refusals.extend(is_past.then_some(refusal(Code::Overflow, argument, Reason::PastEnd)));
    let is_reserved = first == 0 || (first < window + (WINDOW_SIZE >> 12) && end > window);
    refusals.extend(is_reserved.then_some(refusal(Code::BadAddress, 2, Reason::Reserved)));
    refusals
}

/// Returns what is wrong with attributes in a VM without `jit`.
fn attributes(wanted: Attributes, argument: usize) -> Refusals {
    let is_readable = wanted.contains(Attributes::READ);
    let is_both = wanted.contains(Attributes::WRITE | Attributes::EXECUTE);
    let mut refusals = Vec::new();
    refusals.extend((!is_readable).then_some(refusal(Code::BadAttribute, argument, Reason::TooSmall)));
    refusals.extend(is_both.then_some(refusal(Code::BadAttribute, argument, Reason::WriteExecute)));
    refusals
}

impl Model {
    /// Returns the slot of `space`, or adds why it is refused.
    fn slot(&self, vm: usize, space: AddressSpaceHandle, mut refusals: Refusals) -> Result<u8, Refusals> {
        match self.vms[vm].slot(space) {
            Ok(slot) if refusals.is_empty() => return Ok(slot),
            Ok(slot) => refusals.extend((self.is_dying(vm, slot)).then_some(DYING)),
            Err(refusal) => refusals.push(refusal),
        }
        Err(refusals)
    }

    fn is_dying(&self, vm: usize, slot: u8) -> bool {
        self.vms[vm].spaces[usize::from(slot)].as_ref().is_some_and(|space| space.end != End::No)
    }

    /// Makes `slot` the one whose invalidations may be left, with what is left in another completed.
    fn be_late(&mut self, vm: usize, slot: u8) {
        if self.vms[vm].late != slot {
            self.sync(vm);
            self.vms[vm].late = slot;
        }
    }

    pub(crate) fn as_map(&mut self, vm: usize, call: &AsMap) -> Result<Answer, Refusals> {
        let mut refusals = range(call.address, call.pages, 5);
        refusals.extend(attributes(call.attributes, 6));
        let mem = self.vms[vm].mem(call.mem.0, 3).map(|(index, mem)| (index, mem.clone()));
        match &mem {
            Err(refusal) => refusals.push(*refusal),
            Ok((_, mem)) => {
                let is_revoked = mem.borrow.as_ref().is_some_and(|borrow| borrow.is_revoked);
                refusals.extend(is_revoked.then_some(refusal(Code::Revoked, 3, Reason::None)));
                refusals.extend((mem.is_lent || mem.is_freeing).then_some(refusal(Code::State, 3, Reason::None)));
                let is_more = call.attributes.bits() & !mem.rights != 0;
                refusals.extend(is_more.then_some(refusal(Code::Denied, 6, Reason::NoRight)));
                let is_whole = call.offset.is_multiple_of(4096);
                refusals.extend((!is_whole).then_some(refusal(Code::Misaligned, 4, Reason::Misaligned)));
                let is_inside = (call.offset >> 12).saturating_add(call.pages) <= mem.pages;
                refusals.extend((!is_inside).then_some(refusal(Code::Overflow, 4, Reason::PastEnd)));
            }
        }
        let slot = self.slot(vm, call.space, refusals)?;
        let (index, mem) = mem.expect("refused otherwise");
        let first = call.address.bytes() >> 12;
        let pages = first..first + call.pages;
        let ranges = mem.borrow.as_ref().map(|borrow| borrow.ranges.with((slot, pages.start, pages.end)));
        let mut refusals = Vec::new();
        refusals.extend((ranges == Some(None)).then_some(refusal(Code::Full, 3, Reason::TableFull)));
        refusals.extend(self.is_dying(vm, slot).then_some(DYING));
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let space = self.space(vm, slot);
        space.complete();
        if space.pages.range(pages.clone()).next().is_some() {
            return Err(vec![refusal(Code::Exists, 2, Reason::None)]);
        }
        if !self.pay(vm, slot, pages.clone()) {
            return Err(vec![refusal(Code::Quota, 0, Reason::None)]);
        }
        let (rights, most) = (call.attributes.bits(), mem.rights & 7);
        let leaf = |by| Leaf { object: mem.object, frame: mem.first.plus((call.offset >> 12) + by), rights, most };
        self.space(vm, slot).pages.extend((0..).zip(pages).map(|(by, page)| (page, leaf(by))));
        if let Some(ranges) = ranges.flatten() {
            self.vms[vm].borrow_mut(index).ranges = ranges;
        }
        Ok(reply(&[3, call.pages]))
    }

    pub(crate) fn as_unmap(&mut self, vm: usize, call: &AsUnmap) -> Result<Answer, Refusals> {
        let slot = self.slot(vm, call.space, range(call.address, call.pages, 3))?;
        let is_later = call.flags.contains(UnmapFlags::NO_SYNC);
        if is_later {
            self.be_late(vm, slot);
        }
        if self.is_dying(vm, slot) {
            return Err(vec![DYING]);
        }
        let first = call.address.bytes() >> 12;
        let pages = first..first + call.pages;
        let space = self.space(vm, slot);
        if !is_later {
            space.complete();
        }
        if space.pages.range(pages.clone()).count() as u64 != call.pages {
            return Err(vec![refusal(Code::NotMapped, 2, Reason::None)]);
        }
        space.unmap(pages.clone(), is_later);
        self.trim(vm, (slot, pages.start, pages.end));
        Ok(reply(&[0, call.pages]))
    }

    /// Takes pages that are unmapped out of the ranges of what `vm` has borrowed; a revoke under way counts how far in them it
    /// has come.
    fn trim(&mut self, vm: usize, gone: (u8, u64, u64)) {
        for borrow in self.borrows(vm).filter(|borrow| !borrow.is_revoked || borrow.is_over) {
            borrow.ranges = borrow.ranges.without(gone);
        }
    }

    fn borrows(&mut self, vm: usize) -> impl Iterator<Item = &mut Borrow> {
        let mems = self.vms[vm].entries.iter_mut().filter_map(|entry| entry.named.mem_mut());
        mems.filter_map(|mem| mem.borrow.as_mut())
    }

    pub(crate) fn as_protect(&mut self, vm: usize, call: &AsProtect) -> Result<Answer, Refusals> {
        let mut refusals = range(call.address, call.pages, 3);
        refusals.extend(attributes(call.attributes, 4));
        let slot = self.slot(vm, call.space, refusals)?;
        let is_later = call.flags.contains(UnmapFlags::NO_SYNC);
        if is_later {
            self.be_late(vm, slot);
        }
        if self.is_dying(vm, slot) {
            return Err(vec![DYING]);
        }
        let first = call.address.bytes() >> 12;
        let (pages, rights) = (first..first + call.pages, call.attributes.bits());
        let space = self.space(vm, slot);
        if !is_later {
            space.complete();
        }
        if space.pages.range(pages.clone()).count() as u64 != call.pages {
            return Err(vec![refusal(Code::NotMapped, 2, Reason::None)]);
        }
        if space.pages.range(pages.clone()).any(|(_, leaf)| rights & !leaf.most != 0) {
            return Err(vec![refusal(Code::Denied, 4, Reason::NoRight)]);
        }
        space.is_late |= is_later;
        space.pages.range_mut(pages).for_each(|(_, leaf)| leaf.rights = rights);
        Ok(reply(&[0, call.pages]))
    }

    pub(crate) fn as_query(&mut self, vm: usize, call: &AsQuery) -> Result<Answer, Refusals> {
        let slot = self.slot(vm, call.space, Vec::new())?;
        if self.is_dying(vm, slot) {
            return Err(vec![DYING]);
        }
        let page = call.address.bytes() >> 12;
        if WINDOW.contains(&page) {
            return Err(vec![refusal(Code::BadAddress, 2, Reason::Reserved)]);
        }
        let Some(leaf) = self.space(vm, slot).pages.get(&page).copied() else {
            let mut borrowed = self.vms[vm].mems().filter_map(|(_, mem)| mem.borrow.as_ref());
            let was_revoked = borrowed.any(|borrow| borrow.is_revoked && borrow.ranges.contains(slot, page));
            return Ok(Answer::NotMapped(if was_revoked { LastFault::Revoked as u64 } else { 0 }));
        };
        let vm = &self.vms[vm];
        let part = |(index, mem): (usize, &crate::state::Mem)| {
            let is_over = mem.borrow.as_ref().is_some_and(|borrow| borrow.is_over);
            let at = leaf.frame.in_part(mem.first, mem.pages).filter(|_| mem.object == leaf.object && !is_over)?;
            Some((vm.handle(index), at))
        };
        let (handle, at) = vm.mems().find_map(part).expect("what is mapped is held");
        Ok(reply(&[u64::from(handle.bits()), at << 12, leaf.rights, 3, 0]))
    }

    pub(crate) fn as_create(&mut self, vm: usize, _: &AsCreate) -> Result<Answer, Refusals> {
        let slot = self.vms[vm].spaces.iter().position(Option::is_none);
        let Some(slot) = slot.filter(|_| self.vms[vm].has_room()) else { return Err(vec![FULL]) };
        let is_paid = self.left(vm) >= NEW_TABLES;
        let index = self.vms[vm].put(Named::Space(slot as u8));
        if !is_paid {
            self.vms[vm].remove(index); // a generation of the entry is used up, which nobody can tell
            return Err(vec![refusal(Code::Quota, 0, Reason::None)]);
        }
        self.vms[vm].spaces[slot] = Some(Space::new(Some(index)));
        Ok(reply(&[u64::from(self.vms[vm].handle(index).bits())]))
    }

    pub(crate) fn as_destroy(&mut self, vm: usize, call: &AsDestroy, whole: bool) -> Result<Answer, Refusals> {
        let slot = self.slot(vm, call.space, Vec::new())?;
        if slot == 0 {
            return Err(vec![refusal(Code::Denied, 1, Reason::NotAllowed)]);
        }
        if slot == self.vms[vm].current {
            return Err(vec![refusal(Code::Busy, 1, Reason::None)]);
        }
        let space = self.space(vm, slot);
        if space.end == End::No && !whole {
            // The first call hides everything and frees nothing but what had waited.
            let done = space.complete();
            space.end = End::Begun;
            return Ok(reply(&[1, done]));
        }
        let waiting = space.pending.iter().map(|(_, frames)| frames.len()).sum::<usize>();
        let done = if space.end == End::Emptied { 0 } else { space.pages.len() + waiting + WINDOW.len() };
        let index = space.index.expect("not the first");
        self.vms[vm].spaces[usize::from(slot)] = None;
        self.vms[vm].remove(index);
        self.borrows(vm).for_each(|borrow| borrow.ranges = borrow.ranges.without((slot, 0, 1 << (IPA_BITS - 12))));
        Ok(Answer::Reply { results: vec![Some(0), Some(done as u64)], repeats: true })
    }

    pub(crate) fn as_switch(&mut self, vm: usize, call: &AsSwitch) -> Result<Answer, Refusals> {
        let slot = self.slot(vm, call.space, Vec::new())?;
        if self.is_dying(vm, slot) {
            return Err(vec![DYING]);
        }
        let previous = self.space_handle(vm, self.vms[vm].current);
        self.vms[vm].current = slot;
        Ok(reply(&[previous]))
    }

    /// Returns the handle of the address space in `slot`.
    pub(crate) fn space_handle(&self, vm: usize, slot: u8) -> u64 {
        let space = self.vms[vm].spaces[usize::from(slot)].as_ref().expect("the slot is in use");
        let handle = space.index.map_or(AddressSpaceHandle::FIRST.0, |index| self.vms[vm].handle(index));
        u64::from(handle.bits())
    }

    pub(crate) fn as_sync(&mut self, vm: usize, call: &AsSync) -> Result<Answer, Refusals> {
        let slot = self.slot(vm, call.space, Vec::new())?;
        if self.is_dying(vm, slot) {
            return Err(vec![DYING]);
        }
        self.space(vm, slot).complete();
        Ok(reply(&[]))
    }
}
