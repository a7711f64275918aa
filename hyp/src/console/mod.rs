//! Console: one ring of whole lines that the UART's transmit interrupt drains, so that nobody waits for the line: 112
//! bytes take 10 ms at 115,200 baud. Called by boot, the dispatcher (its interrupt), the CON calls, and `log`.
//!
//! Every line says whose it is: `strato: text` or `[label] text`. A guest's line that finds no room stays with the guest,
//! which is told how much was taken; a line of the hypervisor is dropped and counted.

use core::fmt::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Once;

use crate::arch::mmio::Device;
use crate::lock::{CONSOLE, Lock};

mod line;
mod mini;
mod own;
mod past;
mod pl011;
mod ring;
mod uart;

pub use line::LineBuffer;
use own::OwnLine;
use past::Assembled;
pub use past::Past;
use ring::Ring;
use uart::Uart;
pub use uart::Wire;

/// Bytes that wait for the UART.
const RING_BYTES: usize = 16 * 1024;
/// Bytes of the ring that guests leave to the hypervisor's own lines.
const OWN_BYTES: usize = 4 * 1024;
/// Lines that one call of a guest can end by line feeds; each costs a copy and a full UART FIFO. It can end one by filling it.
const LINES_PER_WRITE: usize = 8;
/// Most bytes of a label in a line.
const LABEL_BYTES: usize = 40;
/// Bytes that wait for the VM with console input.
const INPUT_BYTES: usize = 256;

/// The machine's console. One exists, in the image's static data.
pub struct Console {
    state: Lock<State, CONSOLE>,
    /// The last lines, for after a reset. Outside of the lock: a panic adds to them.
    past: Once<Past>,
}

struct State {
    output: Ring<RING_BYTES>,
    input: Ring<INPUT_BYTES>,
    uart: Option<Uart>,
    dropped: u32,
    /// The line that is being put.
    line: Assembled,
}

impl State {
    /// Puts a line of the hypervisor, or counts it.
    fn put_own(&mut self, text: &[u8]) {
        if self.dropped > 0 {
            let mut note = OwnLine::new(Level::Info);
            // A line has room for any count.
            let _ = write!(note, "{} lines dropped", u64::from(self.dropped));
            let note = note.finish();
            if self.output.room() >= note.len() + text.len() && self.output.put(note) {
                self.dropped = 0;
            }
        }
        if self.dropped > 0 || !self.output.put(text) {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.send();
    }

    fn send(&mut self) {
        if let Some(uart) = &mut self.uart {
            uart.send(&mut self.output);
        }
    }
}

impl Console {
    /// Returns a console without a UART: lines wait in the ring until [`Console::attach`].
    #[must_use]
    pub const fn new() -> Self {
        let state = State { output: Ring::new(), input: Ring::new(), uart: None, dropped: 0, line: Assembled::new() };
        Self { state: Lock::new(state), past: Once::new() }
    }

    /// Makes this the place where `log` goes; lines less important than `level` are not even formatted.
    pub fn start_log(&'static self, level: LevelFilter) {
        // The error says that a logger exists, which is this one.
        let _ = log::set_logger(self);
        log::set_max_level(level);
    }

    /// Gives the console its UART, which is as `wire` says, and sends what waits. Returns whether `device` can be one.
    pub fn attach(&self, device: Device, wire: Wire) -> bool {
        let uart = Uart::new(device, wire);
        let mut state = self.state.lock_leaf();
        state.uart = uart;
        state.send();
        state.uart.is_some()
    }

    /// Takes bytes that a guest wrote; whole lines go out as `[label] text`, the rest waits in `line`. Returns how many
    /// bytes were taken: fewer than all when the ring has no room, or when they end more lines than one call may, and the guest
    /// keeps those.
    pub fn guest_write(&self, label: &str, line: &mut LineBuffer, bytes: &[u8]) -> usize {
        let (taken, has_lines) = self.take_lines(label, line, bytes);
        // Once for all lines: the first one fills the FIFO of a UART that is no emulator's.
        if has_lines {
            self.state.lock_leaf().send();
        }
        taken
    }

    /// As `guest_write`, without sending; returns whether there is something to send too.
    #[inline(always)]
    fn take_lines(&self, label: &str, line: &mut LineBuffer, bytes: &[u8]) -> (usize, bool) {
        let mut lines = 0;
        for (taken, &byte) in bytes.iter().enumerate() {
            let is_taken = match byte {
                b'\n' if lines == LINES_PER_WRITE => false,
                b'\n' => {
                    lines += 1;
                    self.put_lines(label, line, true)
                }
                _ if line.push(byte) => true,
                // To end a full one is as much work as those that line feeds may end, and nothing behind it is taken.
                _ => return (taken + usize::from(lines == 0 && self.put_line(label, line) && line.push(byte)), true),
            };
            if !is_taken {
                return (taken, true);
            }
        }
        (bytes.len(), lines > 0)
    }

    /// Sends what waits in `line` as a line of its own, if something does. Returns `false`, with all that waits still in `line`, when the
    /// ring has no room.
    pub fn guest_flush(&self, label: &str, line: &mut LineBuffer) -> bool {
        let is_put = self.put_lines(label, line, false);
        self.state.lock_leaf().send();
        is_put
    }

    fn put_lines(&self, label: &str, line: &mut LineBuffer, and_empty: bool) -> bool {
        let is_settled = line.settle() || (self.put_line(label, line) && line.settle());
        is_settled && ((line.shown().is_empty() && !and_empty) || self.put_line(label, line))
    }

    /// Moves what `line` shows to the ring, with its prefix, if there is room.
    #[inline(never)]
    fn put_line(&self, label: &str, line: &mut LineBuffer) -> bool {
        let label = label.as_bytes();
        let label = label.get(..LABEL_BYTES).unwrap_or(label);
        let mut guard = self.state.lock_leaf();
        let state = &mut *guard;
        state.line.clear();
        for part in [b"[", label, b"] ", line.shown(), b"\n"] {
            state.line.push(part);
        }
        let text = state.line.text();
        // What is left beyond this is for the hypervisor's own lines: no guest can keep a verdict from being said.
        let is_put = state.output.room() >= OWN_BYTES + text.len() && state.output.put(text);
        if let Some(past) = self.past.get().filter(|_| is_put) {
            past.put(&mut state.line);
        }
        drop(guard);
        if is_put {
            line.clear();
        }
        is_put
    }

    /// Serves the UART's interrupt: takes what arrived and sends what waits, both bounded by the FIFOs. Returns whether
    /// input arrived.
    pub fn on_interrupt(&self) -> bool {
        let mut guard = self.state.lock_leaf();
        let state = &mut *guard;
        let Some(uart) = &mut state.uart else { return false };
        let has_input = uart.receive(&mut state.input);
        uart.send(&mut state.output);
        has_input
    }

    /// Moves received bytes into `buffer`. Returns how many.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        let mut state = self.state.lock_leaf();
        let mut count = 0;
        for (place, byte) in buffer.iter_mut().zip(core::iter::from_fn(|| state.input.take())) {
            *place = byte;
            count += 1;
        }
        count
    }

    /// Sends everything by polling, before the machine is turned off in good order.
    pub fn drain(&self) {
        let mut guard = self.state.lock_leaf();
        let state = &mut *guard;
        if let Some(uart) = &mut state.uart {
            uart.send_polled(&mut state.output);
        }
    }

    /// Sends everything by polling, before a panic's report. A console in use by a core that was stopped is left alone
    /// after a while: better no old lines than no report.
    pub fn flush_polled(&self) {
        for _ in 0..100_000 {
            if let Some(mut guard) = self.state.try_lock() {
                let state = &mut *guard;
                if let Some(uart) = &mut state.uart {
                    uart.send_polled(&mut state.output);
                }
                return;
            }
            crate::arch::relax();
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let mut text = OwnLine::new(record.level());
        // Too long a line is cut off, which is no error here.
        let _ = text.write_fmt(*record.args());
        let text = text.finish();
        let mut state = self.state.lock_leaf();
        state.put_own(text);
        if let Some(past) = self.past.get() {
            state.line.clear();
            state.line.push(text);
            past.put(&mut state.line);
        }
    }

    fn flush(&self) {
        self.flush_polled();
    }
}

/// Says a line of the hypervisor: every place that speaks calls this, so that speaking takes few instructions there.
/// Lines hold numbers as `u64` and `usize`, because the image would carry a formatter for each other width.
#[cold]
#[inline(never)]
pub fn say(level: Level, line: fmt::Arguments<'_>) {
    log::log!(level, "{line}");
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
