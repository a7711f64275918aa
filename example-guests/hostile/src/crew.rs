//! The other vCPUs of this VM: launched once, then told again and again what to do, and waited for.
//! Owns what they count. Called by the TL cases; decides nothing about what the counts have to be.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::{Call, Code};
use strato_guest::memory::Window;
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, vcpu};

use crate::raw::call;
use crate::scratch::{ipa, peek};
use crate::shares::{HERE, RW, SECRET};

/// A stack serves one vCPU for good: the others are launched once, and wait for what they are to do. Cases that launch vCPUs of
/// their own take these too, and run in VMs of their own.
pub(crate) static STACKS: [Stack; 3] = [const { Stack::new() }; 3];
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);
/// What was done, and how much of it was not what it must be; the round, and who won it.
pub(crate) static DONE: AtomicU64 = AtomicU64::new(0);
pub(crate) static STRANGE: AtomicU64 = AtomicU64::new(0);
pub(crate) static ROUND: AtomicU64 = AtomicU64::new(0);
pub(crate) static WON: AtomicU64 = AtomicU64::new(0);
/// Ends what they do.
pub(crate) static IS_OVER: AtomicBool = AtomicBool::new(false);
static LAUNCHED: AtomicU64 = AtomicU64::new(0);
/// How often the others were started, how many of them take part, in what, and how many have ended that.
static ORDER: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
static ROLE: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
/// What they can be told to do.
pub(crate) const READS: u64 = 1;
pub(crate) const WRITES: u64 = 2;
pub(crate) const RACES: u64 = 3;
pub(crate) const MOVES: u64 = 4;

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

/// Takes part in a round of the race.
pub(crate) fn race() {
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
pub(crate) fn start(role: u64, address: u64, value: u64, count: usize) -> Result<(), Failure> {
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
    while role != RACES && DONE.load(Ordering::Acquire) < 50 {
        vcpu::yield_now();
    }
    Ok(())
}

/// Waits until all who were started have ended that.
pub(crate) fn join() -> Result<(), Failure> {
    while ENDED.load(Ordering::Acquire) < COUNT.load(Ordering::Acquire) {
        vcpu::yield_now();
    }
    Ok(())
}
