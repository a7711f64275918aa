//! Device tree: turns the blob that the loader passed into a [`BoardInfo`]. Called once by `boot`, before memory is
//! handed out; nothing refers to the blob afterwards. The parser is dtoolkit; here is what Strato asks of it.
//!
//! Keeps (platforms, "Boot"): RAM, /memreserve and /reserved-memory come from here and from nowhere else; SMC is used
//! only when a PSCI node says method `smc`. Only the blob's used part is read, never the padding that QEMU adds.

use core::fmt;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};
use heapless::Vec;

use crate::arch::region::Region;
use crate::board::{self, BoardInfo, CoreMethod, GicInfo, UartInfo};

/// Why the device tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// Truncated, damaged or of a version that dtoolkit does not read.
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

/// Returns what `blob` says about the machine whose booted core has the given affinity fields.
///
/// # Errors
/// See [`TreeError`].
pub fn parse(blob: &[u8], affinity: u64) -> Result<BoardInfo, TreeError> {
    let tree = Fdt::new(blob).map_err(|_| TreeError::Damaged)?;
    let root = tree.root();
    let mut found = Found::default();
    for reserved in tree.memory_reservations() {
        keep(&mut found.reserved, Region::new(reserved.address(), reserved.size()))?;
    }
    for node in root.children() {
        let name = node.name_without_address();
        match name {
            "memory" => found.memory(node)?,
            "reserved-memory" => found.reserved_memory(node)?,
            "cpus" => found.cores(node, affinity),
            "psci" => found.psci(node),
            // 32 empty slots of QEMU virt, and its flash: a quarter of the tree that nobody asks for.
            "virtio_mmio" | "flash" => {}
            "soc" => {
                for device in node.children() {
                    found.device(device, Some(node));
                }
            }
            _ => found.device(node, None),
        }
    }
    if found.ram.is_empty() {
        return Err(TreeError::NoMemory);
    }
    if !found.has_boot_core {
        return Err(TreeError::NoBootCore);
    }
    let known = root.compatible().map_or_else(|| board::find(core::iter::empty()), board::find);
    Ok(BoardInfo {
        known,
        ram: found.ram,
        reserved: found.reserved,
        cores: found.cores,
        cores_left_out: found.cores_left_out,
        method: if found.has_psci { CoreMethod::PsciSmc } else { CoreMethod::None },
        gic: found.gic.ok_or(TreeError::NoGic)?,
        uart: found.uart.ok_or(TreeError::NoUart)?,
    })
}

/// What was found so far.
#[derive(Default)]
struct Found {
    ram: Vec<Region, { board::MAX_RAM }>,
    reserved: Vec<Region, { board::MAX_RESERVED }>,
    cores: Vec<u64, { crate::arch::core_base::MAX_CORES }>,
    cores_left_out: usize,
    has_boot_core: bool,
    has_psci: bool,
    gic: Option<GicInfo>,
    uart: Option<UartInfo>,
}

impl Found {
    fn memory(&mut self, node: FdtNode<'_>) -> Result<(), TreeError> {
        if !is_enabled(&node) {
            return Ok(());
        }
        for region in registers(node, None).ok_or(TreeError::NoMemory)? {
            keep(&mut self.ram, region)?;
        }
        Ok(())
    }

    /// A node without `reg` asks the operating system to choose a place; Strato needs no such place.
    fn reserved_memory(&mut self, node: FdtNode<'_>) -> Result<(), TreeError> {
        for child in node.children() {
            for region in registers(child, None).unwrap_or_default() {
                keep(&mut self.reserved, region)?;
            }
        }
        Ok(())
    }

    /// The booted core comes first; a core that is named twice is taken once.
    fn cores(&mut self, node: FdtNode<'_>, boot: u64) {
        for cpu in node.children().filter(|node| node.name_without_address() == "cpu" && is_enabled(node)) {
            let Some(affinity) = cpu.reg().ok().flatten().and_then(|mut reg| reg.next()?.address::<u64>().ok()) else {
                continue;
            };
            if self.cores.contains(&affinity) {
                continue;
            }
            if affinity == boot {
                self.has_boot_core = true;
                if self.cores.is_full() {
                    self.cores.pop();
                    self.cores_left_out += 1;
                }
                // There is room: one was taken out if there was none.
                let _ = self.cores.insert(0, affinity);
            } else if self.cores.push(affinity).is_err() {
                self.cores_left_out += 1;
            }
        }
    }

    fn psci(&mut self, node: FdtNode<'_>) {
        let method = node.property("method");
        self.has_psci |= method.is_some_and(|method| method.value_as::<&str>() == Ok("smc"));
    }

    /// Looks at a node that may be the interrupt controller or the UART. The first of each counts.
    fn device(&mut self, node: FdtNode<'_>, bus: Option<FdtNode<'_>>) {
        let mut is_gic2 = false;
        let mut is_gic3 = false;
        let mut is_uart = false;
        for name in node.compatible().into_iter().flatten() {
            match name {
                "arm,cortex-a15-gic" | "arm,gic-400" => is_gic2 = true,
                "arm,gic-v3" => is_gic3 = true,
                "arm,pl011" => is_uart = true,
                _ => {}
            }
        }
        if !(is_gic2 || is_gic3 || is_uart) || !is_enabled(&node) {
            return;
        }
        let Some(registers) = registers(node, bus) else {
            return;
        };
        let (first, second) = (registers.first().copied(), registers.get(1).copied());
        if let (true, None, Some(registers)) = (is_uart, self.uart, first) {
            self.uart = shared_interrupt(&node).map(|intid| UartInfo { registers, intid });
        } else if let (true, None, Some(distributor), Some(cpu)) = (is_gic2, self.gic, first, second) {
            self.gic = Some(GicInfo::V2 { distributor, cpu });
        } else if let (true, None, Some(distributor), Some(redistributors)) = (is_gic3, self.gic, first, second) {
            self.gic = Some(GicInfo::V3 { distributor, redistributors });
        }
    }
}

fn keep<const N: usize>(list: &mut Vec<Region, N>, region: Region) -> Result<(), TreeError> {
    list.push(region).map_err(|_| TreeError::TooManyRegions)
}

fn is_enabled(node: &FdtNode<'_>) -> bool {
    let status = node.property("status");
    status.is_none_or(|status| matches!(status.value_as::<&str>(), Ok("okay" | "ok")))
}

/// Returns the node's register ranges as the cores see them: through the `ranges` of the bus it stands on, if any.
fn registers(node: FdtNode<'_>, bus: Option<FdtNode<'_>>) -> Option<Vec<Region, 8>> {
    let mut list = Vec::new();
    for reg in node.reg().ok()?? {
        let region = Region::new(reg.address::<u64>().ok()?, reg.size::<u64>().ok()?);
        list.push(translate(region, bus)?).ok()?;
    }
    Some(list)
}

fn translate(region: Region, bus: Option<FdtNode<'_>>) -> Option<Region> {
    let Some(bus) = bus else {
        return Some(region);
    };
    for range in bus.ranges().ok()?? {
        let child = Region::new(range.child_bus_address::<u64>().ok()?, range.length::<u64>().ok()?);
        if child.contains(region) {
            let parent = range.parent_bus_address::<u64>().ok()?;
            return Some(Region::new(parent.checked_add(region.start - child.start)?, region.bytes()));
        }
    }
    None
}

/// Returns the INTID of the node's first interrupt if that is a shared one (GIC binding: type 0, number from 32 on).
fn shared_interrupt(node: &FdtNode<'_>) -> Option<u32> {
    let interrupts = node.property("interrupts")?;
    let (kind, rest) = interrupts.value().split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<4>()?;
    let number = u32::from_be_bytes(*number);
    (u32::from_be_bytes(*kind) == 0 && number < 988).then_some(number + 32)
}

#[cfg(test)]
#[path = "device_tree_tests.rs"]
mod tests;
