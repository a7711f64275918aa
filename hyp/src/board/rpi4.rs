//! Raspberry Pi 4 Model B (BCM2711).

use heapless::{String, Vec};
use strato_abi::{board, mini_uart};

use super::{BoardInfo, CoreMethod, GicInfo, Known, SpinTable, UartInfo};
use crate::arch::region::Region;

/// With the stock firmware. The UART's clock is config.txt's `init_uart_clock`, 48 MHz unless set.
pub(super) static BOARD: Known = Known {
    name: "rpi4",
    compatible: "raspberrypi,4-model-b",
    map: &board::RPI4,
    uart_clock_hz: 48_000_000,
    mini_uart: Some(UartInfo {
        registers: Region { start: mini_uart::PAGE.start, end: mini_uart::PAGE.end },
        intid: mini_uart::INTID,
    }),
    has_stock_stub: true,
    routes_console: true,
    power: Some(Region { start: 0xfe10_0000, end: 0xfe10_1000 }),
    // Where the firmware's own `ramoops-pi4` overlay has Linux keep 64 KiB over a reset. The stub is below, the image at 512 KiB, the
    // device tree beyond (at about 752 MiB), the firmware's own memory from 948 MiB on.
    retained: Some(0x0b00_0000),
};

/// Returns the board as it is without a device tree: the memory that every model has, less what the firmware keeps; the cores in
/// the firmware's spin table.
#[must_use]
pub fn without_tree() -> BoardInfo {
    let mut ram = Vec::new();
    let _ = ram.push(Region { start: 0x1000, end: 0x3b40_0000 }); // there is room for eight
    BoardInfo {
        known: &BOARD,
        ram,
        reserved: Vec::new(),
        cores: [0, 1, 2, 3].into_iter().collect(),
        cores_left_out: 0,
        method: SpinTable::of(&[0xd8, 0xe0, 0xe8, 0xf0]).map_or(CoreMethod::None, CoreMethod::SpinTable),
        gic: GicInfo::V2 { distributor: Region::new(0xff84_1000, 0x1000), cpu: Region::new(0xff84_2000, 0x2000) },
        uart: UartInfo { registers: Region::new(0xfe20_1000, 0x200), intid: 153 },
        clock: None,
        gpio: None,
        firmware: String::new(),
    }
}
