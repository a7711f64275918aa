//! The stacks of the calling vCPU, and the walk of its frames for a report.

use ::core::arch::asm;
use ::core::ops::Range;
use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_abi::addr::PAGE_SIZE;

use super::frames::Frames;
use super::stack;

/// Tops of the stacks of vCPUs that run on a [`Stack`](super::Stack), by number; 0 of the others. Relaxed: each vCPU reads what it
/// wrote itself.
static TOPS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

unsafe extern "C" {
    static __exception_stack_guard: u8;
    static __exception_stack_top: u8;
    static __stack_guard: u8;
    static __stack_bottom: u8;
    static __stack_top: u8;
}

/// Remembers that the calling vCPU runs on the [`Stack`](super::Stack) that ends at `top`.
pub(super) fn remember(top: usize) {
    if let Some(own) = TOPS.get(super::vcpu_number()) {
        own.store(top as u64, Ordering::Relaxed);
    }
}

/// Returns the walk of the frames of the calling vCPU, inside the stack that it is on. A vCPU that was not started by this library
/// has a stack that is not known, and no frames.
pub(crate) fn frames() -> Frames {
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    let own = own().into_iter().find(|stack| stack.contains(&frame)).unwrap_or(0..0);
    // SAFETY: the calling vCPU's own stack, mapped without its guard pages, which only it writes, through SP; nothing here holds
    // a reference into the frames that are walked, those of its callers.
    unsafe { Frames::new(own, frame) }
}

/// Returns the addresses below the calling vCPU's stack that are its own and not mapped: the guard page, and the room above it.
pub(crate) fn stack_guard() -> Range<u64> {
    let [main, _] = own();
    let first = main.start.saturating_sub(PAGE_SIZE);
    first..main.start + stack_room_bytes()
}

/// Returns the addresses into which the stack of the calling vCPU may grow: none but on the first one.
pub(crate) fn stack_room() -> Range<u64> {
    let [main, _] = own();
    main.start..main.start + stack_room_bytes()
}

fn stack_room_bytes() -> u64 {
    match TOPS.get(super::vcpu_number()).map(|top| top.load(Ordering::Relaxed)) {
        Some(0) => ((&raw const __stack_bottom).addr() as u64).saturating_sub(own()[0].start),
        Some(_) | None => 0,
    }
}

/// Returns the stacks of the calling vCPU: that of the program and that of exceptions.
fn own() -> [Range<u64>; 2] {
    let number = super::vcpu_number();
    match TOPS.get(number).map(|top| top.load(Ordering::Relaxed)) {
        Some(0) if number == 0 => {
            let behind = |guard: *const u8| guard.addr() as u64 + PAGE_SIZE;
            let (main, exception) = (behind(&raw const __stack_guard), behind(&raw const __exception_stack_guard));
            let top = |end: *const u8| end.addr() as u64;
            [main..top(&raw const __stack_top), exception..top(&raw const __exception_stack_top)]
        }
        Some(0) | None => [0..0, 0..0],
        Some(top) => stack::ranges(top),
    }
}
