//! Layout: where everything of the hypervisor stands in physical memory, and what the EL2 map says about it. Pure, so
//! that the claims the unsafe code rests on are tested on a PC: nothing is writable and executable, each stack has a
//! page below it that is not mapped, and no frame is handed out that anything else uses.
//!
//! Keeps (platforms, "Boot" and "Caches and code"): only real RAM that nobody reserved is mapped as Normal memory; page
//! 0 is left alone, since a Raspberry Pi's firmware parks cores there.

use heapless::Vec;

use super::core_base::{EMERGENCY_BYTES, MAX_CORES, STACK_BYTES};
use super::region::{LIMIT, PAGE, Region, TooManyRegions, merge, take_out};

/// Most regions of RAM after everything reserved is taken out.
pub const MAX_REGIONS: usize = 32;
/// Most ranges of the EL2 map.
pub const MAX_RANGES: usize = MAX_REGIONS + 16;
/// Most device windows of the hypervisor itself.
pub const MAX_DEVICES: usize = 7;

/// A core's share of the carved memory: guard page, emergency stack, guard page, stack.
const CORE_BYTES: u64 = PAGE + EMERGENCY_BYTES as u64 + PAGE + STACK_BYTES as u64;

/// What EL2 may do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Code: read and executed.
    Execute,
    /// Constants and the payload: read.
    Read,
    /// Data and free memory: read and written.
    Write,
    /// Device registers: read and written, in order, never cached.
    Device,
}

/// The parts of the image; see `entry::Image` for how they are found.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// First byte, the start of the code.
    pub start: u64,
    /// Behind the code, where constants begin.
    pub text_end: u64,
    /// Behind the constants, where data begin.
    pub rodata_end: u64,
    /// Behind the data; a guard page follows.
    pub data_end: u64,
    /// The boot core's emergency stack; a guard page follows.
    pub emergency: Region,
    /// The boot core's stack.
    pub stack: Region,
    /// Behind the image, where the payload begins.
    pub end: u64,
}

/// The stacks of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stacks {
    /// Where exceptions of EL2 itself are reported.
    pub emergency: Region,
    /// Where everything else runs.
    pub stack: Region,
}

/// Why there is no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The device tree names no memory where the image stands.
    ImageOutsideRam,
    /// The payload is longer than the memory behind the image.
    PayloadOutsideRam,
    /// There is no room for stacks and tables.
    NoRoom,
    /// The memory is in more pieces than there is room for.
    TooManyRegions,
    /// A device of the hypervisor stands in its image or payload, or in a page of another device.
    DevicesOverlap,
    /// A device of the hypervisor stands where its map cannot name it, or at address 0, which is nobody's.
    DeviceOutOfReach,
}

impl From<TooManyRegions> for LayoutError {
    fn from(_: TooManyRegions) -> Self {
        Self::TooManyRegions
    }
}

/// Where everything stands. Made by [`Layout::plan`] alone; `mmu::install` acts on it.
#[derive(Debug)]
pub struct Layout {
    pub(super) ranges: Vec<(Region, Access), MAX_RANGES>,
    pub(super) usable: Vec<Region, MAX_REGIONS>,
    pub(super) carve: Region,
    pub(super) tables: Region,
    pub(super) stacks: Vec<Stacks, MAX_CORES>,
    pub(super) payload: Region,
    pub(super) devices: Vec<Region, MAX_DEVICES>,
    pub(super) retained: Option<Region>,
}

impl Layout {
    /// Returns the layout of a machine with memory `ram` less `reserved`, with the hypervisor's `image`, `payload`
    /// bytes of payload behind it, `cores` cores and the `devices` that the hypervisor itself uses. What is said to be memory and a
    /// device is the device's: whatever the device tree says, nobody is handed its registers, or the words for which cores wait.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn plan(
        ram: &[Region],
        reserved: &[Region],
        image: &Image,
        payload: u64,
        cores: usize,
        devices: &[Region],
    ) -> Result<Self, LayoutError> {
        let whole = Region { start: image.start, end: image.end };
        let payload = Region::new(image.end, payload);
        let mut usable: Vec<Region, MAX_REGIONS> = merge(ram)?;
        let home = usable.iter().find(|region| region.contains(whole)).ok_or(LayoutError::ImageOutsideRam)?;
        if !home.contains(payload) {
            return Err(LayoutError::PayloadOutsideRam);
        }
        take_out(&mut usable, Region::new(0, PAGE))?;
        for region in reserved {
            take_out(&mut usable, region.outer_pages())?;
        }
        let whole = Region { start: whole.start, end: payload.outer_pages().end };
        take_out(&mut usable, whole)?;

        let mut ranges = Vec::new();
        for (start, end, access) in [
            (image.start, image.text_end, Access::Execute),
            (image.text_end, image.rodata_end, Access::Read),
            (image.rodata_end, image.data_end, Access::Write),
            (image.emergency.start, image.emergency.end, Access::Write),
            (image.stack.start, image.stack.end, Access::Write),
            (payload.start, payload.outer_pages().end, Access::Read),
        ] {
            add(&mut ranges, Region { start, end }, access)?;
        }
        let mut own_devices = Vec::new();
        for device in devices {
            let pages = device.outer_pages();
            if device.start == 0 || pages.end > LIMIT {
                return Err(LayoutError::DeviceOutOfReach);
            }
            if whole.overlaps(pages) || ranges.iter().any(|(other, _)| other.overlaps(pages)) {
                return Err(LayoutError::DevicesOverlap);
            }
            take_out(&mut usable, pages)?;
            add(&mut ranges, pages, Access::Device)?;
            own_devices
                .push(Region { start: device.start, end: pages.end })
                .map_err(|_| LayoutError::TooManyRegions)?;
        }

        let others = cores.clamp(1, MAX_CORES) - 1;
        // Each edge of a range asks for a level 2 and a level 3 table at most, besides the root.
        let table_pages = 1 + 4 * (ranges.len() + usable.len() + 2 * others + 2) as u64;
        let others = others as u64;
        let bytes = PAGE + others * CORE_BYTES + table_pages * PAGE;
        let home = usable.iter().filter(|region| region.bytes() >= bytes);
        let home = home.clone().find(|region| region.start >= payload.end).or_else(|| home.clone().next());
        let carve = Region::new(home.ok_or(LayoutError::NoRoom)?.start, bytes);
        let mut stacks = Vec::new();
        let own = Stacks { emergency: image.emergency, stack: image.stack };
        stacks.push(own).map_err(|_| LayoutError::TooManyRegions)?;
        let mut writable = usable.clone();
        for core in 0..others {
            let guard = carve.start + PAGE + core * CORE_BYTES;
            let emergency = Region::new(guard + PAGE, EMERGENCY_BYTES as u64);
            let stack = Region::new(emergency.end + PAGE, STACK_BYTES as u64);
            take_out(&mut writable, Region { start: guard, end: emergency.start })?;
            take_out(&mut writable, Region { start: emergency.end, end: stack.start })?;
            stacks.push(Stacks { emergency, stack }).map_err(|_| LayoutError::TooManyRegions)?;
        }
        for region in writable {
            add(&mut ranges, region, Access::Write)?;
        }
        let tables = Region { start: carve.start + PAGE + others * CORE_BYTES, end: carve.end };
        Ok(Self { ranges, usable, carve, tables, stacks, payload, devices: own_devices, retained: None })
    }

    /// Keeps `region`, whole pages, from everybody: what stands there is to survive a warm reset. It stays mapped as free memory is. Does
    /// nothing where it is not free memory.
    pub fn retain(&mut self, region: Region) {
        let is_free = self.usable.iter().any(|usable| usable.contains(region)) && !self.carve.overlaps(region);
        // A full set could not be split.
        if is_free && !self.usable.is_full() && take_out(&mut self.usable, region).is_ok() {
            self.retained = Some(region);
        }
    }

    /// Returns the memory that nobody uses once tables up to `tables_end` are taken.
    ///
    /// # Errors
    /// [`TooManyRegions`].
    pub fn free(&self, tables_end: u64) -> Result<Vec<Region, MAX_REGIONS>, TooManyRegions> {
        let mut free = self.usable.clone();
        take_out(&mut free, Region { start: self.carve.start, end: tables_end })?;
        Ok(free)
    }

    /// Returns the ranges of the EL2 map, in no order.
    #[must_use]
    pub fn ranges(&self) -> &[(Region, Access)] {
        &self.ranges
    }

    /// Returns the memory for the cores' records, stacks and tables, and the part of it that is for tables.
    #[must_use]
    pub fn carved(&self) -> (Region, Region) {
        (self.carve, self.tables)
    }
}

fn add(ranges: &mut Vec<(Region, Access), MAX_RANGES>, region: Region, access: Access) -> Result<(), LayoutError> {
    if region.bytes() == 0 {
        return Ok(());
    }
    ranges.push((region, access)).map_err(|_| LayoutError::TooManyRegions)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
