//! Which UART the console has, in a system file: reading it, and what no VM can have then. Called by `manifest` and `devices`.

use strato_abi::board::{Block, Map, RPI4, share_a_page};
use strato_abi::mini_uart;

use super::board::Board;
use super::model::System;
use super::problem::Problem;
use super::reader::Table;

/// Returns whether the console of a Raspberry Pi 4 is its mini UART. On a board without one that changes nothing; for such a board alone
/// it makes no sense.
pub fn read(table: &Table<'_>, board: Option<Board>) -> bool {
    let has_mini_uart = table.choice("console", &[("pl011", false), ("mini-uart", true)]).unwrap_or(false);
    if has_mini_uart && board == Some(Board::QemuVirt) {
        let fix = "write `board = \"rpi4\"`, or take one of the two lines out";
        let why = "the system is for board qemu-virt alone";
        table.problems().add(Problem::new("the board has no mini UART", &table.span_of("console"), why, fix));
    }
    has_mini_uart
}

/// Returns the page of the mini UART if that is the console on `board` and `start..end` touches it.
pub(super) fn keeps(system: &System, board: &Map, start: u64, end: u64) -> Option<&'static Block> {
    let page = &mini_uart::PAGE;
    let is_met = share_a_page((start, end), (page.start, page.end));
    (system.has_mini_uart && *board == RPI4 && is_met).then_some(page)
}

/// Returns whether interrupt `intid` of `board` is the console's, or the hypervisor's otherwise.
pub(super) fn keeps_interrupt(system: &System, board: &Map, intid: u32) -> bool {
    board.kept_interrupts.contains(&intid) || (system.has_mini_uart && *board == RPI4 && intid == mini_uart::INTID)
}
