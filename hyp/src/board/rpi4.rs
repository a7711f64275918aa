//! Raspberry Pi 4 Model B (BCM2711).

use strato_abi::board;

use super::Known;

/// With the stock firmware. The UART's clock is config.txt's `init_uart_clock`, 48 MHz unless set.
pub(super) static BOARD: Known = Known {
    name: "rpi4",
    compatible: "raspberrypi,4-model-b",
    map: &board::RPI4,
    uart_clock_hz: 48_000_000,
    has_stock_stub: true,
};
