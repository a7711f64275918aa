//! Options that several commands have. Part of `cli`.

use std::path::PathBuf;

use clap::Args;

use crate::serial::BAUD;
use crate::system::{Board, size};

/// Which form of the hypervisor.
#[derive(Clone, Copy, Debug, Args)]
pub struct ImageKind {
    /// Take the hypervisor that checks itself: its assertions, and the monitor of the page-table protocol. Slower
    #[arg(long)]
    pub checked: bool,
}

/// The machine that QEMU plays.
#[derive(Clone, Debug, Args)]
pub struct Machine {
    /// Board [default: as the system says, else qemu-virt]
    #[arg(long, value_enum)]
    pub board: Option<Board>,
    /// Version of the interrupt controller of `qemu-virt` [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub gic: Option<u8>,
    /// Give board `rpi4` a device tree: that of FILE, or one of this tool's
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub device_tree: Option<Option<PathBuf>>,
    /// CPU model [default: as the system says, else cortex-a72]
    #[arg(long)]
    pub cpu: Option<String>,
    /// Make every run the same: a tick is an instruction, and cores take turns
    #[arg(long)]
    pub counted: bool,
}

/// A real board, in place of QEMU.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "On a board")]
pub struct Serial {
    /// Run on a Raspberry Pi 4 whose console is on this serial line, such as /dev/ttyUSB0
    #[arg(long, value_name = "DEVICE")]
    pub serial: Option<PathBuf>,
    /// Speed of the serial line
    #[arg(long, value_name = "BAUD", requires = "serial", default_value_t = BAUD)]
    pub baud: u32,
    /// Write each system to DIR/kernel8.img first: the folder of a TFTP server, or a mounted card, that `strato sd` made
    #[arg(long, value_name = "DIR", requires = "serial")]
    pub deliver: Option<PathBuf>,
    /// Command of the shell that resets the board or gives it power, with the path of kernel8.img as "$1"; without it you are asked to
    #[arg(long, value_name = "COMMAND", requires = "serial")]
    pub reset_with: Option<String>,
    /// Seconds until the board's first line [default: 120 with --reset-with, else 600]
    #[arg(long, value_name = "SECONDS", requires = "serial")]
    pub patience: Option<u32>,
}

/// Returns log2 of the 4 KiB frames of a ring.
pub(super) fn ring(text: &str) -> Result<u32, String> {
    let bytes = size::parse(text).map_err(|why| format!("{why}: write a power of two from 4KiB to 64MiB"))?;
    if bytes.is_power_of_two() && (4 << 10..=64 << 20).contains(&bytes) {
        Ok((bytes >> 12).trailing_zeros())
    } else {
        Err("is no power of two from 4KiB to 64MiB".into())
    }
}
