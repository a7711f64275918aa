//! Shares: what SHARE.OFFER, ACCEPT and INFO have to answer and do.

use strato_abi::address_space::Attributes;
use strato_abi::call::{ShareAccept, ShareInfo, ShareOffer};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::Handle;
use strato_abi::share::{ShareState, Verb};

use crate::mem::{FULL, reply};
use crate::ranges::Ranges;
use crate::state::{Answer, Borrow, Mem, Model, Named, Refusals, Share, refusal};
use crate::talk::Refusal;

impl Model {
    /// Returns the VM that argument 1 names, if it has not ended.
    fn living_peer(&self, vm: usize, handle: Handle) -> Result<usize, Refusals> {
        let peer = self.vms[vm].peer(handle).map_err(|refusal| vec![refusal])?;
        let gone = refusal(Code::PeerGone, 1, Reason::None);
        if self.vms[peer].is_alive { Ok(peer) } else { Err(vec![gone]) }
    }

    pub(crate) fn share_offer(&mut self, vm: usize, call: &ShareOffer) -> Result<Answer, Refusals> {
        let peer = self.living_peer(vm, call.peer.0)?;
        self.sync(vm);
        let (_, mem) = self.vms[vm].mem(call.mem.0, 2).map_err(|refusal| vec![refusal])?;
        let refusals = self.wrong_in_offer(call, mem);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        if !self.vms[vm].has_room() {
            return Err(vec![FULL]);
        }
        let mem = mem.clone();
        let share = Share {
            object: mem.object,
            mem: call.mem.0,
            first: mem.first.plus(call.offset >> 12),
            pages: call.pages,
            terms: call.terms,
            tag: call.tag,
            state: ShareState::Offered,
            peer,
            far: None,
            cursor: (0, 0),
        };
        self.objects[mem.object].references += 1;
        if call.terms.verb != Verb::Share {
            self.vms[vm].mem_mut(usize::from(call.mem.0.index())).is_lent = true;
        }
        let index = self.vms[vm].put(Named::Share(share));
        let handle = u64::from(self.vms[vm].handle(index).bits());
        Ok(reply(&[handle, handle]))
    }

    /// Returns what is wrong with an offer of `mem`.
    fn wrong_in_offer(&self, call: &ShareOffer, mem: &Mem) -> Refusals {
        let mut refusals = Vec::new();
        let mut check = |is_wrong: bool, wrong: Refusal| refusals.extend(is_wrong.then_some(wrong));
        check(mem.rights & 8 == 0, refusal(Code::Denied, 2, Reason::NotOwner));
        check(!call.offset.is_multiple_of(4096), refusal(Code::Misaligned, 3, Reason::Misaligned));
        check(call.pages == 0, refusal(Code::Invalid, 4, Reason::TooSmall));
        let is_past = (call.offset >> 12).saturating_add(call.pages) > mem.pages;
        check(is_past, refusal(Code::Overflow, 3, Reason::PastEnd));
        let rights = call.terms.rights;
        check(!rights.contains(Attributes::READ), refusal(Code::Invalid, 5, Reason::TooSmall));
        check(rights.bits() & !mem.rights != 0, refusal(Code::Denied, 5, Reason::NoRight));
        check(mem.is_lent || mem.is_freeing, refusal(Code::State, 2, Reason::None));
        if call.terms.verb != Verb::Share {
            check(call.pages != mem.pages, refusal(Code::Invalid, 4, Reason::TooSmall));
            check(self.is_used(mem.object), refusal(Code::Busy, 2, Reason::None));
        }
        refusals
    }

    /// Returns the entries of the offers of `from` to `vm` that are open.
    pub(crate) fn open_offers(&self, from: usize, vm: usize) -> impl Iterator<Item = (usize, &Share)> {
        self.vms[from].shares().filter(move |(_, share)| share.peer == vm && share.state == ShareState::Offered)
    }

    pub(crate) fn share_accept(&mut self, vm: usize, call: &ShareAccept) -> Result<Answer, Refusals> {
        let owner = self.living_peer(vm, call.peer.0)?;
        let offer = if call.key == 0 {
            self.open_offers(owner, vm).next().ok_or(refusal(Code::Empty, 2, Reason::None))
        } else {
            let is_it = |&(index, _): &(usize, &Share)| u64::from(self.vms[owner].handle(index).bits()) == call.key;
            self.open_offers(owner, vm).find(is_it).ok_or(refusal(Code::Invalid, 2, Reason::UnknownValue))
        };
        let (at, share) = offer.map(|(at, share)| (at, share.clone())).map_err(|refusal| vec![refusal])?;
        if !share.terms.rights.contains(call.rights) {
            return Err(vec![refusal(Code::Denied, 3, Reason::NoRight)]);
        }
        if !self.vms[vm].has_room() {
            return Err(vec![FULL]);
        }
        let index = if share.terms.verb == Verb::Donate {
            self.take_donation(vm, owner, &share)?
        } else {
            let rights = if call.rights.is_empty() { share.terms.rights } else { call.rights }.bits();
            let (ranges, from) = (Ranges::default(), (owner, at));
            let borrow = Borrow { from, ranges, is_revoked: false, is_over: false, is_orphan: false };
            let Share { object, first, pages, .. } = share;
            let mem = Mem { object, first, pages, rights, is_lent: false, is_freeing: false, borrow: Some(borrow) };
            self.vms[vm].put(Named::Mem(mem))
        };
        let state = if share.terms.verb == Verb::Donate { ShareState::Donated } else { ShareState::Accepted };
        let offered = self.vms[owner].share_mut(at);
        (offered.state, offered.far) = (state, Some(index));
        Ok(reply(&[u64::from(self.vms[vm].handle(index).bits()), share.pages, share.tag]))
    }

    /// Gives `vm` the object of a donation for good; returns the entry of its handle.
    fn take_donation(&mut self, vm: usize, owner: usize, share: &Share) -> Result<usize, Refusals> {
        let is_paid = self.left(vm) >= share.pages;
        let index = self.own(vm, share.object);
        if !is_paid {
            self.vms[vm].remove(index); // a generation of the entry is used up, which nobody can tell
            return Err(vec![refusal(Code::Quota, 0, Reason::None)]);
        }
        self.vms[vm].mem_mut(index).rights = self.vms[owner].mem(share.mem, 0).expect("it waits to be given").1.rights;
        self.vms[owner].remove(usize::from(share.mem.index()));
        let object = &mut self.objects[share.object];
        object.owner = Some(vm);
        object.references -= 1;
        Ok(index)
    }

    pub(crate) fn share_info(&mut self, vm: usize, call: &ShareInfo) -> Result<Answer, Refusals> {
        let (_, share) = self.vms[vm].share(call.share.0, 1).map_err(|refusal| vec![refusal])?;
        Ok(reply(&[share.state as u64, share.terms.bits(), share.pages]))
    }
}
