//! Signs on a PC, which is no such board: there are none.

/// How often the LED would blink for a machine that cannot be used.
pub const REFUSED: u32 = 2;
/// The same for a panic.
pub const PANIC: u32 = 3;

/// Says nothing.
pub fn step(_step: char) {}

/// Ends nothing.
pub fn end_line() {}

/// Turns nothing off.
pub fn booted() {}

/// Blinks nothing.
pub fn leave() {}

/// Does nothing on a PC.
pub fn blink(_code: u32) {}

/// Returns `false`: there is no such UART.
pub fn is_mini_uart() -> bool {
    false
}

/// Returns a UART that a PC does not have; nothing there is refused before there is a console.
pub(super) fn uart() -> usize {
    0x0900_0000
}
