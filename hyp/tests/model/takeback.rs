//! Take back: how shared memory comes back, by its borrower, by its owner, and by the end of either.

use strato_abi::call::{ShareRelinquish, ShareRevoke};
use strato_abi::error::{Code, Reason};
use strato_abi::share::{RevokePolicy, ShareState, Verb};

use crate::mem::reply;
use crate::space::End;
use crate::state::{Answer, Borrow, Mem, Model, Named, Refusals, Share, refusal};

/// What a call that takes memory away came to: pages, and whether more calls are due.
struct Part {
    pages: u64,
    is_more: bool,
}

impl Model {
    /// Takes the pages of `range` away that show memory of entry `index`. Returns the pages, and how many of the range are settled.
    /// An address space that is being ended anyway is emptied as a whole, which no call counts.
    fn clear(&mut self, vm: usize, index: usize, range: (u8, u64, u64)) -> (u64, u64) {
        let Mem { first, pages, .. } = *self.vms[vm].mem_mut(index);
        let (slot, from, end) = range;
        let Some(space) = self.vms[vm].spaces[usize::from(slot)].as_mut() else { return (0, end - from) };
        if space.end != End::No {
            space.pages.clear();
            space.end = End::Emptied;
            return (0, end - from);
        }
        space.clear((from, end), (first, pages))
    }

    /// Returns whether the range of entry `index` after `skipped` ones lies in an address space that is being ended: how many
    /// calls that takes is the hypervisor's affair.
    fn is_slow(&self, vm: usize, index: usize, skipped: usize) -> bool {
        let borrow = self.vms[vm].entries[index].named.mem().and_then(|mem| mem.borrow.as_ref());
        let slot = borrow.and_then(|borrow| borrow.ranges.from(skipped)).map(|(_, (slot, ..))| usize::from(slot));
        let space = slot.and_then(|slot| self.vms[vm].spaces[slot].as_ref());
        space.is_some_and(|space| space.end == End::Begun)
    }

    /// Takes a part of borrowed memory away that its borrower gives back.
    fn take_part(&mut self, vm: usize, index: usize) -> Part {
        if self.sync(vm) {
            // A call that completes those does no more.
            return Part { pages: 0, is_more: self.vms[vm].borrow_mut(index).ranges.iter().next().is_some() };
        }
        let Some(range) = self.vms[vm].borrow_mut(index).ranges.iter().next() else {
            return Part { pages: 0, is_more: false };
        };
        let (pages, settled) = self.clear(vm, index, range);
        let borrow = self.vms[vm].borrow_mut(index);
        borrow.ranges = borrow.ranges.without((range.0, range.1, range.1 + settled));
        Part { pages, is_more: borrow.ranges.iter().next().is_some() }
    }

    pub(crate) fn share_relinquish(
        &mut self,
        vm: usize,
        call: &ShareRelinquish,
        whole: bool,
    ) -> Result<Answer, Refusals> {
        let (index, mem) = self.vms[vm].mem(call.mem.0, 1).map_err(|refusal| vec![refusal])?;
        let Some(borrow) = mem.borrow.clone() else {
            return Err(vec![refusal(Code::Denied, 1, Reason::NotAllowed)]);
        };
        if borrow.is_over {
            self.vms[vm].remove(index);
            return Ok(reply(&[0, 0]));
        }
        let object = mem.object;
        // Nobody else holds it, so that it goes to the pool.
        let is_last = borrow.is_orphan && self.objects[object].references <= 1;
        let is_going = self.vms[vm].work.is_some_and(|(of, _)| of == call.mem.0);
        if is_last && !is_going && self.vms[vm].work.is_some() {
            return Err(vec![refusal(Code::Busy, 1, Reason::None)]);
        }
        let (mut sum, mut repeats) = (0, whole);
        loop {
            repeats |= self.is_slow(vm, index, 0);
            let part = self.take_part(vm, index);
            self.vms[vm].mem_mut(index).is_freeing = true;
            sum += part.pages;
            let is_more = part.is_more || is_last && self.scrub_last(vm, index, object);
            if is_more && !repeats {
                return Ok(reply(&[1, sum]));
            }
            if !is_more {
                break;
            }
        }
        if !is_last {
            let (owner, at) = borrow.from;
            if borrow.is_orphan {
                self.objects[object].references -= 1;
            } else {
                self.end_share(owner, at, ShareState::Relinquished);
            }
            self.vms[vm].remove(index);
        }
        Ok(Answer::Reply { results: vec![Some(0), Some(sum)], repeats })
    }

    /// Does a step on the way to the pool of memory whose owner has ended. Returns whether more are due.
    fn scrub_last(&mut self, vm: usize, index: usize, object: usize) -> bool {
        if self.vms[vm].work.is_none() {
            self.objects[object].references = 0;
            self.vms[vm].work = Some((self.vms[vm].handle(index), self.objects[object].pages));
        }
        self.scrub(vm).0 != 0
    }

    /// Ends the share of entry `at`, whose memory is the owner's alone again.
    fn end_share(&mut self, owner: usize, at: usize, state: ShareState) {
        let share = self.vms[owner].share_mut(at);
        share.state = state;
        let Share { object, mem, terms, .. } = *share;
        self.objects[object].references -= 1;
        if terms.verb != Verb::Share && self.vms[owner].mem(mem, 0).is_ok() {
            self.vms[owner].mem_mut(usize::from(mem.index())).is_lent = false;
        }
    }

    pub(crate) fn share_revoke(&mut self, vm: usize, call: &ShareRevoke, whole: bool) -> Result<Answer, Refusals> {
        let (at, share) = self.vms[vm].share(call.share.0, 1).map_err(|refusal| vec![refusal])?;
        let (state, peer, far) = (share.state, share.peer, share.far);
        if state == ShareState::Offered {
            self.end_share(vm, at, ShareState::Revoked);
            return Ok(reply(&[ShareState::Revoked as u64, 0]));
        }
        if !share.is_out() {
            return Err(vec![refusal(Code::State, 1, Reason::None)]);
        }
        if state != ShareState::Revoking && call.policy == RevokePolicy::Ask {
            self.vms[vm].share_mut(at).state = ShareState::Asked;
            return Ok(reply(&[ShareState::Asked as u64, 0]));
        }
        let far = far.expect("the borrower has a handle");
        let (mut sum, mut repeats) = (0, whole);
        loop {
            let part = self.force(vm, at, peer, far, &mut repeats);
            sum += part.pages;
            if part.is_more && !repeats {
                self.vms[vm].share_mut(at).state = ShareState::Revoking;
                return Ok(reply(&[ShareState::Revoking as u64, sum]));
            }
            if !part.is_more {
                break;
            }
        }
        self.vms[peer].borrow_mut(far).is_over = true;
        self.end_share(vm, at, ShareState::Revoked);
        Ok(Answer::Reply { results: vec![Some(ShareState::Revoked as u64), Some(sum)], repeats })
    }

    /// Takes a part away that the borrower does not give back by itself.
    fn force(&mut self, vm: usize, at: usize, peer: usize, far: usize, repeats: &mut bool) -> Part {
        let is_spent = self.sync(peer);
        let is_given = self.vms[peer].mem_mut(far).is_freeing;
        let (number, page) = self.vms[vm].share_mut(at).cursor;
        *repeats |= self.is_slow(peer, far, if is_given { 0 } else { number });
        self.vms[peer].borrow_mut(far).is_revoked = true;
        let ranges = self.vms[peer].borrow_mut(far).ranges;
        if is_spent {
            return Part { pages: 0, is_more: ranges.from(if is_given { 0 } else { number }).is_some() };
        }
        if is_given {
            return self.take_part(peer, far);
        }
        let (mut pages, mut next) = (0, (number, 0));
        if let Some((found, (slot, first, end))) = ranges.from(number) {
            let (number, page) = (found, if found == number { page } else { 0 });
            let (gone, settled) = self.clear(peer, far, (slot, first + page, end));
            pages = gone;
            next = if first + page + settled >= end { (number + 1, 0) } else { (number, page + settled) };
        }
        self.vms[vm].share_mut(at).cursor = next;
        Part { pages, is_more: ranges.from(next.0).is_some() }
    }

    /// Ends `vm` (SPEC 14.9): offers are withdrawn, those to it are over, what it borrowed counts as relinquished, what others borrowed of it stays theirs to use.
    pub(crate) fn end(&mut self, vm: usize) {
        let entries = self.vms[vm].entries.clone();
        for share in entries.iter().filter_map(|entry| entry.named.share()) {
            if share.state == ShareState::Offered {
                self.objects[share.object].references -= 1;
            } else if share.is_out() {
                self.vms[share.peer].borrow_mut(share.far.expect("it is out")).is_orphan = true;
            }
        }
        if let Some((handle, _)) = self.vms[vm].work {
            let object = self.vms[vm].mem_mut(usize::from(handle.index())).object;
            self.objects[object].is_gone = true;
        }
        self.vms[vm].spaces = [const { None }; 8];
        for mem in entries.iter().filter_map(|entry| entry.named.mem()) {
            match &mem.borrow {
                Some(borrow) if borrow.is_over => {}
                Some(Borrow { is_orphan: false, from: (owner, at), .. }) => {
                    self.end_share(*owner, *at, ShareState::Relinquished);
                }
                Some(_) | None if !self.objects[mem.object].is_gone => self.let_go(vm, mem.object),
                Some(_) | None => {}
            }
        }
        for owner in (0..self.vms.len()).filter(|&owner| owner != vm) {
            let open: Vec<usize> = self.open_offers(owner, vm).map(|(at, _)| at).collect();
            open.into_iter().for_each(|at| self.end_share(owner, at, ShareState::Relinquished));
        }
        let vm = &mut self.vms[vm];
        (vm.is_alive, vm.work) = (false, None);
        vm.entries.iter_mut().for_each(|entry| entry.named = Named::Nothing);
    }

    /// Drops a handle of a VM that ends to an object: the last one takes it to the pool, an owner leaves it to the others.
    fn let_go(&mut self, vm: usize, object: usize) {
        let object = &mut self.objects[object];
        object.references -= 1;
        if object.references == 0 {
            object.is_gone = true;
        } else if object.owner == Some(vm) {
            object.owner = None;
        }
    }
}
