//! A board that Strato does not know, and the PC on which the tests run: nothing is assumed.

use strato_abi::board;

use super::Known;

/// Matches no device tree by its string.
pub(super) static BOARD: Known = Known {
    name: "unknown",
    compatible: "",
    map: &board::UNKNOWN,
    uart_clock_hz: 0,
    mini_uart: None,
    has_stock_stub: false,
    routes_console: false,
    power: None,
    retained: None,
};
