//! TL02, the half of it that is instructions: a core executes a page while another takes it away.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::Call;
use strato_guest::memory::{self, Window};
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, ensure, ensure_equal, time, vcpu};

use crate::arch;
use crate::objects::{free, handle};
use crate::raw::succeeds;
use crate::scratch::{READ_EXECUTE, Scratch, hold, ipa, release, waiting};
use crate::shares::{HERE, R, THERE, object};
use crate::stale::map;
use crate::words::{RET, pair};

/// Counts at x0 until the word behind the count is not zero.
const COUNT_ON: [u32; 6] = [
    0xf940_0001, // ldr x1, [x0]
    0x9100_0421, // add x1, x1, #1
    0xf900_0001, // str x1, [x0]
    0xf940_0402, // ldr x2, [x0, #8]
    0xb4ff_ff82, // cbz x2, to the first
    RET,
];
/// The count, in the second page, and the word that ends it.
const COUNT: u64 = 4096;
const STOP: u64 = COUNT + 8;

static STACK: Stack = Stack::new();
/// Rounds that were begun and that were ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn count(_: usize) {
    while !IS_OVER.load(Ordering::Acquire) {
        if BEGUN.load(Ordering::Acquire) == ENDED.load(Ordering::Acquire) {
            vcpu::yield_now();
            continue;
        }
        arch::run(THERE, &mut [HERE + COUNT; 30]);
        ENDED.fetch_add(1, Ordering::AcqRel);
    }
}

fn until(is_so: impl Fn() -> Result<bool, Failure>, or: &'static str) -> Result<(), Failure> {
    let deadline = time::deadline_in(4_000_000);
    while !is_so()? {
        ensure(time::counter() < deadline, or)?;
        vcpu::yield_now();
    }
    Ok(())
}

/// Takes the page at `THERE` away in one of the ways there are.
fn take_away(way: u64) -> Result<(), Failure> {
    match way {
        0 => succeeds("PROTECT", Call::AsProtect, &[0, THERE, 1, R, 0])?,
        1 => succeeds("UNMAP", Call::AsUnmap, &[0, THERE, 1, 0])?,
        2 => {
            succeeds("PROTECT", Call::AsProtect, &[0, THERE, 1, R, 1])?;
            succeeds("SYNC", Call::AsSync, &[0])?
        }
        _ => {
            succeeds("UNMAP", Call::AsUnmap, &[0, THERE, 1, 1])?;
            succeeds("SYNC", Call::AsSync, &[0])?
        }
    };
    Ok(())
}

fn give_back(way: u64, mem: u64) -> Result<(), Failure> {
    let map = [0, THERE, mem, 0, 1, READ_EXECUTE.bits()];
    match way % 2 {
        0 => succeeds("PROTECT", Call::AsProtect, &[0, THERE, 1, READ_EXECUTE.bits(), 0])?,
        _ => succeeds("MAP", Call::AsMap, &map)?,
    };
    Ok(())
}

/// Another vCPU executes a page, without an exit, that may no longer be executed, or is gone: behind the call it executes nothing of
/// it, and it goes on where it was when the page is back.
pub(crate) fn tl02x_what_is_protected_is_never_executed_again(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = object(2)?;
    let own: Window = map(mem, HERE, 2)?;
    for (at, words) in (0..).step_by(8).zip(COUNT_ON.chunks_exact(2)) {
        if let [low, high] = *words {
            own.store(at, pair(low, high))?;
        }
    }
    arch::synchronize_code(HERE, 4096);
    memory::map(handle(mem), 0, ipa(THERE)?, 1, READ_EXECUTE)?;
    vcpu::launch(1, &STACK, count, 0)?;
    for round in 0..40_u64 {
        own.store(COUNT, 0)?;
        own.store(STOP, 0)?;
        hold(THERE);
        BEGUN.fetch_add(1, Ordering::AcqRel);
        until(|| Ok(own.load(COUNT)? > 50), "the other vCPU executes nothing")?;
        take_away(round % 4)?;
        // What was fetched before the call returned may come to its end.
        arch::spin(&mut [1000; 30]);
        let counted = own.load(COUNT)?;
        until(|| Ok(waiting() == round + 1), "the other vCPU does not fault")?;
        ensure_equal("rounds counted by what is no instruction", own.load(COUNT)?, counted)?;
        own.store(STOP, 1)?;
        give_back(round % 4, mem)?;
        release();
        until(|| Ok(ENDED.load(Ordering::Acquire) == round + 1), "the other vCPU does not end")?;
        ensure(own.load(COUNT)? <= counted + 1, "it counted behind its end")?;
    }
    IS_OVER.store(true, Ordering::Release);
    memory::unmap(ipa(THERE)?, 1)?;
    memory::unmap(ipa(HERE)?, 2)?;
    free(mem)
}
