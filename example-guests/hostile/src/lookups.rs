//! TL12: handles that are looked up on other cores while what they name ends and its number and memory are used anew.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::{Call, Code};
use strato_guest::memory;
use strato_guest::{Failure, Info, ensure_equal, vcpu};

use crate::crew::STACKS;
use crate::objects::{alloc, free};
use crate::raw::{call, succeeds};
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{HERE, R, THERE};
use crate::stale::map;

/// The handles of this round: the object's in the low half, the address space's in the high half.
static PUBLISHED: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);
/// What was strange first: the call's function id and its status.
static WHAT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static HITS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static ENDED: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
/// What looking up something that may be gone can answer.
const GONE: [Code; 6] = [Code::BadHandle, Code::Stale, Code::WrongKind, Code::State, Code::Busy, Code::NotMapped];

fn look_up(number: usize) {
    let own = THERE + number as u64 * 0x20_0000;
    for turn in 0_u64.. {
        if IS_OVER.load(Ordering::Acquire) {
            break;
        }
        let published = PUBLISHED.load(Ordering::Acquire);
        let (mem, space) = (published & 0xffff_ffff, published >> 32);
        if mem == 0 {
            vcpu::yield_now();
            continue;
        }
        let legal = |which: Call, arguments: &[u64], is_right: &dyn Fn([u64; 15]) -> bool| {
            let (status, results) = call(which, arguments);
            let is_hit = status == 0;
            if !(is_hit && is_right(results) || GONE.iter().any(|&code| code as i64 == status)) {
                STRANGE.fetch_add(1, Ordering::AcqRel);
                let [what, answer] = &WHAT;
                what.store(which.function_id().into(), Ordering::Release);
                answer.store(status.cast_unsigned(), Ordering::Release);
            }
            is_hit
        };
        legal(Call::MemInfo, &[mem], &|[pages, state, ..]| (pages == 1 || pages == 4) && state == 1);
        legal(Call::CoreHandleInfo, &[mem], &|[kind, ..]| kind == 2);
        legal(Call::CoreHandleInfo, &[space], &|[kind, ..]| kind == 4);
        // What an address space shows is what its maker has mapped there, or it is gone.
        legal(Call::AsQuery, &[space, HERE], &|[found, offset, attributes, ..]| {
            found == mem && offset == 0 && attributes == R
        });
        // What could be mapped cannot be freed, so it holds what its owner has written to it.
        if turn % 4 == 0 && legal(Call::AsMap, &[0, own, mem, 0, 1, R], &|_| true) {
            if peek(own) != Ok(mem) {
                STRANGE.fetch_add(1, Ordering::AcqRel);
            }
            legal(Call::AsUnmap, &[0, own, 1, 0], &|_| true);
            if let Some(hits) = HITS.get(number - 1) {
                hits.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
    ENDED.fetch_add(1, Ordering::AcqRel);
}

/// Repeats a call until it is not busy, and until nothing is left.
fn finish(which: Call, handle: u64) -> Result<(), Failure> {
    loop {
        let (status, [left, ..]) = call(which, &[handle]);
        match status {
            0 if left == 0 => return Ok(()),
            0 => {}
            _ if status == Code::Busy as i64 => vcpu::yield_now(),
            _ => ensure_equal(which.name(), status.cast_unsigned(), 0)?,
        }
    }
}

/// Objects and address spaces come and go while three vCPUs look them up, map them and ask what is in them.
pub(crate) fn tl12_what_is_looked_up_is_whole_or_gone(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..=3).zip(&STACKS) {
        vcpu::launch(number, stack, look_up, number)?;
    }
    for round in 0_u64.. {
        let has_hit = HITS.iter().any(|hits| hits.load(Ordering::Acquire) > 0);
        if round >= 150 && has_hit {
            break;
        }
        let mem = alloc(if round % 2 == 0 { 1 } else { 4 }).map_err(|_| "an object is refused")?;
        map(mem, HERE, 1)?.store(0, mem)?;
        memory::unmap(ipa(HERE)?, 1)?;
        let [space, ..] = succeeds("CREATE", Call::AsCreate, &[])?;
        succeeds("MAP", Call::AsMap, &[space, HERE, mem, 0, 1, R])?;
        PUBLISHED.store(mem | space << 32, Ordering::Release);
        // On one core the others come by being waited for.
        for _ in 0..4 {
            vcpu::yield_now();
        }
        finish(Call::AsDestroy, space)?;
        // While the others go on FREE meets a page of theirs that is mapped, or wins; then they let go of it.
        let is_freed = (0..20).any(|_| call(Call::MemFree, &[mem]).0 == 0);
        PUBLISHED.store(0, Ordering::Release);
        if !is_freed || call(Call::MemFree, &[mem]).0 != Code::Stale as i64 {
            finish(Call::MemFree, mem)?;
        }
    }
    IS_OVER.store(true, Ordering::Release);
    while ENDED.load(Ordering::Acquire) < 3 {
        vcpu::yield_now();
    }
    let [what, answer] = &WHAT;
    ensure_equal("the call that answered wrongly", what.load(Ordering::Acquire), 0)?;
    ensure_equal("its status", answer.load(Ordering::Acquire), 0)?;
    ensure_equal("lookups that went wrong", STRANGE.load(Ordering::Acquire), 0)?;
    let left = alloc(4).map_err(|_| "an object is refused at the end")?;
    free(left)
}
