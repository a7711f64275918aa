//! Device tree: turns the blob that the loader passed into a [`BoardInfo`]. Called once by `boot`, before memory is
//! handed out; nothing refers to the blob afterwards.
//!
//! Keeps (platforms, "Boot"): RAM, /memreserve and /reserved-memory come from here and from nowhere else; SMC is used
//! only when a PSCI node says method `smc`.

use core::fmt;

use heapless::{String, Vec};

use super::fdt::{Cells, Damaged, Fdt, Token};
use super::node::{Kind, Node, strings};
use crate::arch::core_base::MAX_CORES;
use crate::arch::region::Region;
use crate::board::{self, BoardInfo, CoreMethod, GicInfo, Known, SpinTable, UartInfo};

/// Why the device tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// Truncated, damaged or of another version.
    Damaged,
    /// No memory, or a memory node that cannot be read.
    NoMemory,
    /// More memory nodes or reserved regions than there is room for.
    TooManyRegions,
    /// No node of the core that booted.
    NoBootCore,
    /// No GICv2 or GICv3, or its registers cannot be read.
    NoGic,
    /// No PL011 with registers and an interrupt.
    NoUart,
}

impl From<Damaged> for TreeError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "the device tree is damaged",
            Self::NoMemory => "the device tree has no memory node that can be read",
            Self::TooManyRegions => "the device tree has more than 8 memory or 16 reserved regions",
            Self::NoBootCore => "the device tree has no node of the core that booted",
            Self::NoGic => "the device tree has no GICv2 or GICv3 with its registers",
            Self::NoUart => "the device tree has no enabled PL011 with registers and interrupt",
        })
    }
}

/// Deepest node that is looked at: root, bus, device, and one more.
const DEPTH: usize = 4;

/// Returns what `blob` says about the machine whose booted core has the given affinity fields.
///
/// # Errors
/// See [`TreeError`].
pub fn parse(blob: &[u8], affinity: u64) -> Result<BoardInfo, TreeError> {
    let tree = Fdt::new(blob)?;
    let mut found = Found::default();
    for (start, bytes) in tree.reservations() {
        keep(&mut found.reserved, Region::new(start, bytes))?;
    }
    let mut tokens = tree.tokens();
    let mut path: Vec<Node<'_>, DEPTH> = Vec::new();
    let mut deeper = 0_usize;
    while let Some(token) = tokens.next()? {
        match token {
            Token::Begin(name) => deeper += usize::from(path.push(Node::new(name)).is_err()),
            Token::Property(name, value) if deeper == 0 => {
                if let Some(node) = path.last_mut() {
                    node.property(name, value);
                }
            }
            Token::End if deeper == 0 => {
                // A node's parents are complete when it ends: their properties came before it.
                if let Some(node) = path.pop() {
                    found.node(&node, &path, affinity)?;
                }
            }
            Token::End => deeper -= 1,
            Token::Property(..) => {}
        }
    }
    found.board()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    known: Option<&'static Known>,
    ram: Vec<Region, { board::MAX_RAM }>,
    reserved: Vec<Region, { board::MAX_RESERVED }>,
    cores: Vec<u64, MAX_CORES>,
    // Where each of them waits to be released, or 0.
    releases: Vec<u64, MAX_CORES>,
    cores_left_out: usize,
    has_boot_core: bool,
    has_psci: bool,
    gic: Option<GicInfo>,
    uart: Option<UartInfo>,
    clock: Option<Region>,
    gpio: Option<Region>,
    firmware: String<{ board::FIRMWARE_BYTES }>,
}

impl Found {
    /// Takes in a node that ended; `path` leads to it.
    fn node(&mut self, node: &Node<'_>, path: &[Node<'_>], boot: u64) -> Result<(), TreeError> {
        let Some(parent) = path.last() else {
            self.known = Some(board::find(strings(node.compatible)));
            return Ok(());
        };
        let (name, is_top) = (Kind::of(node.name), path.len() == 1);
        match (Kind::of(parent.name), name) {
            _ if !node.is_enabled => {}
            (_, Kind::Memory) if is_top => {
                if node.reg.is_empty() {
                    return Err(TreeError::NoMemory);
                }
                regions(node, path, &mut self.ram, TreeError::NoMemory)?;
            }
            // A node without `reg` asks the operating system to choose a place; Strato needs no such place.
            (Kind::ReservedMemory, _) => regions(node, path, &mut self.reserved, TreeError::Damaged)?,
            (Kind::Cpus, Kind::Cpu) => {
                let mut cells = Cells(node.reg);
                if let (false, Ok(affinity)) = (cells.is_empty(), cells.next(parent.cells[0])) {
                    self.core(affinity, release(node.release), boot);
                }
            }
            (_, Kind::Psci) if is_top => self.has_psci |= node.method == b"smc\0",
            (Kind::Chosen, Kind::Bootloader) => self.firmware = text(node.version),
            _ => self.device(node, path),
        }
        Ok(())
    }

    /// The booted core comes first; a core that is named twice is taken once.
    fn core(&mut self, affinity: u64, release: u64, boot: u64) {
        if self.cores.contains(&affinity) {
            return;
        }
        let is_boot = affinity == boot;
        self.has_boot_core |= is_boot;
        if self.cores.is_full() {
            self.cores_left_out += 1;
            if !is_boot || self.cores.pop().is_none() {
                return;
            }
            self.releases.pop();
        }
        // There is room by now.
        let at = if is_boot { 0 } else { self.cores.len() };
        let _ = (self.cores.insert(at, affinity), self.releases.insert(at, release));
    }

    /// Looks at a node that may be the interrupt controller, the UART, the clock or the GPIO. The first of each counts.
    fn device(&mut self, node: &Node<'_>, path: &[Node<'_>]) {
        let (mut is_gic2, mut is_gic3, mut is_uart, mut is_clock, mut is_gpio) = (false, false, false, false, false);
        for name in strings(node.compatible) {
            match name {
                b"arm,cortex-a15-gic" | b"arm,gic-400" => is_gic2 = true,
                b"arm,gic-v3" => is_gic3 = true,
                b"arm,pl011" => is_uart = true,
                b"arm,pl031" => is_clock = true,
                b"arm,pl061" => is_gpio = true,
                _ => {}
            }
        }
        if !(is_gic2 || is_gic3 || is_uart || is_clock || is_gpio) {
            return;
        }
        let frame = |index| node.register(path, index).map(|frame| frame.filter(|frame| frame.bytes() > 0));
        let (Ok(Some(first)), Ok(second)) = (frame(0), frame(1)) else { return };
        match (self.gic, second) {
            _ if is_uart => {
                let registers = first;
                let info = || shared_interrupt(node.interrupts).map(|intid| UartInfo { registers, intid });
                self.uart = self.uart.or_else(info);
            }
            _ if is_clock => self.clock = self.clock.or(Some(first)),
            _ if is_gpio => self.gpio = self.gpio.or(Some(first)),
            (None, Some(cpu)) if is_gic2 => self.gic = Some(GicInfo::V2 { distributor: first, cpu }),
            (None, Some(redistributors)) => self.gic = Some(GicInfo::V3 { distributor: first, redistributors }),
            _ => {}
        }
    }

    fn board(self) -> Result<BoardInfo, TreeError> {
        if self.ram.is_empty() {
            return Err(TreeError::NoMemory);
        }
        if !self.has_boot_core {
            return Err(TreeError::NoBootCore);
        }
        Ok(BoardInfo {
            known: self.known.ok_or(TreeError::Damaged)?,
            ram: self.ram,
            reserved: self.reserved,
            cores: self.cores,
            cores_left_out: self.cores_left_out,
            method: match SpinTable::of(&self.releases) {
                _ if self.has_psci => CoreMethod::PsciSmc,
                Some(table) => CoreMethod::SpinTable(table),
                None => CoreMethod::None,
            },
            gic: self.gic.ok_or(TreeError::NoGic)?,
            uart: self.uart.ok_or(TreeError::NoUart)?,
            clock: self.clock,
            gpio: self.gpio,
            firmware: self.firmware,
        })
    }
}

/// Returns the text in a value, as far as it is plain and there is room.
fn text(value: &[u8]) -> String<{ board::FIRMWARE_BYTES }> {
    let mut text = String::new();
    for byte in value.iter().take_while(|byte| byte.is_ascii_graphic()) {
        let _ = text.push(char::from(*byte)); // what does not fit is cut off
    }
    text
}

/// Returns the address in a value of `cpu-release-addr`, which always has two cells, or 0 when there is none.
fn release(value: &[u8]) -> u64 {
    Cells(value).next(2).unwrap_or(0)
}

/// Adds the register ranges of a node to `list`. One that cannot be read is the error `unreadable`; one without a byte says nothing,
/// but counts, because there may be no end of them.
fn regions<const N: usize>(
    node: &Node<'_>,
    path: &[Node<'_>],
    list: &mut Vec<Region, N>,
    unreadable: TreeError,
) -> Result<(), TreeError> {
    for index in 0..=N {
        let Some(region) = node.register(path, index).map_err(|_| unreadable)? else { return Ok(()) };
        keep(list, region)?;
    }
    Err(TreeError::TooManyRegions)
}

fn keep<const N: usize>(list: &mut Vec<Region, N>, region: Region) -> Result<(), TreeError> {
    if region.bytes() == 0 {
        return Ok(());
    }
    list.push(region).map_err(|_| TreeError::TooManyRegions)
}

/// Returns the INTID of the first interrupt if that is a shared one (GIC binding: type 0, number, flags).
fn shared_interrupt(interrupts: &[u8]) -> Option<u32> {
    let mut cells = Cells(interrupts);
    let (kind, number) = (cells.next(1).ok()?, cells.next(1).ok()?);
    let number = u32::try_from(number).ok().filter(|&number| kind == 0 && number < 988)?;
    Some(number + 32)
}

#[cfg(test)]
#[path = "device_tree_tests.rs"]
mod tests;
