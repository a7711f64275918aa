//! TL: translations that are old. Whoever still has one while it is taken away, on another core and without an exit, reaches
//! nothing by it once the call has returned; what changes around it is not noticed.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::{Call, Code};
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, Space, ensure, ensure_equal, time, vcpu};

use crate::objects::{free, handle};
use crate::puppet::Puppet;
use crate::raw::{call, succeeds};
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{HERE, LEND, R, RW, SECRET, THERE, object, pair};

const BLOCK: u64 = 2 << 20;
/// A stack serves one vCPU for good: the others are launched once, and wait for what they are to do.
static STACKS: [Stack; 3] = [const { Stack::new() }; 3];
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);
static ROUND: AtomicU64 = AtomicU64::new(0);
static WON: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static LAUNCHED: AtomicU64 = AtomicU64::new(0);
/// How often the others were started, how many of them take part, in what, and how many have ended that.
static ORDER: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
static ROLE: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
const READS: u64 = 1;
const WRITES: u64 = 2;
const RACES: u64 = 3;
const MOVES: u64 = 4;

fn play(number: usize) {
    let mut seen = 0;
    loop {
        let order = ORDER.load(Ordering::Acquire);
        if order == seen || number as u64 > COUNT.load(Ordering::Acquire) {
            vcpu::yield_now();
            continue;
        }
        seen = order;
        match ROLE.load(Ordering::Acquire) {
            READS => reads(),
            WRITES => writes(),
            RACES => races(),
            _ => moves(),
        }
        ENDED.fetch_add(1, Ordering::AcqRel);
    }
}

fn word() -> Option<Window> {
    ipa(ADDRESS.load(Ordering::Acquire)).ok().and_then(|base| Window::new(base, 8))
}

/// Loads until it faults or is told to stop.
fn reads() {
    let (Some(word), value) = (word(), VALUE.load(Ordering::Acquire)) else { return };
    while !IS_OVER.load(Ordering::Relaxed) {
        let Ok(loaded) = word.load(0) else { break };
        STRANGE.fetch_add((loaded != value).into(), Ordering::Relaxed);
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Stores until it faults.
fn writes() {
    let (Some(word), value) = (word(), VALUE.load(Ordering::Acquire)) else { return };
    while word.store(0, value).is_ok() {
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Maps the same page as all others in each round; one of them can.
fn races() {
    let mut seen = 0;
    while !IS_OVER.load(Ordering::Acquire) {
        let round = ROUND.load(Ordering::Acquire);
        if round == seen {
            vcpu::yield_now();
            continue;
        }
        seen = round;
        race();
    }
}

fn race() {
    match call(Call::AsMap, &[0, HERE, VALUE.load(Ordering::Acquire), 0, 1, RW]).0 {
        0 => drop(WON.fetch_add(1, Ordering::AcqRel)),
        status if status == Code::Exists as i64 => {}
        _ => drop(STRANGE.fetch_add(1, Ordering::AcqRel)),
    }
    DONE.fetch_add(1, Ordering::AcqRel);
}

/// Maps and unmaps a page beside the other's, so that their table comes and goes.
fn moves() {
    let at = ADDRESS.load(Ordering::Acquire);
    while !IS_OVER.load(Ordering::Acquire) {
        let is_good = call(Call::AsMap, &[0, at, VALUE.load(Ordering::Acquire), 0, 1, RW]).0 == 0
            && peek(at) == Ok(SECRET)
            && call(Call::AsUnmap, &[0, at, 1, 0]).0 == 0
            && peek(at).is_err();
        STRANGE.fetch_add((!is_good).into(), Ordering::AcqRel);
        DONE.fetch_add(1, Ordering::AcqRel);
    }
}

/// Starts vCPUs 1 to `count` in `role`, and waits until the first has done something if it is one that begins by itself.
fn start(role: u64, address: u64, value: u64, count: usize) -> Result<(), Failure> {
    for word in [&DONE, &STRANGE, &ROUND, &WON, &ENDED] {
        word.store(0, Ordering::Release);
    }
    IS_OVER.store(false, Ordering::Release);
    ADDRESS.store(address, Ordering::Release);
    VALUE.store(value, Ordering::Release);
    ROLE.store(role, Ordering::Release);
    COUNT.store(count as u64, Ordering::Release);
    ORDER.fetch_add(1, Ordering::AcqRel);
    for (number, stack) in (1..=count).zip(&STACKS) {
        if LAUNCHED.load(Ordering::Acquire) < number as u64 {
            vcpu::launch(number, stack, play, number)?;
            LAUNCHED.store(number as u64, Ordering::Release);
        }
    }
    let deadline = time::deadline_in(4_000_000);
    while role != RACES && DONE.load(Ordering::Acquire) < 50 {
        ensure(time::counter() < deadline, "the other vCPU does not begin")?;
        vcpu::yield_now();
    }
    Ok(())
}

/// Waits until all who were started have ended that.
fn join() -> Result<(), Failure> {
    let deadline = time::deadline_in(4_000_000);
    while ENDED.load(Ordering::Acquire) < COUNT.load(Ordering::Acquire) {
        ensure(time::counter() < deadline, "a vCPU does not end")?;
        vcpu::yield_now();
    }
    Ok(())
}

/// Another vCPU reads a page that is unmapped: what is written to it from the return of the call on it never sees.
pub(crate) fn tl01_what_is_unmapped_is_never_read_again(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    let own = map(mem, HERE, 1)?;
    map(mem, THERE, 1)?;
    start(READS, THERE, 0, 1)?;
    memory::unmap(ipa(THERE)?, 1)?;
    own.store(0, SECRET)?;
    join()?;
    ensure_equal("loads of what was written later", STRANGE.load(Ordering::Acquire), 0)?;
    memory::unmap(ipa(HERE)?, 1)?;
    free(mem)
}

/// Another vCPU writes a page that is made read-only: what stands there when the call returns stays.
pub(crate) fn tl02_what_is_protected_is_never_written_again(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(1)?;
    let own = map(mem, HERE, 1)?;
    map(mem, THERE, 1)?;
    start(WRITES, THERE, 1, 1)?;
    memory::protect(ipa(THERE)?, 1, READ)?;
    own.store(0, SECRET)?;
    join()?;
    ensure_equal("what stands in the page", own.load(0)?, SECRET)?;
    ensure_equal("the same, read where it was protected", peek(THERE).unwrap_or(0), SECRET)?;
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
    for round in 1..600_u64 {
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
