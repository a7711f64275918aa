//! Device tree: turns the blob that the loader passed into a [`BoardInfo`]. Called once by `boot`, before memory is
//! handed out; nothing refers to the blob afterwards.
//!
//! Keeps (platforms, "Boot"): RAM, /memreserve and /reserved-memory come from here and from nowhere else; SMC is used
//! only when a PSCI node says method `smc`.

use core::fmt;

use heapless::Vec;

use super::fdt::{Damaged, Fdt, Name, Token, numbers};
use crate::arch::core_base::MAX_CORES;
use crate::arch::region::Region;
use crate::board::{self, BoardInfo, CoreMethod, GicInfo, Known, UartInfo};

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

/// What a node says, as far as Strato asks.
#[derive(Clone, Copy)]
struct Node<'a> {
    name: &'a [u8],
    compatible: &'a [u8],
    reg: &'a [u8],
    ranges: Option<&'a [u8]>,
    interrupts: &'a [u8],
    method: &'a [u8],
    is_enabled: bool,
    /// Cells of an address and of a size in its children's `reg`.
    cells: [u32; 2],
}

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

impl<'a> Node<'a> {
    /// Returns a node that says nothing yet; the cells are the specification's defaults.
    fn new(name: &'a [u8]) -> Self {
        let none: &[u8] = &[];
        Self {
            name: name.iter().position(|&byte| byte == b'@').and_then(|end| name.get(..end)).unwrap_or(name),
            compatible: none,
            reg: none,
            ranges: None,
            interrupts: none,
            method: none,
            is_enabled: true,
            cells: [2, 1],
        }
    }

    fn property(&mut self, name: Name<'_>, value: &'a [u8]) {
        let number = || value.first_chunk().map_or(u32::MAX, |cell| u32::from_be_bytes(*cell));
        if name.is(b"compatible") {
            self.compatible = value;
        } else if name.is(b"reg") {
            self.reg = value;
        } else if name.is(b"ranges") {
            self.ranges = Some(value);
        } else if name.is(b"interrupts") {
            self.interrupts = value;
        } else if name.is(b"method") {
            self.method = value;
        } else if name.is(b"status") {
            self.is_enabled = matches!(value, b"okay\0" | b"ok\0");
        } else if name.is(b"#address-cells") {
            self.cells[0] = number();
        } else if name.is(b"#size-cells") {
            self.cells[1] = number();
        }
    }

    /// Returns the register ranges as the cores see them: through the `ranges` of the buses on the path, if any. `None`
    /// when there are none, or one cannot be read or reached.
    fn registers(&self, path: &[Node<'_>]) -> Option<Vec<Region, 8>> {
        let cells = path.last()?.cells;
        let mut list = Vec::new();
        for row in numbers(self.reg, cells) {
            let [start, bytes] = row?;
            list.push(translate(Region::new(start, bytes), path)?).ok()?;
        }
        (!list.is_empty()).then_some(list)
    }
}

fn strings(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == 0)
}

/// Returns where a region on the innermost bus of `path` stands for the cores. A bus without `ranges`, or with an empty
/// value, has its parent's addresses.
fn translate(region: Region, path: &[Node<'_>]) -> Option<Region> {
    let mut region = region;
    for (bus, parent) in path.iter().skip(1).zip(path).rev() {
        let Some(ranges) = bus.ranges.filter(|ranges| !ranges.is_empty()) else { continue };
        let [child, size] = bus.cells;
        let [address, _] = parent.cells;
        region = numbers(ranges, [child, address, size]).find_map(|row| {
            let [child, parent, bytes] = row?;
            let moved = || Some(Region::new(parent.checked_add(region.start.checked_sub(child)?)?, region.bytes()));
            Region::new(child, bytes).contains(region).then(moved)?
        })?;
    }
    Some(region)
}

/// What was found so far.
#[derive(Default)]
struct Found {
    known: Option<&'static Known>,
    ram: Vec<Region, { board::MAX_RAM }>,
    reserved: Vec<Region, { board::MAX_RESERVED }>,
    cores: Vec<u64, MAX_CORES>,
    cores_left_out: usize,
    has_boot_core: bool,
    has_psci: bool,
    gic: Option<GicInfo>,
    uart: Option<UartInfo>,
}

impl Found {
    /// Takes in a node that ended; `path` leads to it.
    fn node(&mut self, node: &Node<'_>, path: &[Node<'_>], boot: u64) -> Result<(), TreeError> {
        let parent = path.last().map(|parent| parent.name);
        match (parent, node.name) {
            (None, _) => self.known = Some(board::find(strings(node.compatible))),
            (Some(b""), b"memory") if node.is_enabled => {
                for region in node.registers(path).ok_or(TreeError::NoMemory)? {
                    keep(&mut self.ram, region)?;
                }
            }
            // A node without `reg` asks the operating system to choose a place; Strato needs no such place.
            (Some(b"reserved-memory"), _) => {
                for region in node.registers(path).unwrap_or_default() {
                    keep(&mut self.reserved, region)?;
                }
            }
            (Some(b"cpus"), b"cpu") if node.is_enabled => {
                if let Some(Some([affinity])) = path.last().and_then(|cpus| numbers(node.reg, [cpus.cells[0]]).next()) {
                    self.core(affinity, boot);
                }
            }
            (Some(b""), b"psci") => self.has_psci |= node.method == b"smc\0",
            _ if node.is_enabled => self.device(node, path),
            _ => {}
        }
        Ok(())
    }

    /// The booted core comes first; a core that is named twice is taken once.
    fn core(&mut self, affinity: u64, boot: u64) {
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
        }
        // There is room by now.
        let _ = if is_boot { self.cores.insert(0, affinity) } else { self.cores.push(affinity) };
    }

    /// Looks at a node that may be the interrupt controller or the UART. The first of each counts.
    fn device(&mut self, node: &Node<'_>, path: &[Node<'_>]) {
        let (mut is_gic2, mut is_gic3, mut is_uart) = (false, false, false);
        for name in strings(node.compatible) {
            match name {
                b"arm,cortex-a15-gic" | b"arm,gic-400" => is_gic2 = true,
                b"arm,gic-v3" => is_gic3 = true,
                b"arm,pl011" => is_uart = true,
                _ => {}
            }
        }
        if !(is_gic2 || is_gic3 || is_uart) {
            return;
        }
        let Some(registers) = node.registers(path) else { return };
        let (first, second) = (registers.first().copied(), registers.get(1).copied());
        if let (true, None, Some(registers)) = (is_uart, self.uart, first) {
            self.uart = shared_interrupt(node.interrupts).map(|intid| UartInfo { registers, intid });
        } else if let (true, None, Some(distributor), Some(cpu)) = (is_gic2, self.gic, first, second) {
            self.gic = Some(GicInfo::V2 { distributor, cpu });
        } else if let (true, None, Some(distributor), Some(redistributors)) = (is_gic3, self.gic, first, second) {
            self.gic = Some(GicInfo::V3 { distributor, redistributors });
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
            method: if self.has_psci { CoreMethod::PsciSmc } else { CoreMethod::None },
            gic: self.gic.ok_or(TreeError::NoGic)?,
            uart: self.uart.ok_or(TreeError::NoUart)?,
        })
    }
}

fn keep<const N: usize>(list: &mut Vec<Region, N>, region: Region) -> Result<(), TreeError> {
    list.push(region).map_err(|_| TreeError::TooManyRegions)
}

/// Returns the INTID of the first interrupt if that is a shared one (GIC binding: type 0, number, flags).
fn shared_interrupt(interrupts: &[u8]) -> Option<u32> {
    let [kind, number] = numbers(interrupts, [1, 1, 1]).next()?.map(|[kind, number, _]| [kind, number])?;
    let number = u32::try_from(number).ok().filter(|&number| kind == 0 && number < 988)?;
    Some(number + 32)
}

#[cfg(test)]
#[path = "device_tree_tests.rs"]
mod tests;
