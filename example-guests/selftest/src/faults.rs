//! Fault handlers: what they are told, what they may do, and what becomes of one that faults itself.

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::LastFault;
use strato_guest::abi::{Ipa, MemHandle};
use strato_guest::fault::{self, Access, Action, Fault};
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::vcpu::{self, Stack};
use strato_guest::{Failure, Info, ensure, ensure_equal, info};

use crate::trouble;

/// Where nothing is.
const NOTHING: Ipa = Ipa::new(0x7000_0000).unwrap();
/// Faults that were handled. Relaxed: read by the vCPU that has them, or after it is off.
static FAULTS: AtomicU64 = AtomicU64::new(0);

fn ram() -> Option<MemHandle> {
    info::get().mem("ram").ok().map(|ram| ram.handle)
}

/// Maps what is touched below a stack.
fn grow(fault: &Fault) -> Action {
    let (Some(page), Some(ram)) = (fault.page().filter(|_| fault.is_stack_overflow()), ram()) else {
        return Action::Panic;
    };
    FAULTS.fetch_add(1, Ordering::Relaxed);
    if memory::map_ram(ram, page, 1, READ_WRITE).is_ok() { Action::Retry } else { Action::Panic }
}

/// Uses more stack than there is: the handler makes it grow, page by page, into its room; and on another vCPU, which has no
/// room, into the guard page.
pub(crate) fn stack_grows() -> Result<(), Failure> {
    const DEPTH: u64 = 18;
    static STACK: Stack = Stack::new();
    let room = vcpu::stack_room();
    ensure_equal("bytes of room", room.end - room.start, 16 << 10)?;
    fault::set_handler(grow);
    let sum = |_| trouble::recurse(0, DEPTH);
    ensure_equal("the sum", sum(()), 64 * DEPTH * (DEPTH - 1) / 2)?;
    let faults = FAULTS.swap(0, Ordering::Relaxed);
    ensure((2..=4).contains(&faults), "a fault for each page of room that was used")?;
    ensure_equal("the sum again", sum(()), 64 * DEPTH * (DEPTH - 1) / 2)?;
    ensure_equal("faults on pages that are there", FAULTS.load(Ordering::Relaxed), 0)?;

    vcpu::launch(1, &STACK, deep, 17)?;
    while vcpu::state(1)? != Some(strato_guest::abi::vcpu::RunState::Off) {
        vcpu::yield_now();
    }
    ensure_equal("faults on the other stack", FAULTS.load(Ordering::Relaxed), 1)
}

fn deep(depth: usize) {
    black_box(trouble::recurse(0, depth as u64));
}

/// Holds what a handler is told against what was done, and the program's registers after many faults.
pub(crate) fn told(info: &Info) -> Result<(), Failure> {
    static LAST: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    fn note(fault: &Fault) -> Action {
        let reason = fault.reason().ok().flatten().map_or(u64::MAX, |reason| reason as u64);
        let facts = [fault.access() == Some(Access::Write), fault.is_translation(), fault.bytes() == Some(8)];
        let facts = facts.into_iter().fold(0, |bits, fact| bits << 1 | u64::from(fact));
        for (cell, value) in LAST.iter().zip([fault.address, facts, reason, fault.status & 0xf]) {
            cell.store(value, Ordering::Relaxed);
        }
        FAULTS.fetch_add(1, Ordering::Relaxed);
        Action::Skip
    }
    let last = || LAST.each_ref().map(|cell| cell.load(Ordering::Relaxed));
    const EL1T: u64 = 4;

    fault::set_handler(note);
    let nothing = Window::new(NOTHING, 2 * PAGE_SIZE).ok_or("no room")?;
    ensure(nothing.load(0x128).is_err(), "a load of nothing")?;
    ensure(last() == [NOTHING.bytes() + 0x128, 0b011, LastFault::Translation as u64, EL1T], "the load as it was")?;
    ensure(nothing.store(0x130, 1).is_err(), "a store to nothing")?;
    ensure(last() == [NOTHING.bytes() + 0x130, 0b111, LastFault::Translation as u64, EL1T], "the store as it was")?;
    let free = memory::free_ram(info).start - info.ram().start;
    memory::map(ram().ok_or("no ram")?, free, NOTHING, 1, READ)?;
    ensure(nothing.store(8, 1).is_err(), "a store to what is read-only")?;
    ensure(last() == [NOTHING.bytes() + 8, 0b101, LastFault::Permission as u64, EL1T], "the refused store as it was")?;

    // More values than the registers that a fault's way in and out saves, alive over faults in between.
    let mut values =
        black_box([1_u64, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
    for _ in 0..100 {
        let _ = nothing.load(PAGE_SIZE);
        values = values.map(|value| value.wrapping_mul(3) ^ 5);
        let _ = nothing.load(PAGE_SIZE);
    }
    let mut expected: [u64; 24] = core::array::from_fn(|n| n as u64 + 1);
    for _ in 0..100 {
        expected = black_box(expected.map(|value| value.wrapping_mul(3) ^ 5));
    }
    ensure(values == expected, "registers are as they were")?;
    ensure_equal("faults", FAULTS.load(Ordering::Relaxed), 203)
}

/// Faults in the handler, in an access that the program outside of it could go on behind.
pub(crate) fn in_the_handler() -> Result<(), Failure> {
    fault::set_handler(|_| match Window::new(NOTHING, 8).map(|nothing| nothing.load(0)) {
        Some(_) | None => Action::Skip,
    });
    touch_nothing()
}

/// Uses more of the handler's stack than there is.
pub(crate) fn on_the_handlers_stack() -> Result<(), Failure> {
    fault::set_handler(|_| {
        black_box(trouble::overflow(0));
        Action::Skip
    });
    touch_nothing()
}

fn touch_nothing() -> Result<(), Failure> {
    let nothing = Window::new(NOTHING, 8).ok_or("no room")?;
    let _ = nothing.load(0);
    Err("the handler came back".into())
}
