//! The command line: what can be said to the tool. `main` hands it to `commands`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::system::{Board, size};

mod options;

use self::options::ring;
pub use self::options::{ImageKind, Machine, Serial};

const EXAMPLES: &str = "\
Examples:
  cargo strato run                    boot the demo system in QEMU
  cargo strato run hello --gic 2      boot one example on a GICv2
  cargo strato check my/system.toml   say what is wrong with a system, line by line
  cargo strato pack demo -o demo.img  make one bootable image
  cargo strato test ping --cores 4    run the scenarios with `ping` in their name on 4 cores
  cargo strato report demo            show whose each range of memory is, and check it
  cargo strato run hello --counted --explain
                                      show what each call came to, with its instructions
  cargo strato trace demo --svg demo.svg
                                      draw which vCPU ran where, and why it stopped
  cargo strato sd demo --firmware fw -o card.img
                                      make a card that boots a Raspberry Pi 4
  cargo strato run demo --serial /dev/ttyUSB0 --deliver /srv/tftp
                                      run a system on a board, and hear it over a serial line
  cargo strato bench --check          measure, and fail when a bar is missed further than accepted

Exit status: 0 passed, 1 a guest or check failed, 2 usage or a bad system file, 69 something is missing, 124 timed out.";

/// Builds, checks, packs, runs and measures systems of guests on Strato.
#[derive(Debug, Parser)]
#[command(name = "strato", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the hypervisor and the guests that a system needs
    Build {
        /// Name or path of a system; without it only the hypervisor is built
        system: Option<String>,
        /// The image
        #[command(flatten)]
        image: ImageKind,
    },
    /// Say what is wrong with a system file, with line and fix
    Check {
        /// Name or path of a system
        system: String,
    },
    /// Make one bootable image of a system
    Pack {
        /// Name or path of a system
        system: String,
        /// File to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The image
        #[command(flatten)]
        image: ImageKind,
    },
    /// Boot a system in QEMU and show what its guests print
    Run {
        /// Name (a file of scripts/systems, or an example guest) or path of a system
        #[arg(default_value = "demo")]
        system: String,
        /// The machine
        #[command(flatten)]
        machine: Machine,
        /// Cores of the machine [default: as the system says, else 1]
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
        cores: Option<u8>,
        /// Seconds after which the run is ended as failed [default: as the system says, else 30]
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// Show the serial line as it is: no colors, no resolved addresses
        #[arg(long)]
        raw: bool,
        /// Then show each time a guest left for the hypervisor, in a line: guest, PC, trap, room, decision, and the
        /// instructions that the room took (ticks, without --counted)
        #[arg(long, conflicts_with_all = ["raw", "serial"])]
        explain: bool,
        /// Explain this VM alone
        #[arg(long, value_name = "NAME", requires = "explain")]
        vm: Option<String>,
        /// What each core may write down, oldest overwritten first: a power of two from 4KiB to 64MiB
        #[arg(long, value_name = "SIZE", value_parser = ring, default_value = "4MiB", requires = "explain")]
        ring: u32,
        /// The image
        #[command(flatten)]
        image: ImageKind,
        /// The board
        #[command(flatten)]
        serial: Serial,
    },
    /// Run every scenario on every configuration
    ///
    /// Scenarios are scripts/systems/*.toml and example-guests/*/system.toml, each on board `qemu-virt` with GICv2 and GICv3, with 1
    /// and 4 cores, and with 2 where the system says `smp = true`, and on board `rpi4`; on one of them where it says `board = ...`.
    /// Those that say `long = true` take minutes and run with --long alone.
    Test {
        /// Only scenarios with one of these texts in their name
        filter: Vec<String>,
        /// Print a JSON record per case instead of lines; runs each case that passed once more, counted, for its instructions
        #[arg(long)]
        json: bool,
        /// Only this board
        #[arg(long, value_enum)]
        board: Option<Board>,
        /// Give board `rpi4` a device tree: that of FILE, or one of this tool's
        #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, requires = "board", conflicts_with = "serial")]
        device_tree: Option<Option<PathBuf>>,
        /// Only this version of the interrupt controller
        #[arg(long, conflicts_with = "serial", value_parser = clap::value_parser!(u8).range(2..=3))]
        gic: Option<u8>,
        /// Only this number of cores
        #[arg(long, conflicts_with = "serial", value_parser = clap::value_parser!(u8).range(1..=8))]
        cores: Option<u8>,
        /// Make every run the same: a tick is an instruction, and cores take turns
        #[arg(long, conflicts_with = "serial")]
        counted: bool,
        /// Scenarios that take minutes, too
        #[arg(long)]
        long: bool,
        /// Machines that run at once
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
        jobs: u8,
        /// The image
        #[command(flatten)]
        image: ImageKind,
        /// The board
        #[command(flatten)]
        serial: Serial,
    },
    /// Measure the figures of the project; every run gives the same values
    ///
    /// The benchmark guests run on one core of a machine that counts: a tick of its clock is an instruction.
    Bench {
        /// Print a JSON array instead of a table
        #[arg(long)]
        json: bool,
        /// Only this version of the interrupt controller
        #[arg(long, conflicts_with = "serial", value_parser = clap::value_parser!(u8).range(2..=3))]
        gic: Option<u8>,
        /// Fail when a bar is missed further than accepted
        #[arg(long, conflicts_with = "serial")]
        check: bool,
        /// The board on the serial line
        #[arg(long, value_enum, requires = "serial")]
        board: Option<Board>,
        /// The board
        #[command(flatten)]
        serial: Serial,
    },
    /// Show the hypervisor's sections and biggest symbols; fail when its text misses the bar further than accepted
    Size {
        /// How many symbols
        #[arg(long, default_value_t = 20)]
        symbols: usize,
    },
    /// Show where everything stands in memory and whose it is, and fail when that is not what the system's file says
    ///
    /// Boots the system as far as its first guest. The map that the hypervisor then prints is compared with the one that
    /// follows from the file and the images.
    Report {
        /// Name or path of a system
        #[arg(default_value = "demo")]
        system: String,
        /// The machine
        #[command(flatten)]
        machine: Machine,
        /// Cores of the machine [default: as the system says, else 1]
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
        cores: Option<u8>,
        /// Print JSON instead of tables
        #[arg(long)]
        json: bool,
        /// Print the verdict alone
        #[arg(long, conflicts_with = "json")]
        check: bool,
    },
    /// Show which vCPU ran where and why it stopped, as a file for Perfetto (ui.perfetto.dev) and as a picture
    ///
    /// Each core writes down every time a guest leaves it, in a ring in memory that is read through QEMU's monitor when the
    /// machine powers off, or stands at its time limit.
    Trace {
        /// Name or path of a system
        #[arg(default_value = "demo")]
        system: String,
        /// File to write: Chrome trace events in JSON [default: trace.json, unless --svg is given]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// File to write: a picture, a lane per core
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// What each core may write down, oldest overwritten first: a power of two from 4KiB to 64MiB
        #[arg(long, value_name = "SIZE", value_parser = ring, default_value = "4MiB")]
        ring: u32,
        /// The machine
        #[command(flatten)]
        machine: Machine,
        /// Cores of the machine [default: as the system says, else 1]
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
        cores: Option<u8>,
        /// Seconds after which the run is ended [default: as the system says, else 30]
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// The image
        #[command(flatten)]
        image: ImageKind,
    },
    /// Start a system stopped, with a debugger that knows its symbols
    Gdb {
        /// Name or path of a system
        #[arg(default_value = "demo")]
        system: String,
        /// The machine
        #[command(flatten)]
        machine: Machine,
        /// Cores of the machine [default: as the system says, else 1]
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
        cores: Option<u8>,
    },
    /// Write a card from which a Raspberry Pi 4 boots a system; needs no root, and fetches nothing
    Sd {
        /// Name or path of a system
        #[arg(default_value = "demo", conflicts_with = "selftest")]
        system: String,
        /// Instead of one: the whole suite, one system after the other, unattended; it ends with one report
        #[arg(long)]
        selftest: bool,
        /// Board
        #[arg(long, value_enum, default_value_t = Board::Rpi4)]
        board: Board,
        /// Folder with start4.elf, fixup4.dat and bcm2711-rpi-4-b.dtb, and LICENCE.broadcom and overlays/ if they are to be copied
        #[arg(long, value_name = "DIR")]
        firmware: PathBuf,
        /// What to write: an image of a card if it ends with `.img`, else a folder, such as a mounted card
        #[arg(short, long, value_name = "DIR-or-card.img")]
        output: PathBuf,
        /// Size of the image [default: what it needs, at least 64MiB]
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        size: Option<u64>,
        /// Write over what is there
        #[arg(long)]
        force: bool,
        /// The image
        #[command(flatten)]
        image: ImageKind,
    },
    /// Say everything that is wrong with a card for a Raspberry Pi 4, and what to do
    Doctor {
        /// Board
        #[arg(long, value_enum, default_value_t = Board::Rpi4)]
        board: Board,
        /// A folder with the files, such as a mounted card, an image of a card, or a card's device
        #[arg(value_name = "DIR-or-card.img")]
        card: PathBuf,
    },
    /// Check the rules that no compiler checks, on the source and on the programs
    Lint {
        /// Only the rules on the source; builds nothing
        #[arg(long)]
        source_only: bool,
    },
}
