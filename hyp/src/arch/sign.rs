//! Sign: what a Raspberry Pi 4 shows of boot before there is a console, and without one: characters on the UART, and the activity
//! LED. Elsewhere nothing is touched, and every function here does nothing.
//!
//! Called by boot and by the dispatcher as the first guest is about to run. `sign.S` has found out whether this is such a board.

use core::fmt::Write;

use super::panic::Polled;
use super::region::native;
use super::{cpu, timer};
use crate::sync::{AtomicU64, Ordering};

unsafe extern "C" {
    /// [`NONE`], [`OPEN`] or [`CLOSED`]. Relaxed: the booted core writes it before other cores run.
    static arch_sign_state: AtomicU64;
    /// The UART that entry.S took for the console's, plus 1 if it is a mini UART. Written before Rust runs, and never again.
    static arch_sign_uart: u64;
}

/// Another board.
const NONE: u64 = 0;
/// The line of boot has begun.
const OPEN: u64 = 1;
/// The line has ended: the console has the UART.
const CLOSED: u64 = 2;

/// Set and clear registers of the pins 32 to 53, and the LED's bit in them ("BCM2711 ARM Peripherals", General Purpose I/O).
const GPSET1: usize = 0xfe20_0020;
const GPCLR1: usize = 0xfe20_002c;
const LED: u32 = 1 << 10;

/// How often the LED blinks for a machine that cannot be used, between pauses.
pub const REFUSED: u32 = 2;
/// The same for a panic.
pub const PANIC: u32 = 3;

fn state() -> &'static AtomicU64 {
    // SAFETY: a word of the image, defined in sign.S, that is accessed as an atomic from Rust alone, once Rust runs.
    unsafe { &arch_sign_state }
}

/// Returns the address of the UART that boot has spoken on so far, plus 1 if that is a mini UART.
pub(super) fn uart() -> usize {
    // SAFETY: a word of the image, defined in sign.S, that nobody writes once Rust runs.
    native(unsafe { arch_sign_uart })
}

/// Returns whether the payload's header asks for the mini UART. It was believed in one place, sign.S: magic and version were right.
#[must_use]
pub fn is_mini_uart() -> bool {
    uart() & 1 != 0
}

/// Says that boot has come to `step`, a character.
pub fn step(step: char) {
    if state().load(Ordering::Relaxed) == OPEN {
        let _ = Polled.write_char(step); // never fails
    }
}

/// Ends the line, if it has begun: what follows on the UART is a line of its own.
pub fn end_line() {
    if state().load(Ordering::Relaxed) == OPEN {
        let _ = Polled.write_char('\n'); // never fails
        state().store(CLOSED, Ordering::Relaxed);
    }
}

/// Ends the line, and touches nothing from here on: the device tree says that this is another board after all.
pub fn leave() {
    end_line();
    state().store(NONE, Ordering::Relaxed);
}

/// Turns the LED off: boot is over.
pub fn booted() {
    light(false);
}

fn light(is_on: bool) {
    if state().load(Ordering::Relaxed) == NONE {
        return;
    }
    let register = core::ptr::with_exposed_provenance_mut::<u32>(if is_on { GPSET1 } else { GPCLR1 });
    // SAFETY: a register of the pins, which both maps cover as a device on this board. Its zeros change nothing, so that whoever has
    // other pins is not disturbed.
    unsafe { register.write_volatile(LED) };
}

/// Blinks `code` times, twice over, for those who have no cable. Takes some seconds.
pub fn blink(code: u32) {
    if state().load(Ordering::Relaxed) == NONE {
        return;
    }
    for _ in 0..2 {
        for _ in 0..code {
            light(true);
            pause(4);
            light(false);
            pause(4);
        }
        pause(16);
    }
}

/// Waits for so many sixteenths of a second.
fn pause(sixteenths: u64) {
    let deadline = timer::now().saturating_add(timer::frequency() / 16 * sixteenths);
    while timer::now() < deadline {
        cpu::relax();
    }
}
