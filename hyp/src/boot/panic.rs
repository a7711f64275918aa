//! Panic: the one report when the hypervisor itself is wrong. Works without a lock that cannot be had and without memory;
//! ends with the machine off, so that a test run ends at once, or with the reset of the board's watchdog where that runs.

use core::fmt::Write;
use core::panic::PanicInfo;

use crate::arch::panic::{Polled, Role, backtrace, drain_uart, enter, park, stop, stop_others};
use crate::arch::{entry, firmware, sign, this_core};
use crate::console::Console;
use crate::series::{self, Verdict};

/// Reports `info` once, stops every core and the machine. Called by the image's panic handler on whichever core.
pub fn report(info: &PanicInfo<'_>, console: &Console) -> ! {
    match enter() {
        Role::Reporter => {}
        Role::Other => stop(),
        Role::Again => {
            line(console, format_args!("panic while reporting a panic"));
            finish()
        }
    }
    firmware::feed_for_the_last_time(); // what waits for the UART may take a second
    let missing = stop_others();
    sign::end_line();
    console.flush_polled();
    let start = entry::image().start;
    line(
        console,
        format_args!("on core {}, build {:016x}: {}", this_core().index(), entry::build_id(), info.message()),
    );
    if let Some(place) = info.location() {
        line(console, format_args!("at {}:{}", place.file(), u64::from(place.line())));
    }
    line(console, format_args!("image at {start:#x}; called from, innermost first:"));
    for address in backtrace() {
        line(console, format_args!("  +{:#x} ({address:#x})", address.wrapping_sub(start)));
    }
    if missing > 0 {
        line(console, format_args!("cores that did not stop: {missing}"));
    } else {
        line(console, format_args!("all cores stopped"));
    }
    finish()
}

fn line(console: &Console, text: core::fmt::Arguments<'_>) {
    // Polled never fails; an error of a Display implementation leaves a shorter line.
    let _ = writeln!(Polled, "strato: panic: {text}");
    console.keep(format_args!("strato: panic: {text}"));
}

fn finish() -> ! {
    drain_uart();
    if series::end(Verdict::PANICKED).is_some() {
        firmware::system_reset();
    }
    let is_reset = firmware::feed_for_the_last_time();
    sign::blink(sign::PANIC);
    if !is_reset {
        firmware::system_off();
    }
    park()
}
