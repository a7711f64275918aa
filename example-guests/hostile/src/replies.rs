//! LK02: what a call leaves in x0 to x29. Each call is made with every register full of junk, refused and with success: behind its
//! results there are zeros, and x18 to x29 are kept.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::{Call, Code, mem::MemState, share::ShareState, vcpu::RunState};
use strato_guest::memory;
use strato_guest::{Failure, Info, Space, ensure, ensure_equal, vcpu};

use crate::arch;
use crate::irqs;
use crate::objects::handle;
use crate::puppet::Puppet;
use crate::raw::{are_zero, junk, prepare, trap};
use crate::scratch::{CODE, READ_EXECUTE, Scratch, ipa};
use crate::shares::{DONATE, FORCE, HERE, LEND, R, REVOKED, RW, THERE, peer_of};
use crate::timers;

const ASK: u64 = 0;
const OWNED: u64 = MemState::OWNED.bits();
const BORROWED: u64 = MemState::BORROWED.bits();
const LENT: u64 = MemState::LENT.bits();
const TAKEN: u64 = MemState::REVOKED.bits();
const OFFERED: u64 = ShareState::Offered as u64;
const ACCEPTED: u64 = ShareState::Accepted as u64;
const ASKED: u64 = ShareState::Asked as u64;
const RELINQUISHED: u64 = ShareState::Relinquished as u64;
const DONATED: u64 = ShareState::Donated as u64;
/// What no result but a tag can be.
const TAG: u64 = 0x7a67_0000_1234_5678;

/// A bit for each call that has succeeded, by its number.
static SUCCEEDED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn returns(call: Call) -> bool {
    !matches!(call, Call::CorePanic | Call::CoreExit | Call::VcpuStop)
}

/// Makes a call. Returns its status and x1 to x7, when all of its registers are as they must be.
pub(crate) fn reply(call: Call, arguments: &[u64]) -> Result<(i64, [u64; 7]), Failure> {
    let mut registers = junk(u64::from(call.function_id()));
    for (register, &argument) in registers.iter_mut().skip(1).zip(arguments) {
        *register = argument;
    }
    let status = trap(&mut registers)?;
    let has_done = matches!(call, Call::AsMap | Call::AsUnmap | Call::AsProtect);
    let results = match (status, call) {
        (0, Call::ConRead) => 15,
        (0, _) => call.results().len(),
        (_, _) if has_done => 2,
        _ => 1,
    };
    let number = call as usize;
    if status != 0 {
        ensure(Code::from_i64(status).is_some(), "a status is none of the documented codes")?;
        ensure(status != Code::Internal as i64, call.name())?;
        let detail = registers.get(1).copied().unwrap_or(0);
        ensure(detail & 0xf0 == 0 && (detail >> 8 & 0xff) <= 13, "a detail word is malformed")?;
    } else if let Some(word) = SUCCEEDED.get(number / 64) {
        word.fetch_or(1 << (number % 64), Ordering::Relaxed);
    }
    ensure(are_zero(&registers, 1 + results), call.name())?;
    let mut found = [0; 7];
    for (to, from) in found.iter_mut().zip(registers.iter().skip(1)) {
        *to = *from;
    }
    Ok((status, found))
}

/// Makes a call that succeeds. Returns x1 to x7.
fn done(call: Call, arguments: &[u64]) -> Result<[u64; 7], Failure> {
    let (status, results) = reply(call, arguments)?;
    ensure_equal(call.name(), status.cast_unsigned(), 0).map(|()| results)
}

/// Makes a call that succeeds, with these results.
pub(crate) fn tells(call: Call, arguments: &[u64], expected: &[u64]) -> Result<(), Failure> {
    let found = done(call, arguments)?;
    expected.iter().zip(found).try_for_each(|(&expected, found)| ensure_equal(call.name(), found, expected))
}

/// Repeats a call until nothing is left; it has done `expected` then.
fn finishes(call: Call, handle: u64, expected: u64) -> Result<(), Failure> {
    let mut sum = 0;
    loop {
        let [left, by, ..] = done(call, &[handle])?;
        sum += by;
        if left == 0 {
            return ensure_equal(call.name(), sum, expected);
        }
    }
}

fn allocate(pages: u64) -> Result<u64, Failure> {
    loop {
        let [mem, ..] = done(Call::MemAlloc, &[pages, 0])?;
        if mem != 0 {
            return Ok(mem);
        }
    }
}

/// Every call, refused for each of its arguments, and with success where that takes nothing but arguments.
pub(crate) fn lk02_calls_leave_results_and_zeros(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let port = u64::from(info.port("victim")?.0.bits());
    let peer = u64::from(info.peer("victim")?.0.bits());
    prepare(scratch)?;
    #[allow(clippy::wildcard_enum_match_arm, reason = "a call of later gets arguments that fit none")]
    for &call in Call::ALL.iter().filter(|&&call| returns(call)) {
        let sets: [&[u64]; 5] = match call {
            Call::AsMap => {
                [&[0, 0x8000_0000, ram, 0, 1, 1], &[0, 0x8000_0000, ram, 0, 1, 1], &[0; 6], &[], &[0, 0, ram]]
            }
            Call::AsUnmap => [&[0, 0x8000_0000, 1, 0], &[0, 0x8000_0000, 1, 0], &[0; 4], &[], &[1]],
            Call::AsProtect => [&[0, 0x4000_0000, 1, 5, 0], &[0, 0x8000_0000, 1, 1, 0], &[0; 5], &[], &[1]],
            Call::AsQuery => [&[0, 0x4000_0000], &[0, 0x9000_0000], &[0; 2], &[], &[0, 0x3fe0_0000]],
            Call::EvtSend | Call::EvtUnmask => [&[port], &[ram], &[0], &[], &[peer]],
            Call::EvtBindVcpu | Call::EvtMode => [&[port, 0], &[0, 0], &[0, 1], &[0, 0], &[]],
            Call::VcpuWait => [&[0], &[1], &[2], &[0], &[1]],
            Call::VcpuSignalWait => [&[port, 0], &[ram, 0], &[0, 0], &[peer, 0], &[port, 1]],
            Call::EvtOffer => [&[port], &[ram], &[peer + (1 << 16)], &[1], &[0xffff]],
            // Not so short that it runs out.
            Call::VcpuWatchdog => [&[1 << 40], &[u64::MAX], &[1 << 40], &[], &[0]],
            // As it runs anyway, or refused.
            Call::VcpuSchedSet => [&[0, 8, 0, 0], &[port, 8, 0, 0], &[0, 32], &[0, 8, 1], &[0, 9, 0, 0]],
            Call::ConWrite => [&[0], &[113], &[0], &[u64::MAX], &[1 << 32]],
            Call::CoreGroup | Call::CoreLimit | Call::VcpuState => [&[0], &[1], &[5], &[99], &[]],
            _ => [&[0, 0], &[1, 0], &[], &[0; 6], &[3, 3]],
        };
        for arguments in sets {
            reply(call, arguments)?;
        }
    }
    done(Call::CoreHandleInfo, &[ram])?;
    objects()?;
    spaces(info, scratch)?;
    let (entry, record) = arch::first();
    done(Call::VcpuStart, &[1, entry, record])?;
    while vcpu::state(1)? != Some(RunState::Off) {
        vcpu::yield_now();
    }
    Ok(())
}

/// An object is cut and freed.
fn objects() -> Result<(), Failure> {
    for pages in [2, 64] {
        let mem = allocate(pages)?;
        tells(Call::MemInfo, &[mem], &[pages, OWNED, 0])?;
        let [second, ..] = done(Call::MemSplit, &[mem, pages / 2 * 4096])?;
        tells(Call::MemInfo, &[second], &[pages / 2, OWNED, 0])?;
        tells(Call::AsMap, &[0, HERE, second, 0, 1, RW], &[3, 1])?;
        tells(Call::AsProtect, &[0, HERE, 1, R, 0], &[0, 1])?;
        tells(Call::AsQuery, &[0, HERE], &[second, 0, R, 3, 0])?;
        tells(Call::MemInfo, &[second], &[pages / 2, OWNED, 1])?;
        tells(Call::AsUnmap, &[0, HERE, 1, 1], &[0, 1])?;
        tells(Call::AsSync, &[0], &[])?;
        for mem in [mem, second] {
            finishes(Call::MemFree, mem, pages / 2)?;
        }
    }
    Ok(())
}

/// A vCPU goes into another address space and comes back, and both of an empty and of a full one there is an end.
fn spaces(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let [empty, ..] = done(Call::AsCreate, &[])?;
    tells(Call::AsSync, &[empty], &[])?;
    ends(empty)?;

    let full = Space::new()?;
    let code = scratch.free.saturating_sub(4096 + info.ram().start);
    full.map_image()?;
    full.map(scratch.ram, code, ipa(CODE)?, 1, READ_EXECUTE)?;
    let other = u64::from(full.handle().0.bits());
    let [first, ..] = done(Call::AsSwitch, &[other])?;
    tells(Call::AsSwitch, &[first], &[other])?;
    ensure(reply(Call::AsDestroy, &[first])?.0 < 0, "the first address space can be ended")?;
    ends(other)
}

/// Ends an address space, step by step; it cannot be ended twice.
fn ends(space: u64) -> Result<(), Failure> {
    for _ in 0..1000 {
        if let [0, ..] = done(Call::AsDestroy, &[space])? {
            let (status, _) = reply(Call::AsDestroy, &[space])?;
            return ensure(status == Code::Stale as i64, "an address space ends twice");
        }
    }
    Err("an address space does not end".into())
}

/// Both ends of each share, of an offered port and of what is bound to them; behind it every call has succeeded.
pub(crate) fn lk02s_shares_leave_results_and_zeros(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let (puppet, peer) = (Puppet::new(info)?, peer_of(info)?);
    prepare(scratch)?;
    for (terms, state) in [(RW, OWNED), (LEND | RW, OWNED | LENT)] {
        lends(puppet, peer, terms, state)?;
    }
    gives(puppet, peer)?;
    borrows(puppet, peer)?;
    ports(puppet, peer)?;
    irqs::served(info)?;
    timers::served()?;
    puppet.end()?;
    for &call in Call::ALL.iter().filter(|&&call| returns(call)) {
        let word = SUCCEEDED.get(call as usize / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        ensure(word >> (call as usize % 64) & 1 != 0, call.name())?;
    }
    Ok(())
}

/// The owner's calls: offers that are withdrawn, asked for, taken back and given back.
fn lends(puppet: Puppet, peer: u64, terms: u64, state: u64) -> Result<(), Failure> {
    let mem = allocate(4)?;
    let offer = || -> Result<[u64; 2], Failure> {
        let [share, key, ..] = done(Call::ShareOffer, &[peer, mem, 0, 4, terms, TAG])?;
        tells(Call::ShareInfo, &[share], &[OFFERED, terms, 4])?;
        tells(Call::MemInfo, &[mem], &[4, state, 0])?;
        Ok([share, key])
    };
    let [share, _] = offer()?;
    tells(Call::ShareRevoke, &[share, FORCE], &[REVOKED, 0])?;
    tells(Call::CoreHandleDrop, &[share], &[])?;

    for is_forced in [true, false] {
        let [share, key] = offer()?;
        let [port, ..] = done(Call::EvtOffer, &[peer])?;
        tells(Call::EvtBindObject, &[share, port, 2], &[])?;
        let [theirs, pages, tag, ..] = puppet.succeeds("ACCEPT", Call::ShareAccept, &[puppet.peer, key, 0])?;
        ensure(pages == 4 && tag == TAG, "the puppet has accepted something else")?;
        puppet.succeeds("MAP", Call::AsMap, &[0, THERE, theirs, 0, 4, RW])?;
        tells(Call::ShareInfo, &[share], &[ACCEPTED, terms, 4])?;
        tells(Call::MemInfo, &[mem], &[4, state, 4])?;
        tells(Call::ShareRevoke, &[share, ASK], &[ASKED, 0])?;
        if is_forced {
            tells(Call::ShareRevoke, &[share, FORCE], &[REVOKED, 4])?;
            puppet.succeeds("DROP there", Call::CoreHandleDrop, &[theirs])?;
        } else {
            puppet.succeeds("RELINQUISH", Call::ShareRelinquish, &[theirs])?;
            tells(Call::ShareInfo, &[share], &[RELINQUISHED, terms, 4])?;
        }
        reply(Call::ShareRevoke, &[share, FORCE])?;
        tells(Call::CoreHandleDrop, &[share], &[])?;
        tells(Call::EvtClose, &[port], &[])?;
        tells(Call::MemInfo, &[mem], &[4, OWNED, 0])?;
    }
    finishes(Call::MemFree, mem, 4)
}

/// A donation, from either end.
fn gives(puppet: Puppet, peer: u64) -> Result<(), Failure> {
    let mem = allocate(4)?;
    let [share, key, ..] = done(Call::ShareOffer, &[peer, mem, 0, 4, DONATE | RW, TAG])?;
    let [theirs, ..] = puppet.succeeds("ACCEPT", Call::ShareAccept, &[puppet.peer, key, 0])?;
    tells(Call::ShareInfo, &[share], &[DONATED, DONATE | RW, 4])?;
    tells(Call::CoreHandleDrop, &[share], &[])?;
    let terms = [puppet.peer, theirs, 0, 4, DONATE | RW, TAG];
    let [share, ..] = puppet.succeeds("OFFER there", Call::ShareOffer, &terms)?;
    let [mem, ..] = done(Call::ShareAccept, &[peer, 0, 0])?;
    tells(Call::MemInfo, &[mem], &[4, OWNED, 0])?;
    puppet.succeeds("DROP there", Call::CoreHandleDrop, &[share])?;
    finishes(Call::MemFree, mem, 4)
}

/// The borrower's calls: what was accepted is mapped, and given back, or taken back by its owner before.
fn borrows(puppet: Puppet, peer: u64) -> Result<(), Failure> {
    let [theirs, ..] = puppet.succeeds("ALLOC there", Call::MemAlloc, &[8, 0])?;
    for (is_taken, terms) in [(false, RW), (true, RW), (false, LEND | RW), (true, LEND | R)] {
        let [share, key, ..] =
            puppet.succeeds("OFFER there", Call::ShareOffer, &[puppet.peer, theirs, 0, 8, terms, TAG])?;
        let [mem, pages, tag, ..] = done(Call::ShareAccept, &[peer, key, R])?;
        ensure(pages == 8 && tag == TAG, "something else was accepted")?;
        tells(Call::MemInfo, &[mem], &[8, BORROWED, 0])?;
        done(Call::CoreHandleInfo, &[mem])?;
        memory::map(handle(mem), 0, ipa(HERE)?, 8, memory::READ)?;
        tells(Call::MemInfo, &[mem], &[8, BORROWED, 8])?;
        if is_taken {
            puppet.succeeds("REVOKE there", Call::ShareRevoke, &[share, FORCE])?;
            tells(Call::MemInfo, &[mem], &[8, BORROWED | TAKEN, 0])?;
        }
        finishes(Call::ShareRelinquish, mem, if is_taken { 0 } else { 8 })?;
        puppet.succeeds("DROP there", Call::CoreHandleDrop, &[share])?;
    }
    Ok(())
}

/// A port that the puppet offers.
fn ports(puppet: Puppet, peer: u64) -> Result<(), Failure> {
    let [_, key, ..] = puppet.succeeds("OFFER of a port", Call::EvtOffer, &[puppet.peer])?;
    let [port, ..] = done(Call::EvtConnect, &[peer, key])?;
    tells(Call::EvtBindObject, &[peer, port, 1], &[])?;
    tells(Call::EvtBindObject, &[peer, port, 0], &[])?;
    tells(Call::EvtSend, &[port], &[])?;
    tells(Call::EvtClose, &[port], &[])
}
