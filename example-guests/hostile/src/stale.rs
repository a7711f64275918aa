//! TL: translations that are old. Whoever still has one while it is taken away, on another core and without an exit, reaches
//! nothing by it once the call has returned; what changes around it is not noticed.

use ::core::sync::atomic::Ordering;

use strato_guest::abi::Call;
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::{Failure, Info, Space, ensure, ensure_equal, time, vcpu};

use crate::crew::{DONE, IS_OVER, MOVES, RACES, READS, ROUND, STRANGE, WON, WRITES, join, race, start};
use crate::objects::{free, handle};
use crate::puppet::Puppet;
use crate::raw::succeeds;
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{HERE, LEND, R, RW, SECRET, THERE, object, pair};

const BLOCK: u64 = 2 << 20;
/// How often a translation is taken away under its user.
const ROUNDS: u64 = 300;

/// Another vCPU reads a page that is unmapped: what is written to it from the return of the call on it never sees.
pub(crate) fn tl01_what_is_unmapped_is_never_read_again(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    let own = map(mem, HERE, 1)?;
    for round in 0..ROUNDS {
        own.store(0, round)?;
        map(mem, THERE, 1)?;
        start(READS, THERE, round, 1)?;
        // Every other time in two steps: only the second has to be waited for.
        succeeds("UNMAP", Call::AsUnmap, &[0, THERE, 1, round % 2])?;
        if round % 2 == 1 {
            succeeds("SYNC", Call::AsSync, &[0])?;
        }
        own.store(0, SECRET)?;
        join()?;
        ensure_equal("loads of what was written later", STRANGE.load(Ordering::Acquire), 0)?;
    }
    memory::unmap(ipa(HERE)?, 1)?;
    free(mem)
}

/// Another vCPU writes a page that is made read-only: what stands there when the call returns stays.
pub(crate) fn tl02_what_is_protected_is_never_written_again(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    let own = map(mem, HERE, 1)?;
    map(mem, THERE, 1)?;
    for round in 0..ROUNDS {
        start(WRITES, THERE, round, 1)?;
        succeeds("PROTECT", Call::AsProtect, &[0, THERE, 1, R, round % 2])?;
        if round % 2 == 1 {
            succeeds("SYNC", Call::AsSync, &[0])?;
        }
        own.store(0, SECRET ^ round)?;
        join()?;
        ensure_equal("what stands in the page", own.load(0)?, SECRET ^ round)?;
        ensure_equal("the same, read where it was protected", peek(THERE).unwrap_or(0), SECRET ^ round)?;
        succeeds("PROTECT back", Call::AsProtect, &[0, THERE, 1, RW, 0])?;
    }
    memory::unmap(ipa(THERE)?, 1)?;
    memory::unmap(ipa(HERE)?, 1)?;
    free(mem)
}

/// The puppet reads borrowed memory without an exit, alone on its core, while it is taken away, given back to the pool and taken
/// from it again: it never sees what is written there then.
pub(crate) fn tl03_what_is_taken_back_is_never_read_again(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for terms in [RW, LEND | RW, LEND | R] {
        let pair = pair(info, 16, terms)?;
        let rights = terms & RW;
        pair.puppet.succeeds("MAP", Call::AsMap, &[0, THERE, pair.theirs, 0, 16, rights])?;
        pair.puppet.read_on(THERE + 0x3000, 0)?;
        pair.revoke()?;
        let own = map(pair.mem, HERE, 16)?;
        own.store(0x3000, SECRET)?;
        memory::unmap(ipa(HERE)?, 16)?;
        succeeds("DROP", Call::CoreHandleDrop, &[pair.share])?;
        free(pair.mem)?;
        let again = object(16)?;
        let own = map(again, HERE, 16)?;
        for offset in (0..16 * 4096).step_by(8) {
            own.store(offset, SECRET)?;
        }
        let [loads, strange, ..] = pair.puppet.finish()?;
        ensure(loads >= 100, "the puppet did not read")?;
        ensure_equal("loads of what was written later", strange, 0)?;
        pair.puppet.succeeds("DROP there", Call::CoreHandleDrop, &[pair.theirs])?;
        memory::unmap(ipa(HERE)?, 16)?;
        free(again)?;
    }
    Puppet::new(info)?.end()
}

/// Two vCPUs map and unmap pages of one table, which comes and goes with them.
pub(crate) fn tl04_tables_come_and_go_under_two_vcpus(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    map(mem, HERE, 1)?.store(0, SECRET)?;
    memory::unmap(ipa(HERE)?, 1)?;
    start(MOVES, THERE, mem, 1)?;
    for round in 0..500_u64 {
        let at = THERE + 0x1000 + round % 3 * 0x10_0000;
        succeeds("MAP", Call::AsMap, &[0, at, mem, 0, 1, R])?;
        ensure_equal("a page beside the other's", peek(at).unwrap_or(0), SECRET)?;
        succeeds("UNMAP", Call::AsUnmap, &[0, at, 1, 0])?;
        ensure(peek(at).is_err(), "an unmapped page loads")?;
    }
    IS_OVER.store(true, Ordering::Release);
    join()?;
    ensure_equal("moves of the other's that went wrong", STRANGE.load(Ordering::Acquire), 0)?;
    free(mem)
}

/// More address spaces than there are VMIDs, each with other memory at the same address: none reads another's.
pub(crate) fn tl06_address_spaces_never_share_a_vmid(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(2)?;
    let own = map(mem, HERE, 2)?;
    let word = Window::new(ipa(THERE)?, 8).ok_or("no window")?;
    for round in 1..=1_000_u64 {
        let page = round % 2 * 4096;
        own.store(page, SECRET ^ round)?;
        let space = Space::new()?;
        space.map_image()?;
        space.map(handle(mem), page, ipa(THERE)?, 1, READ)?;
        let loaded = space.within(|| word.load(0))?;
        ensure_equal("a word of this address space", loaded?, SECRET ^ round)?;
        ensure(word.load(0).is_err(), "another address space's page loads")?;
    }
    memory::unmap(ipa(HERE)?, 2)?;
    free(mem)
}

/// A vCPU reads inside a block that is cut while the pages around it change: it never faults and never reads wrong.
pub(crate) fn tl07_a_block_is_cut_under_a_reader(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let offset = (scratch.free - info.ram().start).next_multiple_of(BLOCK);
    let [level, ..] = succeeds("a block", Call::AsMap, &[0, THERE, ram, offset, 512, RW])?;
    ensure_equal("the level of a block", level, 2)?;
    Window::new(ipa(THERE + 0x5000)?, 8).ok_or("no window")?.store(0, SECRET)?;
    start(READS, THERE + 0x5000, SECRET, 1)?;
    succeeds("the last page", Call::AsUnmap, &[0, THERE + 511 * 4096, 1, 0])?;
    for page in 6..200 {
        let at = THERE + page * 4096;
        succeeds("a page beside", Call::AsProtect, &[0, at, 1, R, 0])?;
        succeeds("the same", Call::AsUnmap, &[0, at, 1, 0])?;
        succeeds("and back", Call::AsMap, &[0, at, ram, offset + page * 4096, 1, RW])?;
    }
    let reads = DONE.load(Ordering::Acquire);
    let deadline = time::deadline_in(2_000_000);
    while DONE.load(Ordering::Acquire) < reads + 50 {
        ensure(time::counter() < deadline, "the reader faulted")?;
        vcpu::yield_now();
    }
    IS_OVER.store(true, Ordering::Release);
    join()?;
    ensure_equal("wrong words", STRANGE.load(Ordering::Acquire), 0)?;
    Ok(memory::unmap(ipa(THERE)?, 511)?)
}

/// Four vCPUs map the same page at once: one of them wins, in each of many rounds.
pub(crate) fn tl11_one_of_four_wins_a_page(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    start(RACES, HERE, mem, 3)?;
    for round in 1..40 {
        let deadline = time::deadline_in(2_000_000);
        WON.store(0, Ordering::Release);
        DONE.store(0, Ordering::Release);
        ROUND.store(round, Ordering::Release);
        race();
        while DONE.load(Ordering::Acquire) < 4 {
            ensure(time::counter() < deadline, "a racer does not come")?;
            vcpu::yield_now();
        }
        ensure_equal("winners", WON.load(Ordering::Acquire), 1)?;
        ensure_equal("other answers", STRANGE.load(Ordering::Acquire), 0)?;
        memory::unmap(ipa(HERE)?, 1)?;
    }
    IS_OVER.store(true, Ordering::Release);
    join()?;
    free(mem)
}

pub(crate) fn map(mem: u64, address: u64, pages: u64) -> Result<Window, Failure> {
    memory::map(handle(mem), 0, ipa(address)?, pages, READ_WRITE)?;
    Window::new(ipa(address)?, pages * 4096).ok_or_else(|| "no window".into())
}
