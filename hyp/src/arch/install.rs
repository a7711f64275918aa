//! Install: acts on a layout. Builds and enters the final EL2 map, writes the records of the other cores, and mints, for
//! the one time, the owners of free memory and of device registers.

use core::slice;
use heapless::Vec;

use super::core_base::{CoreBase, CoreIndex, MAX_CORES};
use super::entry;
use super::layout::{Layout, MAX_DEVICES, Stacks};
use super::maintenance;
use super::mmio::Device;
use super::mmu::{self, Carve, OutOfTables};
use super::ram::Pages;
use super::region::{PAGE, Region, native};
use super::retained::Words;
use crate::sync::{AtomicBool, Ordering};

/// Most separate pieces of free memory; smaller pieces beyond stay unused.
pub const MAX_FREE: usize = 16;

/// Why the layout cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// The boot map cannot reach the memory for stacks and tables.
    OutOfReach,
    /// The tables cannot express the layout.
    Map,
}

impl From<OutOfTables> for InstallError {
    fn from(_: OutOfTables) -> Self {
        Self::Map
    }
}

/// What boot owns once the final map is on.
#[derive(Debug)]
pub struct Installed {
    /// Free memory.
    pub free: Vec<Pages, MAX_FREE>,
    /// The devices, in the order in which the layout was given them.
    pub devices: Vec<Device, MAX_DEVICES>,
    /// The payload as it stands behind the image.
    pub payload: &'static [u8],
    /// The records of the cores.
    pub cores: Cores,
    /// Where stacks and tables stand.
    pub carved: Carved,
    /// Memory that a warm reset leaves as it is, if there is any.
    pub retained: Option<Words>,
}

/// Where the hypervisor's memory outside of its image stands, for the report.
#[derive(Debug)]
pub struct Carved {
    /// All of it: the cores' records, stacks with a guard page below each, tables.
    pub whole: Region,
    /// The stacks of each core; those of the booted one are in the image.
    pub stacks: Vec<Stacks, MAX_CORES>,
    /// Tables of the EL2 map.
    pub tables: Region,
    /// What a warm reset leaves as it is; outside of `whole`.
    pub retained: Option<Region>,
}

/// The records of the cores, by which they are started.
#[derive(Debug)]
pub struct Cores {
    pub(super) records: u64,
    pub(super) count: usize,
    pub(super) left_out: u8,
}

impl Cores {
    /// Returns the number of cores, the booted one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Makes a core one that is never started.
    pub fn leave_out(&mut self, core: CoreIndex) {
        self.left_out |= 1 << core.index();
    }

    /// Returns the physical address of a core's record, what it gets in x0 when it is started; `None` for the booted
    /// core, for those without stacks and those that were left out.
    #[must_use]
    pub fn record(&self, core: CoreIndex) -> Option<u64> {
        let index = core.index();
        let exists = index > 0 && index < self.count && self.left_out >> index & 1 == 0;
        exists.then(|| self.records + index as u64 * size_of::<CoreBase>() as u64)
    }
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Builds the final map, switches to it and returns the owners of all that the layout leaves over.
///
/// `cpuactlr` are the bits that this core's errata ask for, set on the way; others, which are of the same kind, set them as they are
/// released from a spin table.
///
/// # Errors
/// See [`InstallError`].
///
/// # Panics
/// When called twice: memory would have two owners.
pub fn install(layout: &Layout, cpuactlr: u64) -> Result<Installed, InstallError> {
    // Relaxed: one core runs.
    assert!(!INSTALLED.swap(true, Ordering::Relaxed), "the EL2 map is installed once");
    entry::map_boot(layout.carve.start, layout.carve.end).ok_or(InstallError::OutOfReach)?;
    // SAFETY: the layout carves these pages from RAM that nothing else uses, and the boot map now covers them.
    let carve = unsafe { Carve::new(layout.tables) };
    let (root, tables_end) = mmu::build(&layout.ranges, carve)?;
    maintenance::dsb_ishst(); // the walker sees the tables before TTBR0_EL2 names them

    // SAFETY: the layout maps image, stacks and carved memory as they are used (tested in layout_tests.rs).
    unsafe { entry::switch_map(root, cpuactlr) };
    let cores = write_records(layout, root, cpuactlr);
    let mut free = Vec::new();
    for region in layout.free(tables_end).map_err(|_| InstallError::Map)? {
        let count = native(region.bytes() / PAGE);
        // SAFETY: RAM that the map just entered covers as writable, which the layout keeps apart from image, payload,
        // stacks, tables and everything reserved; the assertion above makes this the only time.
        if let Some(pages) = unsafe { Pages::mint(region.start, count) }
            && let Err(pages) = free.push(pages)
        {
            core::mem::forget(pages);
        }
    }
    let mut devices = Vec::new();
    for region in &layout.devices {
        let base = core::ptr::with_exposed_provenance_mut(native(region.start));
        // SAFETY: the map just entered covers the range as device memory; the assertion above makes this the only owner.
        // The devices are an interrupt controller and a UART, which access no memory (GICv3 LPIs stay off).
        if let Some(device) = unsafe { Device::mint(base, native(region.bytes())) } {
            devices.push(device).map_err(|_| InstallError::Map)?;
        }
    }
    let start = core::ptr::with_exposed_provenance(native(layout.payload.start));
    // SAFETY: RAM behind the image, mapped read-only for good, and given to nobody else.
    let payload = unsafe { slice::from_raw_parts(start, native(layout.payload.bytes())) };
    let carved = Carved {
        whole: Region { start: layout.carve.start, end: tables_end },
        stacks: layout.stacks.clone(),
        tables: Region { start: layout.tables.start, end: tables_end },
        retained: layout.retained,
    };
    let retained = layout.retained.map(|region| {
        let start = core::ptr::with_exposed_provenance(native(region.start));
        // SAFETY: RAM that the map just entered covers as writable, whole pages, which the layout keeps from everybody for good; any bits are
        // words.
        Words::of(unsafe { slice::from_raw_parts(start, native(region.bytes() / 8)) })
    });
    Ok(Installed { free, devices, payload, cores, carved, retained })
}

/// Writes the record of each core but the booted one into the first carved page, and cleans it to the point of coherency:
/// they read it with caches off (platforms, "Boot").
fn write_records(layout: &Layout, root: u64, cpuactlr: u64) -> Cores {
    let records = layout.carve.start;
    for (index, Stacks { emergency, stack }) in layout.stacks.iter().enumerate().take(MAX_CORES).skip(1) {
        let record = CoreBase {
            index: index as u64,
            emergency_top: emergency.end,
            emergency_bottom: emergency.start,
            stack_top: stack.end,
            stack_bottom: stack.start,
            table: root,
            in_emergency: 0,
            draining: 0,
        };
        let place = core::ptr::with_exposed_provenance_mut::<CoreBase>(native(records));
        // SAFETY: eight records of 64 bytes fit the first carved page, which belongs to this function alone.
        unsafe { place.add(index).write(record) };
    }
    maintenance::clean_to_poc(native(records), MAX_CORES * size_of::<CoreBase>());
    entry::publish_records(records, cpuactlr);
    Cores { records, count: layout.stacks.len(), left_out: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_left_out_has_no_record_to_be_started_by() {
        let mut cores = Cores { records: 0x1000, count: 3, left_out: 0 };
        let [boot, first, second, none] = [0, 1, 2, 3].map(|index| CoreIndex::new(index).unwrap());
        cores.leave_out(first);
        assert_eq!([boot, first, second, none].map(|core| cores.record(core)), [None, None, Some(0x1080), None]);
    }
}
