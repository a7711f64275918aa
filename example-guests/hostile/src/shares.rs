//! GS: shared memory. Both ends do what they may not, at once too: nothing is mapped that is not granted, and nothing stays.

use strato_guest::abi::{Call, Code};
use strato_guest::{Failure, Info, ensure, ensure_equal};

use crate::objects::{alloc, free};
use crate::puppet::Puppet;
use crate::raw::{call, refused, succeeds};
use crate::scratch::Scratch;

/// Where the two map what they share.
pub(crate) const HERE: u64 = 0x9000_0000;
pub(crate) const THERE: u64 = 0xa000_0000;
pub(crate) const R: u64 = 1;
pub(crate) const RW: u64 = 3;
pub(crate) const LEND: u64 = 1 << 4;
pub(crate) const DONATE: u64 = 2 << 4;
pub(crate) const FORCE: u64 = 1;
pub(crate) const REVOKED: u64 = 6;
const NO_HANDLE: [Code; 3] = [Code::BadHandle, Code::Stale, Code::WrongKind];
pub(crate) const SECRET: u64 = 0x5ec2_e700_1234_5678;

/// An object of the attacker's, offered to the puppet and accepted there.
pub(crate) struct Pair {
    pub(crate) puppet: Puppet,
    pub(crate) peer: u64,
    pub(crate) mem: u64,
    pub(crate) share: u64,
    pub(crate) theirs: u64,
}

pub(crate) fn object(pages: u64) -> Result<u64, Failure> {
    alloc(pages).map_err(|_| "an object is refused".into())
}

pub(crate) fn peer_of(info: &Info) -> Result<u64, Failure> {
    Ok(info.peer("puppet")?.0.bits().into())
}

/// Returns `pages` pages that the puppet has accepted on these terms.
pub(crate) fn pair(info: &Info, pages: u64, terms: u64) -> Result<Pair, Failure> {
    let (puppet, peer, mem) = (Puppet::new(info)?, peer_of(info)?, object(pages)?);
    let [share, key, ..] = succeeds("OFFER", Call::ShareOffer, &[peer, mem, 0, pages, terms, 7])?;
    let [theirs, ..] = puppet.succeeds("ACCEPT", Call::ShareAccept, &[puppet.peer, key, 0])?;
    Ok(Pair { puppet, peer, mem, share, theirs })
}

impl Pair {
    /// Takes the memory back by force.
    pub(crate) fn revoke(&self) -> Result<(), Failure> {
        loop {
            let [state, ..] = succeeds("REVOKE", Call::ShareRevoke, &[self.share, FORCE])?;
            if state == REVOKED {
                return Ok(());
            }
        }
    }

    /// Drops what is left of the share at both ends, and frees the object.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        succeeds("DROP", Call::CoreHandleDrop, &[self.share])?;
        self.puppet.succeeds("DROP there", Call::CoreHandleDrop, &[self.theirs])?;
        free(self.mem)
    }
}

/// Peers that are none, memory that is none, parts that are none, terms that are none.
pub(crate) fn gs01_offers_of_nothing_to_nobody_are_refused(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let (peer, mem) = (peer_of(info)?, object(4)?);
    let ram = u64::from(scratch.ram.0.bits());
    let port = u64::from(info.port("victim")?.0.bits());
    for other in [0, 1, ram, port, mem, peer + (1 << 16), 0xffff, 0x1_fffe, 0xffff_ffff] {
        refused("a peer", Call::ShareOffer, &[other, mem, 0, 4, RW, 0], &NO_HANDLE)?;
        refused("a peer to accept of", Call::ShareAccept, &[other, 0, 0], &NO_HANDLE)?;
    }
    for other in [0, 1, port, peer, mem + (1 << 16), 0xffff, 0x1_fffe] {
        refused("memory", Call::ShareOffer, &[peer, other, 0, 1, RW, 0], &NO_HANDLE)?;
    }
    for (offset, pages, code) in [
        (1, 1, Code::Misaligned),
        (0, 0, Code::Invalid),
        (0, 5, Code::Overflow),
        (0x4000, 1, Code::Overflow),
        (0, u64::MAX, Code::Overflow),
        (!0xfff, 2, Code::Overflow),
    ] {
        refused("a part", Call::ShareOffer, &[peer, mem, offset, pages, RW, 0], &[code])?;
    }
    for bit in [3].into_iter().chain(6..64) {
        refused("reserved bits", Call::ShareOffer, &[peer, mem, 0, 4, RW | 1 << bit, 0], &[Code::Invalid])?;
    }
    for terms in [0, 2, 4, 6, 0x30 | RW] {
        refused("terms", Call::ShareOffer, &[peer, mem, 0, 4, terms, 0], &[Code::Invalid])?;
    }
    for verb in [LEND, DONATE] {
        refused("half an object", Call::ShareOffer, &[peer, mem, 0, 2, verb | RW, 0], &[Code::Invalid])?;
    }
    free(mem)
}

/// What is borrowed, or another's region, is not offered on, freed or cut: no chain of shares is ever longer than one.
pub(crate) fn gs02_what_is_not_owned_is_not_offered(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let pair = pair(info, 4, RW)?;
    let (puppet, theirs) = (pair.puppet, pair.theirs);
    for terms in [R, RW, LEND | R, DONATE | RW] {
        let offer = [puppet.peer, theirs, 0, 4, terms, 0];
        puppet.refused("an offer of what is borrowed", Call::ShareOffer, &offer, Code::Denied)?;
    }
    puppet.refused("FREE of what is borrowed", Call::MemFree, &[theirs], Code::Denied)?;
    puppet.refused("SPLIT of what is borrowed", Call::MemSplit, &[theirs, 0x2000], Code::Denied)?;
    let seen = u64::from(info.mem("seen")?.handle.0.bits());
    refused("an offer of the victim's", Call::ShareOffer, &[pair.peer, seen, 0, 1, R, 0], &[Code::Denied])?;
    refused("FREE of the victim's", Call::MemFree, &[seen], &[Code::Denied])?;
    pair.revoke()?;
    pair.end()
}

/// Every key and every handle that could be: what is offered to the victim is not the attacker's.
pub(crate) fn gs03_keys_and_handles_are_not_guessed(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (puppet, peer) = (Puppet::new(info)?, peer_of(info)?);
    let victim = u64::from(info.peer("victim")?.0.bits());
    let mem = object(1)?;
    let [share, ..] = succeeds("an offer to the victim", Call::ShareOffer, &[victim, mem, 0, 1, RW, 0])?;
    puppet.refused("the first offer of all", Call::ShareAccept, &[puppet.peer, 0, 0], Code::Empty)?;
    for index in 0..64 {
        for generation in 0..4 {
            let key = index | generation << 16;
            let codes = if key == 0 { Code::Empty } else { Code::Invalid };
            puppet.refused("a guessed key", Call::ShareAccept, &[puppet.peer, key, 0], codes)?;
        }
    }
    for index in 0..1100 {
        for generation in [0, 1, 2, 0xffff] {
            let guess = index | generation << 16;
            let hits = [Call::ShareRelinquish, Call::ShareRevoke]
                .map(|which| call(which, &[guess, 0]).0 == 0 && !(which == Call::ShareRevoke && guess == share));
            ensure(hits == [false; 2], "a guessed handle is taken")?;
        }
    }
    refused("a key beside", Call::ShareAccept, &[peer, u64::MAX, 0], &[Code::Invalid])?;
    succeeds("DROP of the withdrawn offer", Call::CoreHandleDrop, &[share])?;
    free(mem)
}

/// What is offered for reading is neither written nor executed, by no call.
pub(crate) fn gs04_rights_never_grow(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (puppet, peer, mem) = (Puppet::new(info)?, peer_of(info)?, object(4)?);
    let [share, key, ..] = succeeds("OFFER", Call::ShareOffer, &[peer, mem, 0, 4, R, 0])?;
    for more in [2, RW, 4, 5, 7] {
        puppet.refused("more than is offered", Call::ShareAccept, &[puppet.peer, key, more], Code::Denied)?;
    }
    let [theirs, ..] = puppet.succeeds("ACCEPT", Call::ShareAccept, &[puppet.peer, key, 0])?;
    for more in [RW, 5] {
        puppet.refused("MAP with more", Call::AsMap, &[0, THERE, theirs, 0, 4, more], Code::Denied)?;
    }
    puppet.succeeds("MAP", Call::AsMap, &[0, THERE, theirs, 0, 4, R])?;
    for more in [RW, 5] {
        puppet.refused("PROTECT with more", Call::AsProtect, &[0, THERE, 4, more, 0], Code::Denied)?;
    }
    ensure_equal("a load", puppet.load(THERE)?.unwrap_or(1), 0)?;
    ensure(!puppet.store(THERE, SECRET)?, "what is shared for reading can be written")?;
    let pair = Pair { puppet, peer, mem, share, theirs };
    pair.revoke()?;
    pair.end()
}

/// What was given back or taken back is gone, however often it is done, and counted once.
pub(crate) fn gs05_what_was_given_back_is_gone(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let first = pair(info, 4, RW)?;
    let puppet = first.puppet;
    refused("RELINQUISH by the owner", Call::ShareRelinquish, &[first.mem], &[Code::Denied])?;
    puppet.succeeds("MAP", Call::AsMap, &[0, THERE, first.theirs, 0, 4, RW])?;
    puppet.succeeds("UNMAP of half", Call::AsUnmap, &[0, THERE, 2, 0])?;
    let [left, done, ..] = puppet.succeeds("RELINQUISH", Call::ShareRelinquish, &[first.theirs])?;
    ensure(left == 0 && done == 2, "RELINQUISH of what is half unmapped")?;
    ensure(puppet.load(THERE + 0x2000)?.is_none(), "what was given back loads")?;
    for which in [Call::ShareRelinquish, Call::CoreHandleDrop, Call::MemInfo] {
        puppet.refused("what was given back", which, &[first.theirs], Code::Stale)?;
    }
    refused("REVOKE of what was given back", Call::ShareRevoke, &[first.share, FORCE], &[Code::State])?;
    let [_, _, mapped, ..] = succeeds("INFO", Call::MemInfo, &[first.mem])?;
    ensure_equal("mapped pages", mapped, 0)?;
    succeeds("DROP", Call::CoreHandleDrop, &[first.share])?;
    free(first.mem)?;

    let second = pair(info, 4, LEND | RW)?;
    second.revoke()?;
    puppet.refused("MAP after a revoke", Call::AsMap, &[0, THERE, second.theirs, 0, 4, R], Code::Revoked)?;
    let [left, done, ..] = puppet.succeeds("RELINQUISH", Call::ShareRelinquish, &[second.theirs])?;
    ensure(left == 0 && done == 0, "RELINQUISH after a revoke")?;
    puppet.refused("RELINQUISH again", Call::ShareRelinquish, &[second.theirs], Code::Stale)?;
    succeeds("DROP", Call::CoreHandleDrop, &[second.share])?;
    free(second.mem)
}

/// Mapped at four places in two address spaces: after a revoke by force none of them is there.
pub(crate) fn gs08_force_takes_it_from_everywhere(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let pair = pair(info, 64, LEND | RW)?;
    let puppet = pair.puppet;
    let [space, ..] = puppet.succeeds("CREATE", Call::AsCreate, &[])?;
    for (n, space) in [0, 0, space, space].into_iter().enumerate() {
        let at = THERE + n as u64 * 0x100_0000;
        puppet.succeeds("MAP", Call::AsMap, &[space, at, pair.theirs, 0, 64, RW])?;
    }
    ensure(puppet.store(THERE, SECRET)?, "lent memory cannot be written")?;
    pair.revoke()?;
    for (n, space) in [0, 0, space, space].into_iter().enumerate() {
        let at = THERE + n as u64 * 0x100_0000;
        for page in [0, 31, 63] {
            puppet.refused("QUERY", Call::AsQuery, &[space, at + page * 4096], Code::NotMapped)?;
        }
        ensure(puppet.load(at)?.is_none(), "what was taken back loads")?;
    }
    let [_, _, mapped, ..] = succeeds("INFO", Call::MemInfo, &[pair.mem])?;
    ensure_equal("mapped pages", mapped, 0)?;
    while puppet.succeeds("DESTROY", Call::AsDestroy, &[space])?.first() != Some(&0) {}
    pair.end()
}

/// What a peer holds is neither freed, cut, lent nor given away, and lent memory is not its owner's to map.
pub(crate) fn gs09_what_a_peer_holds_stays(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for terms in [RW, LEND | RW] {
        let pair = pair(info, 4, terms)?;
        refused("FREE", Call::MemFree, &[pair.mem], &[Code::Busy])?;
        refused("SPLIT", Call::MemSplit, &[pair.mem, 0x2000], &[Code::Busy])?;
        for verb in [LEND | RW, DONATE | RW] {
            let codes = [Code::Busy, Code::State];
            refused("OFFER", Call::ShareOffer, &[pair.peer, pair.mem, 0, 4, verb, 0], &codes)?;
        }
        if terms & LEND != 0 {
            refused("MAP of what is lent", Call::AsMap, &[0, HERE, pair.mem, 0, 4, RW], &[Code::State])?;
        }
        refused("DROP", Call::CoreHandleDrop, &[pair.share], &[Code::State])?;
        pair.puppet.refused("DROP there", Call::CoreHandleDrop, &[pair.theirs], Code::State)?;
        pair.revoke()?;
        pair.end()?;
    }
    Ok(())
}
