//! GS, TL with three VMs: two peers hold the same memory, and one of them does what it likes with it.

use strato_guest::abi::{Call, Code};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::ring::{Consumer, RingError};
use strato_guest::{Failure, Info, ensure, ensure_equal, vcpu};

use crate::objects::{free, handle};
use crate::puppet::Puppet;
use crate::raw::{call, succeeds};
use crate::scratch::{Scratch, ipa};
use crate::shares::{DONATE, FORCE, HERE, R, REVOKED, RW, SECRET, THERE, object, peer_of};
use crate::stale::map;

const PAGES: u64 = 4;

fn others(info: &Info) -> Result<[(Puppet, u64); 2], Failure> {
    let other = u64::from(info.peer("other")?.0.bits());
    Ok([(Puppet::new(info)?, peer_of(info)?), (Puppet::behind(info, "other")?, other)])
}

/// Takes a share back by force, if it is not over, and drops it.
fn take_back(share: u64) -> Result<(), Failure> {
    loop {
        let (status, [state, ..]) = call(Call::ShareRevoke, &[share, FORCE]);
        if status == Code::State as i64 || status == 0 && state == REVOKED {
            break;
        }
        ensure_equal("REVOKE", status.cast_unsigned(), 0)?;
    }
    succeeds("DROP", Call::CoreHandleDrop, &[share]).map(drop)
}

/// One peer accepts, maps and gives back, another reads without an exit, while the owner takes the memory back from both, frees it,
/// takes it from the pool again and writes to it: neither sees that.
pub(crate) fn tl05_an_owner_frees_while_one_maps_and_one_reads(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let [(mapper, to_mapper), (reader, to_reader)] = others(info)?;
    for round in 0..30_u64 {
        let mem = object(PAGES)?;
        let offer = |peer, rights| -> Result<[u64; 2], Failure> {
            let [share, key, ..] = succeeds("OFFER", Call::ShareOffer, &[peer, mem, 0, PAGES, rights, round])?;
            Ok([share, key])
        };
        let [read, key] = offer(to_reader, R)?;
        let [theirs, ..] = reader.succeeds("ACCEPT", Call::ShareAccept, &[reader.peer, key, 0])?;
        reader.succeeds("MAP", Call::AsMap, &[0, THERE, theirs, 0, PAGES, R])?;
        reader.read_on(THERE + 0x1000, 0)?;
        let [first, _] = offer(to_mapper, RW)?;
        let [second, _] = offer(to_mapper, R)?;
        mapper.churn(8, THERE)?;
        for share in if round % 2 == 0 { [read, first, second] } else { [first, second, read] } {
            take_back(share)?;
        }
        free(mem)?;
        let again = object(PAGES)?;
        let own = map(again, HERE, PAGES)?;
        for offset in (0..PAGES * 4096).step_by(8) {
            own.store(offset, SECRET)?;
        }
        let [loads, strange, ..] = reader.finish()?;
        ensure(loads >= 100, "the reader did not read")?;
        ensure_equal("words of later that were read", strange, 0)?;
        let [_, strange, ..] = mapper.finish()?;
        ensure_equal("answers that cannot be, or words of later", strange, 0)?;
        reader.succeeds("DROP there", Call::CoreHandleDrop, &[theirs])?;
        memory::unmap(ipa(HERE)?, PAGES)?;
        free(again)?;
    }
    Ok(())
}

/// A ring in memory that two peers can write: one of them scribbles over all of it while it is read. What the library hands out is
/// whole or refused, and the other peer's calls are answered as ever.
pub(crate) fn gs18_a_scribbler_harms_no_reader(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let [(hostile, to_hostile), (honest, to_honest)] = others(info)?;
    let mem = object(1)?;
    let mut shares = [0; 2];
    let mut theirs = [0; 2];
    let both = [(hostile, to_hostile), (honest, to_honest)];
    for (((puppet, peer), share_of), mem_of) in both.into_iter().zip(&mut shares).zip(&mut theirs) {
        let [share, key, ..] = succeeds("OFFER", Call::ShareOffer, &[peer, mem, 0, 1, RW, 0])?;
        let [mem, ..] = puppet.succeeds("ACCEPT", Call::ShareAccept, &[puppet.peer, key, 0])?;
        puppet.succeeds("MAP", Call::AsMap, &[0, THERE, mem, 0, 1, RW])?;
        (*share_of, *mem_of) = (share, mem);
    }
    memory::map(handle(mem), 0, ipa(HERE)?, 1, READ_WRITE)?;
    let window = || Window::new(ipa(HERE)?, 4096).ok_or_else(|| Failure::from("no window"));
    hostile.scribble(THERE)?;
    let (mut read, mut refused) = (0_u64, 0_u64);
    for round in 0_u64.. {
        if read > 0 && refused > 0 && round > 20 {
            break;
        }
        ensure(round < 1000, "the scribbler hits nothing")?;
        let mut ring = match Consumer::<4, _>::create(window()?) {
            Ok(ring) => ring,
            Err(_) => return Err("a ring cannot be made".into()),
        };
        let capacity = ring.capacity();
        for burst in 0..20 {
            if burst < 4 {
                // However the cores are shared out: there are stores between what is made and what is read.
                hostile.more()?;
            }
            let mut messages = [[0; 4]; 8];
            match ring.read(&mut messages) {
                Ok(count) => {
                    ensure(count <= 8 && count as u64 <= capacity, "more messages than there is room for")?;
                    read += count as u64;
                }
                Err(RingError::Corrupt { .. }) => {
                    refused += 1;
                    break;
                }
                Err(_) => return Err("another answer of the ring".into()),
            }
            ensure(ring.release().is_ok(), "slots cannot be given back")?;
            vcpu::yield_now();
        }
        if round % 10 == 0 {
            // What is written meanwhile has no part in what a call of the other peer does.
            honest.succeeds("PROTECT there", Call::AsProtect, &[0, THERE, 1, R, 0])?;
            ensure(!honest.store(THERE, SECRET)?, "what is protected can be written")?;
            honest.succeeds("PROTECT back", Call::AsProtect, &[0, THERE, 1, RW, 0])?;
        }
    }
    let [stores, faults, ..] = hostile.enough()?;
    ensure_equal("stores of the scribbler's that faulted", faults, 0)?;
    ensure(stores > 0, "the scribbler has written nothing")?;
    memory::unmap(ipa(HERE)?, 1)?;
    for share in shares {
        take_back(share)?;
    }
    for (puppet, mem) in [hostile, honest].into_iter().zip(theirs) {
        ensure(puppet.load(THERE)?.is_none(), "what was taken back loads")?;
        puppet.succeeds("DROP there", Call::CoreHandleDrop, &[mem])?;
    }
    free(mem)
}

/// Memory that was given away, filled there and freed there: nobody who gets it then finds what was in it, its first owner neither.
pub(crate) fn lk09s_what_was_donated_and_freed_holds_zeros(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let [(first, to_first), (second, _)] = others(info)?;
    for _ in 0..4 {
        let mem = object(16)?;
        let offer = [to_first, mem, 0, 16, DONATE | RW, 0];
        let [share, key, ..] = succeeds("OFFER", Call::ShareOffer, &offer)?;
        let [theirs, ..] = first.succeeds("ACCEPT", Call::ShareAccept, &[first.peer, key, 0])?;
        first.succeeds("MAP", Call::AsMap, &[0, THERE, theirs, 0, 16, RW])?;
        for page in 0..16 {
            ensure(first.store(THERE + page * 4096 + page * 8, SECRET)?, "what was donated cannot be written")?;
        }
        ensure(call(Call::AsMap, &[0, HERE, mem, 0, 1, R]).0 < 0, "what was given away can be mapped")?;
        first.succeeds("UNMAP", Call::AsUnmap, &[0, THERE, 16, 0])?;
        while first.succeeds("FREE there", Call::MemFree, &[theirs])?.first() != Some(&0) {}
        succeeds("DROP", Call::CoreHandleDrop, &[share])?;
        // Its first owner and the third VM take what they can get of this size.
        let own = object(16)?;
        let window = map(own, HERE, 16)?;
        for offset in (0..16 * 4096).step_by(8) {
            ensure_equal("a word of the pool", window.load(offset)?, 0)?;
        }
        let theirs = loop {
            let [mem, ..] = second.succeeds("ALLOC there", Call::MemAlloc, &[16, 0])?;
            if mem != 0 {
                break mem;
            }
        };
        second.succeeds("MAP there", Call::AsMap, &[0, THERE, theirs, 0, 16, R])?;
        for page in 0..16 {
            let word = second.load(THERE + page * 4096 + page * 8)?;
            ensure_equal("a word of the third's", word.unwrap_or(1), 0)?;
        }
        second.succeeds("UNMAP there", Call::AsUnmap, &[0, THERE, 16, 0])?;
        while second.succeeds("FREE there", Call::MemFree, &[theirs])?.first() != Some(&0) {}
        memory::unmap(ipa(HERE)?, 16)?;
        free(own)?;
    }
    first.end()?;
    second.end()
}
