//! QEMU's `virt` machine: everything is in its device tree, and its UART takes any baud rate.

use strato_abi::board;

use super::Known;

/// `qemu-system-aarch64 -M virt,virtualization=on`.
pub(super) static BOARD: Known = Known {
    name: "qemu-virt",
    compatible: "linux,dummy-virt",
    map: &board::QEMU_VIRT,
    uart_clock_hz: 24_000_000,
    mini_uart: None,
    has_stock_stub: false,
    routes_console: false,
    power: None,
    // Below the image, where QEMU's loader writes 64 bytes at the start of RAM alone, at reset too (`hw/arm/boot.c`).
    retained: Some(0x4007_0000),
};
