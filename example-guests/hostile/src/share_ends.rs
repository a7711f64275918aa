//! GS: how sharing ends. Races, full tables, an owner that is gone, and what is found in the memory after that.

use strato_guest::abi::{Call, Code};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::{Failure, Info, ensure, ensure_equal, time, vcpu};

use crate::objects::{alloc, free, handle};
use crate::puppet::Puppet;
use crate::raw::{call, refused, succeeds};
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{FORCE, HERE, LEND, R, REVOKED, RW, SECRET, THERE, object, pair, peer_of};

/// Offers, withdrawals, revokes and give-backs of the same memory, all at once: every answer is a documented one, and at the end
/// nothing of it is mapped.
pub(crate) fn gs13_races_leave_nothing_mapped(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (puppet, peer, mem) = (Puppet::new(info)?, peer_of(info)?, object(32)?);
    puppet.churn(u64::MAX, THERE)?;
    let mut taken = 0_u64;
    for (round, terms) in (0_u64..).zip([RW, LEND | RW, R].into_iter().cycle()) {
        // Enough offers, enough of them accepted, and enough taken away while they were mapped.
        if round >= 400 && puppet.progress()? >= 100 && taken >= 10 {
            break;
        }
        let [share, ..] = succeeds("OFFER", Call::ShareOffer, &[peer, mem, 0, 32, terms, round])?;
        if round % 2 == 0 {
            vcpu::yield_now();
        }
        loop {
            let (status, [state, done, ..]) = call(Call::ShareRevoke, &[share, FORCE]);
            taken += u64::from(status == 0 && done > 0);
            if status == Code::State as i64 || status == 0 && state == REVOKED {
                break;
            }
            ensure_equal("REVOKE", status.cast_unsigned(), 0)?;
        }
        succeeds("DROP", Call::CoreHandleDrop, &[share])?;
    }
    let [_, strange, ..] = puppet.enough()?;
    ensure_equal("answers of the puppet's that cannot be", strange, 0)?;
    ensure(puppet.load(THERE)?.is_none(), "something is mapped behind the last revoke")?;
    let [_, _, mapped, ..] = succeeds("INFO", Call::MemInfo, &[mem])?;
    ensure_equal("mapped pages", mapped, 0)?;
    free(mem)
}

/// Offers until no more are taken, and as many accepted as the puppet's table has room for: all end, and can be had again.
pub(crate) fn gs14_tables_end_and_come_back(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (puppet, peer, mem) = (Puppet::new(info)?, peer_of(info)?, object(1)?);
    for _ in 0..2 {
        let mut shares = [0; 256];
        let mut count = 0;
        for place in &mut shares {
            let (status, [share, ..]) = call(Call::ShareOffer, &[peer, mem, 0, 1, R, 0]);
            if status != 0 {
                ensure_equal("the end of offers", status.cast_unsigned(), (Code::Full as i64).cast_unsigned())?;
                break;
            }
            *place = share;
            count += 1;
        }
        ensure(count > 8 && count < 256, "offers have another end")?;
        let mut taken = 0;
        while puppet.call(Call::ShareAccept, &[puppet.peer, 0, 0])?.first() == Some(&0) {
            taken += 1;
        }
        ensure(taken > 8, "the puppet's table has another end")?;
        for share in shares.iter().take(count) {
            let [state, ..] = succeeds("REVOKE", Call::ShareRevoke, &[*share, FORCE])?;
            ensure_equal("the state behind a revoke", state, REVOKED)?;
            succeeds("DROP", Call::CoreHandleDrop, &[*share])?;
        }
        drop_all(&puppet)?;
    }
    free(mem)
}

/// Lets the puppet drop whatever can be dropped but its peer.
fn drop_all(puppet: &Puppet) -> Result<(), Failure> {
    for index in 0..64 {
        for generation in 1..6 {
            let guess = index | generation << 16;
            if guess != puppet.peer && puppet.call(Call::CoreHandleInfo, &[guess])?.get(1) == Some(&2) {
                let _ = puppet.call(Call::CoreHandleDrop, &[guess])?;
            }
        }
    }
    Ok(())
}

/// What a borrower writes its owner finds, and nobody who gets the memory after that does.
pub(crate) fn gs16_what_a_borrower_wrote_ends_with_its_owner(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let pair = pair(info, 16, LEND | RW)?;
    let puppet = pair.puppet;
    puppet.succeeds("MAP", Call::AsMap, &[0, THERE, pair.theirs, 0, 16, RW])?;
    for page in 0..16 {
        ensure(puppet.store(THERE + page * 4096, SECRET ^ page)?, "lent memory cannot be written")?;
    }
    while puppet.succeeds("RELINQUISH", Call::ShareRelinquish, &[pair.theirs])?.first() != Some(&0) {}
    let window = Window::new(ipa(HERE)?, 16 * 4096).ok_or("no window")?;
    memory::map(handle(pair.mem), 0, ipa(HERE)?, 16, READ_WRITE)?;
    for page in 0..16 {
        ensure_equal("what the borrower wrote", window.load(page * 4096)?, SECRET ^ page)?;
    }
    memory::unmap(ipa(HERE)?, 16)?;
    succeeds("DROP", Call::CoreHandleDrop, &[pair.share])?;
    free(pair.mem)?;
    holds_zeros(16)
}

/// Takes everything that the quota has in objects of `pages` pages, and looks for what another left there.
fn holds_zeros(pages: u64) -> Result<(), Failure> {
    let mut objects = [0; 64];
    let mut count = 0;
    for place in &mut objects {
        let Ok(mem) = alloc(pages) else { break };
        *place = mem;
        count += 1;
        memory::map(handle(mem), 0, ipa(HERE)?, pages, READ_WRITE)?;
        for offset in (0..pages * 4096).step_by(8) {
            ensure_equal("a word of the pool", peek(HERE + offset).unwrap_or(1), 0)?;
        }
        memory::unmap(ipa(HERE)?, pages)?;
    }
    ensure(count > 0, "the quota has no memory")?;
    objects.iter().take(count).try_for_each(|&mem| free(mem))
}

/// An owner that ends while its memory is mapped at its borrower: the borrower keeps it, and nobody finds what was in it.
pub(crate) fn gs12_an_owner_that_ends_leaves_no_dangling_memory(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (puppet, peer) = (Puppet::new(info)?, peer_of(info)?);
    let theirs = loop {
        let [mem, ..] = puppet.succeeds("ALLOC there", Call::MemAlloc, &[16, 0])?;
        if mem != 0 {
            break mem;
        }
    };
    let terms = [puppet.peer, theirs, 0, 16, LEND | RW, 0];
    let [_, key, ..] = puppet.succeeds("OFFER there", Call::ShareOffer, &terms)?;
    let [mem, ..] = succeeds("ACCEPT", Call::ShareAccept, &[peer, key, 0])?;
    memory::map(handle(mem), 0, ipa(HERE)?, 16, READ_WRITE)?;
    let window = Window::new(ipa(HERE)?, 16 * 4096).ok_or("no window")?;
    for page in 0..16 {
        window.store(page * 4096, SECRET ^ page)?;
    }
    puppet.end()?;
    while call(Call::ShareAccept, &[peer, 0, 0]).0 != Code::PeerGone as i64 {
        vcpu::yield_now();
    }
    for _ in 0..50 {
        for page in 0..16 {
            ensure_equal("memory of an owner that ended", window.load(page * 4096)?, SECRET ^ page)?;
        }
        let probe = object(16)?;
        free(probe)?;
        let _ = vcpu::wait(time::deadline_in(100))?;
    }
    loop {
        let (status, [left, ..]) = call(Call::ShareRelinquish, &[mem]);
        ensure_equal("RELINQUISH", status.cast_unsigned(), 0)?;
        if left == 0 {
            break;
        }
    }
    ensure(window.load(0).is_err(), "what was given back loads")?;
    refused("RELINQUISH again", Call::ShareRelinquish, &[mem], &[Code::Stale])?;
    holds_zeros(16)
}
