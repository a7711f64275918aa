//! Boot: from the first line of Rust to the hand-over. [`cold`] turns a machine in an unknown state into [`Parts`], each
//! part owned once. Called by the image's entry; runs on one core, with interrupts masked.
//!
//! Steps: (1) entry.S, (2) log, (3) device tree, (4) payload, (5) layout and final EL2 map, (6) console, (7) interrupt
//! controller, (8) hand-over. Other cores start later, by [`secondary`].

use core::fmt;

use heapless::Vec;
use log::{Level, LevelFilter};
use safe_mmio::fields::ReadPure;
use strato_abi::plan::{PAYLOAD_MAGIC, PayloadHeader};
use zerocopy::FromBytes;

use crate::arch::install::{Carved, Cores, Installed, MAX_FREE};
use crate::arch::layout::{Layout, LayoutError, MAX_DEVICES};
use crate::arch::mmio::{Device, RegisterPage, Registers};
use crate::arch::ram::Pages;
use crate::arch::region::Region;
use crate::arch::retained::Words;
use crate::arch::{self, CoreIndex, entry, errata, firmware, install, panic::Polled, sign, timer};
use crate::board::retained::{self, Record, Retained};
use crate::board::{BoardInfo, CoreMethod, GicInfo, bcm2835, rpi4};
use crate::console::{Console, Past, Wire, say};
use crate::gic::Gic;
use crate::series::{self, Verdict};
use crate::timer::Wall;

pub mod device_tree;
mod fdt;
mod node;
pub mod panic;
pub mod replay;
mod report;
pub mod secondary;
mod selftest;
pub mod start;

/// Bytes of a redistributor with virtual LPIs, the largest kind.
const REDISTRIBUTOR_BYTES: u64 = 0x4_0000;

/// What boot hands over: the machine, with each part owned once.
#[derive(Debug)]
pub struct Parts {
    /// What the device tree says.
    pub board: BoardInfo,
    /// The console, attached to its UART; its interrupt is enabled and routed to the booted core.
    pub console: &'static Console,
    /// The interrupt controller, ready on the booted core.
    pub gic: Gic,
    /// All memory that nobody uses, not scrubbed.
    pub free: Vec<Pages, MAX_FREE>,
    /// The payload as the loader left it, empty when there is none; only its magic and length were checked.
    pub payload: &'static [u8],
    /// The cores' records, by which they are started.
    pub cores: Cores,
    /// Where the cores' stacks and the tables of the EL2 map stand.
    pub carved: Carved,
    /// The page of the spin table in which the other cores wait, if they do.
    pub spin_page: Option<Device>,
    /// The registers of the board's shared page, if it has one.
    pub shared: Option<Registers<RegisterPage>>,
    /// The value that survives a warm reset, if the board has memory for one.
    pub record: Option<Record>,
    /// What time it is, if the machine has a clock.
    pub wall: Option<Wall>,
    /// The counter when the first instruction ran.
    pub started_ticks: u64,
}

/// Returns the machine's parts. `tree` is the device tree's address, `started_ticks` the counter at entry.
///
/// A machine that cannot be used is refused: one line on the UART, power off where there is PSCI, else a core that
/// sleeps for ever.
pub fn cold(tree: u64, started_ticks: u64, console: &'static Console) -> Parts {
    sign::step('3');
    console.start_log(LevelFilter::Info);
    let mut board = match entry::device_tree(tree) {
        Some(blob) => device_tree::parse(blob, arch::affinity()).unwrap_or_else(|error| refuse(&error)),
        None => rpi4::without_tree(),
    };
    if !board.known.routes_console {
        sign::leave(); // its pins are not mapped
    }
    board.cut_memory(arch::physical_limit());
    let mini_uart = board.known.mini_uart.filter(|_| sign::is_mini_uart());
    let wire = match mini_uart {
        Some(_) => Wire::Mini,
        None => Wire::Pl011 { clock_hz: board.known.uart_clock_hz },
    };
    board.uart = mini_uart.unwrap_or(board.uart);
    sign::step('4');
    if board.method == CoreMethod::PsciSmc {
        firmware::allow_psci();
    }
    firmware::settle_speculation(CoreIndex::BOOT);
    let payload = payload_length(&entry::payload_header());
    let (devices, others) = own_devices(&board);
    let devices: Vec<Region, MAX_DEVICES> = devices.into_iter().chain(others.into_iter().flatten()).collect();
    let mut layout = Layout::plan(&board.ram, &board.reserved, &entry::image(), payload, board.cores.len(), &devices)
        .unwrap_or_else(|error| refuse(&layout_text(error)));
    if let Some(start) = board.known.retained {
        layout.retain(Region::new(start, retained::BYTES));
    }
    errata::note(arch::midr());
    let is_stock_stub = board.known.has_stock_stub && board.method != CoreMethod::PsciSmc;
    let cpuactlr = errata::cpuactlr(arch::midr(), is_stock_stub);
    let Installed { free, devices, payload, mut cores, carved, retained } = install::install(&layout, cpuactlr)
        .unwrap_or_else(|_| refuse(&"the EL2 map does not fit the memory that boot can reach"));
    let mut devices = devices.into_iter();
    let (Some(gic_first), Some(gic_second), Some(uart)) = (devices.next(), devices.next(), devices.next()) else {
        unreachable!("the interrupt controller has two frames, the UART one")
    };
    let [clock, spin_page, shared, power] = others.map(|device| device.and_then(|_| devices.next()));
    if let Some(power) = power {
        firmware::allow_power_manager(power);
    }
    let shared = shared.and_then(Device::shared);
    if let Some(pins) = shared.as_ref().filter(|_| board.known.routes_console) {
        bcm2835::route_console(pins, wire == Wire::Mini);
    }
    arch::panic::set_uart(uart.address(), wire == Wire::Mini);
    sign::step('5');
    sign::end_line();
    if !console.attach(uart, wire) {
        refuse(&"the console's registers are too small for its UART");
    }
    let record = retained.and_then(|words| remember(words, console));
    let gic = Gic::new(&board, gic_first, gic_second).unwrap_or_else(|error| refuse(&error));
    arch::panic::set_sgi_route(gic.stop_route());
    gic.init_core(CoreIndex::BOOT).unwrap_or_else(|error| refuse(&error));
    for core in (1..cores.count()).filter_map(CoreIndex::new).filter(|core| !gic.serves(*core)) {
        cores.leave_out(core); // started, it could be told nothing
    }
    gic.enable_uart(CoreIndex::BOOT).unwrap_or_else(|error| refuse(&error));
    greet(&board, &gic);
    let wall = clock.and_then(wall);
    if tree == 0 {
        say(
            Level::Warn,
            format_args!("there is no device tree: taken for a Raspberry Pi 4, with the memory below 948 MiB alone"),
        );
    }
    if entry::drain_serror() {
        say(Level::Warn, format_args!("the firmware left an SError behind; it is taken and forgotten"));
    }
    console.drain(); // nobody takes its interrupt until guests run: what is silent behind these lines came this far
    Parts { board, console, gic, free, payload, cores, carved, spin_page, shared, record, wall, started_ticks }
}

/// Has the console say what it said last before a warm reset, and keep what it says from here on. Returns what else survives one.
fn remember(words: Words, console: &Console) -> Option<Record> {
    let build = entry::build_id();
    let Retained { is_warm, record, lines } = Retained::open(words, build)?;
    console.keep_past(Past::of(lines, build)?, is_warm);
    Some(record)
}

/// Returns what time it is by a PL031 (Arm DDI 0224, RTCDR). Its page stays in the map, but nobody has the registers any more: the
/// manifest may assign them to a VM.
fn wall(clock: Device) -> Option<Wall> {
    Wall::of(clock.unique::<ReadPure<u32>>()?.read(), timer::now())
}

/// Returns the bytes of the payload that this header starts: 0 if it is none. Whether the payload is whole is checked
/// when it is replayed; here it is kept from being handed out as free memory.
fn payload_length(header: &[u8]) -> u64 {
    let header = PayloadHeader::read_from_prefix(header);
    header.ok().filter(|(header, _)| header.magic == PAYLOAD_MAGIC).map_or(0, |(header, _)| header.total_len)
}

/// Returns the registers that the hypervisor itself uses on `board`: both frames of the interrupt controller and the UART; and, if there
/// are any, the clock, the spin table, the shared page and the power manager.
#[must_use]
pub fn own_devices(board: &BoardInfo) -> ([Region; 3], [Option<Region>; 4]) {
    let (gic_first, gic_second) = gic_frames(board);
    let spin_page = match board.method {
        CoreMethod::SpinTable(table) => Some(Region::new(table.start, 8)),
        CoreMethod::PsciSmc | CoreMethod::None => None,
    };
    ([gic_first, gic_second, board.uart.registers], [board.clock, spin_page, board.shared(), board.known.power])
}

/// Returns the two register frames of the interrupt controller, the redistributors only as far as there are cores.
fn gic_frames(board: &BoardInfo) -> (Region, Region) {
    match board.gic {
        GicInfo::V2 { distributor, cpu } => (distributor, cpu),
        GicInfo::V3 { distributor, redistributors } => {
            let cores = (board.cores.len() + board.cores_left_out) as u64;
            let bytes = redistributors.bytes().min(cores * REDISTRIBUTOR_BYTES);
            (distributor, Region::new(redistributors.start, bytes))
        }
    }
}

fn greet(board: &BoardInfo, gic: &Gic) {
    let mib: u64 = board.ram.iter().map(|region| region.bytes() >> 20).sum();
    let (name, cores, version) = (board.known.name, board.cores.len(), u64::from(gic.version()));
    say(Level::Info, format_args!("version {}, build {:016x}", env!("CARGO_PKG_VERSION"), entry::build_id()));
    say(
        Level::Info,
        format_args!(
            "board {name}, {cores} core{}, {mib} MiB, GICv{version}, {}",
            if cores == 1 { "" } else { "s" },
            Psci(firmware::version())
        ),
    );
    if board.cores_left_out > 0 {
        say(Level::Warn, format_args!("cores that stay off, since this version uses 8: {}", board.cores_left_out));
    }
    if board.method == CoreMethod::None && cores > 1 {
        say(
            Level::Warn,
            format_args!("the other cores stay off: the device tree has no PSCI with method smc and no spin table"),
        );
    }
}

struct Psci(Option<(u16, u16)>);

impl fmt::Display for Psci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((major, minor)) => write!(f, "PSCI {}.{}", u64::from(major), u64::from(minor)),
            None => f.write_str("no PSCI"),
        }
    }
}

fn layout_text(error: LayoutError) -> &'static str {
    match error {
        LayoutError::ImageOutsideRam => "the device tree has no memory where the image stands",
        LayoutError::PayloadOutsideRam => "the payload is longer than the memory behind the image",
        LayoutError::NoRoom => "there is no memory for stacks and tables",
        LayoutError::TooManyRegions => "the memory is in too many pieces",
        LayoutError::DevicesOverlap => "by the device tree a device stands where the image or another device does",
        LayoutError::DeviceOutOfReach => "by the device tree a device stands at address 0 or beyond 512 GiB",
    }
}

/// Says why the machine cannot be used, by polling, and stops it.
#[cold]
#[inline(never)]
pub fn refuse(why: &dyn fmt::Display) -> ! {
    use fmt::Write;
    sign::end_line();
    // Polled never fails.
    let _ = writeln!(Polled, "strato: cannot boot: {why}");
    arch::panic::drain_uart();
    if series::end(Verdict::REFUSED).is_some() {
        firmware::system_reset();
    }
    sign::blink(sign::REFUSED);
    firmware::system_off();
    arch::panic::park()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn what_is_no_payload_has_no_length() {
        assert_eq!(payload_length(&[0; 64]), 0);
        assert_eq!(payload_length(&[0xff; 64]), 0);
        assert_eq!(payload_length(&PAYLOAD_MAGIC.to_le_bytes()), 0);
    }

    #[test]
    fn a_payload_is_as_long_as_its_header_says() {
        let mut header = PayloadHeader::read_from_bytes([0; 64].as_slice()).unwrap();
        (header.magic, header.total_len) = (PAYLOAD_MAGIC, 0x1_2345);
        assert_eq!(payload_length(header.as_bytes()), 0x1_2345);
    }
}
