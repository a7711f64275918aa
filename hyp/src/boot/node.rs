//! Node: what one node of the device tree says, as far as Strato asks, and where its registers stand for the cores.
//! Called by `device_tree` alone.

use super::fdt::{Cells, Damaged, Name};
use crate::arch::region::Region;

/// Most windows of a bus that are looked at: boards have a few, and a tree that lies must not hold boot up.
const WINDOWS_MAX: usize = 128;

/// Nodes that are known by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/memory`.
    Memory,
    /// `/reserved-memory`.
    ReservedMemory,
    /// `/cpus`.
    Cpus,
    /// A core.
    Cpu,
    /// `/psci`.
    Psci,
    /// `/chosen`.
    Chosen,
    /// `/chosen/bootloader`.
    Bootloader,
    /// Any other, to be known by `compatible`.
    Other,
}

impl Kind {
    /// Returns the kind of the node with this name, without unit address.
    #[inline(never)]
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"memory" => Self::Memory,
            b"reserved-memory" => Self::ReservedMemory,
            b"cpus" => Self::Cpus,
            b"cpu" => Self::Cpu,
            b"psci" => Self::Psci,
            b"chosen" => Self::Chosen,
            b"bootloader" => Self::Bootloader,
            _ => Self::Other,
        }
    }
}

/// What a node says, as far as Strato asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// Name, without the unit address.
    pub(super) name: &'a [u8],
    /// Value of `compatible`, empty without it.
    pub(super) compatible: &'a [u8],
    /// Value of `reg`, empty without it.
    pub(super) reg: &'a [u8],
    /// Value of `ranges`, empty without it.
    pub(super) ranges: &'a [u8],
    /// Value of `interrupts`, empty without it.
    pub(super) interrupts: &'a [u8],
    /// Value of `method`, empty without it.
    pub(super) method: &'a [u8],
    /// Value of `cpu-release-addr`, empty without it.
    pub(super) release: &'a [u8],
    /// Value of `version`, empty without it.
    pub(super) version: &'a [u8],
    /// Whether `status` says okay or nothing.
    pub(super) is_enabled: bool,
    /// Cells of an address and of a size in its children's `reg`.
    pub(super) cells: [u32; 2],
}

impl<'a> Node<'a> {
    /// Returns a node that says nothing yet; the cells are the specification's defaults.
    pub(super) fn new(name: &'a [u8]) -> Self {
        let none: &[u8] = &[];
        Self {
            name: name.iter().position(|&byte| byte == b'@').and_then(|end| name.get(..end)).unwrap_or(name),
            compatible: none,
            reg: none,
            ranges: none,
            interrupts: none,
            method: none,
            release: none,
            version: none,
            is_enabled: true,
            cells: [2, 1],
        }
    }

    /// Takes in a property.
    pub(super) fn property(&mut self, name: Name<'_>, value: &'a [u8]) {
        let number = || value.first_chunk().map_or(u32::MAX, |cell| u32::from_be_bytes(*cell));
        if name.is(b"compatible") {
            self.compatible = value;
        } else if name.is(b"reg") {
            self.reg = value;
        } else if name.is(b"ranges") {
            self.ranges = value;
        } else if name.is(b"interrupts") {
            self.interrupts = value;
        } else if name.is(b"method") {
            self.method = value;
        } else if name.is(b"cpu-release-addr") {
            self.release = value;
        } else if name.is(b"version") {
            self.version = value;
        } else if name.is(b"status") {
            self.is_enabled = matches!(value, b"okay\0" | b"ok\0");
        } else if name.is(b"#address-cells") {
            self.cells[0] = number();
        } else if name.is(b"#size-cells") {
            self.cells[1] = number();
        }
    }

    /// Returns register range number `index` as the cores see it: through the `ranges` of the buses on the path, if any;
    /// or `None` when there are fewer.
    ///
    /// # Errors
    /// [`Damaged`] when it cannot be read or reached.
    #[inline(never)]
    pub(super) fn register(&self, path: &[Node<'_>], index: usize) -> Result<Option<Region>, Damaged> {
        let [address, size] = path.last().ok_or(Damaged)?.cells;
        let mut cells = Cells(self.reg);
        for at in 0..=index {
            if cells.is_empty() {
                break;
            }
            let region = Region::new(cells.next(address)?, cells.next(size)?);
            if at == index {
                return translate(region, path).map(Some).ok_or(Damaged);
            }
        }
        Ok(None)
    }
}

/// Returns the strings in a property value.
pub(super) fn strings(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == 0)
}

/// Returns where a region on the innermost bus of `path` stands for the cores. A bus without `ranges`, or with an empty
/// value, has its parent's addresses.
fn translate(region: Region, path: &[Node<'_>]) -> Option<Region> {
    let mut region = region;
    for (bus, parent) in path.iter().skip(1).zip(path).rev() {
        let mut cells = Cells(bus.ranges);
        let is_bridge = !cells.is_empty();
        let mut moved = None;
        // Counted, because a window of no cells takes nothing off the value.
        for _ in 0..WINDOWS_MAX {
            if moved.is_some() || cells.is_empty() {
                break;
            }
            let (child, above) = (cells.next(bus.cells[0]).ok()?, cells.next(parent.cells[0]).ok()?);
            if Region::new(child, cells.next(bus.cells[1]).ok()?).contains(region) {
                let start = above.checked_add(region.start.checked_sub(child)?)?;
                moved = Some(Region::new(start, region.bytes()));
            }
        }
        if is_bridge {
            region = moved?;
        }
    }
    Some(region)
}
