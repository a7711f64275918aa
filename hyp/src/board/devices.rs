//! Devices: which physical pages beside memory are the hypervisor's, and which VM has the others. Owns that list, by which no
//! page is given twice. Called by boot, and by the dispatcher when a VM has ended. Never maps anything.

use heapless::Vec;
use strato_abi::addr::{IPA_BITS, PAGE_SIZE};
use strato_abi::board::{Map, share_a_page};

use super::filters::{AllowError, Broken, Filters};
use super::{BoardInfo, GicInfo, MAX_RAM, MAX_RESERVED};
use crate::arch::mmio::{RegisterPage, Registers};
use crate::arch::region::Region;

/// Most ranges of registers that VMs can be given.
const GIVEN_MAX: usize = 32;
/// Memory, what is reserved, the frames of the interrupt controller, the UART.
const KEPT_MAX: usize = MAX_RAM + MAX_RESERVED + 3;

/// Why registers cannot be given to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// They are not whole pages, or lie beyond the address space.
    Range,
    /// A page of them is memory, or the hypervisor's.
    Kept,
    /// A page of them was given to a VM before.
    Taken,
    /// The device can reach memory by itself, and nobody said that its driver is trusted.
    Dma,
    /// They are to be given bit by bit, and the board file says of no register there how.
    Whole,
    /// As many are given as can be.
    Full,
}

/// Registers that a VM was given.
#[derive(Debug)]
struct Given {
    region: Region,
    place: u8,
    /// Whether it has but the bits that were allowed it.
    is_filtered: bool,
}

/// Who has which pages.
#[derive(Debug)]
pub struct Devices {
    map: &'static Map,
    kept: Vec<Region, KEPT_MAX>,
    given: Vec<Given, GIVEN_MAX>,
    filters: Filters,
}

impl Devices {
    /// Returns the pages of `board`, of which no VM has any. `shared` are the registers of its shared page, if it has one.
    #[must_use]
    pub fn of(board: &BoardInfo, shared: Option<Registers<RegisterPage>>) -> Self {
        let (first, second) = match board.gic {
            GicInfo::V2 { distributor, cpu } => (distributor, cpu),
            GicInfo::V3 { distributor, redistributors } => (distributor, redistributors),
        };
        let devices = [first, second, board.uart.registers];
        let kept = board.ram.iter().chain(&board.reserved).copied().chain(devices).collect();
        let map = board.known.map;
        Self { map, kept, given: Vec::new(), filters: Filters::of(map.shared.zip(shared)) }
    }

    /// Gives the registers `start..start + bytes` to the VM in `place`, whole or to be filtered. `is_trusted` says that its driver
    /// does not reach other memory by the device.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(
        &mut self,
        place: u8,
        start: u64,
        bytes: u64,
        is_trusted: bool,
        is_filtered: bool,
    ) -> Result<(), ClaimError> {
        let end = start.checked_add(bytes).filter(|&end| end <= 1 << IPA_BITS).ok_or(ClaimError::Range)?;
        if bytes == 0 || !start.is_multiple_of(PAGE_SIZE) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(ClaimError::Range);
        }
        let is_met = |region: &Region| region.bytes() != 0 && share_a_page((start, end), (region.start, region.end));
        if is_filtered && !self.filters.is_page(start, end) {
            return Err(ClaimError::Whole);
        }
        if !is_filtered && self.map.keeps(start, end).is_some() || self.kept.iter().any(is_met) {
            return Err(ClaimError::Kept);
        }
        let excludes = |given: &Given| !(is_filtered && given.is_filtered && given.place != place);
        if self.given.iter().any(|given| is_met(&given.region) && excludes(given)) {
            return Err(ClaimError::Taken);
        }
        if !is_filtered && !is_trusted && self.map.may_master(start, end) {
            return Err(ClaimError::Dma);
        }
        let given = Given { region: Region { start, end }, place, is_filtered };
        self.given.push(given).map_err(|_| ClaimError::Full)
    }

    /// Gives the VM in `place`, which has the shared page to be filtered, of the register at `at` the bits `mask`.
    ///
    /// # Errors
    /// [`AllowError`].
    pub fn allow(&mut self, place: u8, at: u64, mask: u32) -> Result<(), AllowError> {
        // There is one page that can be filtered.
        if !self.given.iter().any(|given| given.place == place && given.is_filtered) {
            return Err(AllowError::Page);
        }
        self.filters.allow(place, at, mask)
    }

    /// Reads the register at `at` for the VM in `place`, or writes `value` to it, as far as it was allowed. Returns what was read, with
    /// zeros for what it may not see.
    ///
    /// # Errors
    /// [`Broken`]; nothing was accessed.
    pub fn access(&self, place: u8, at: u64, value: Option<u32>) -> Result<u32, Broken> {
        self.filters.access(place, at, value)
    }

    /// Takes everything from the VM in `place`, which maps nothing any more.
    pub fn release(&mut self, place: u8) {
        self.given.retain(|given| given.place != place);
        self.filters.release(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::mmio::Device;
    use crate::board::{CoreMethod, UartInfo, find};

    fn virt() -> Devices {
        let none = Region::new(0, 0);
        let board = BoardInfo {
            known: find([b"linux,dummy-virt".as_slice()].into_iter()),
            ram: Vec::from_slice(&[Region::new(0x4000_0000, 0x1000_0000)]).unwrap(),
            reserved: Vec::new(),
            cores: Vec::new(),
            cores_left_out: 0,
            method: CoreMethod::None,
            gic: GicInfo::V3 { distributor: Region::new(0x0800_0000, 0x1_0000), redistributors: none },
            uart: UartInfo { registers: Region::new(0x0900_0000, 0x1000), intid: 33 },
            clock: None,
            gpio: None,
            firmware: heapless::String::new(),
        };
        Devices::of(&board, Device::simulated(0x1000).shared())
    }

    const GPIO: u64 = 0x0903_0000;

    #[test]
    fn a_shared_page_is_given_to_several_bit_by_bit_or_to_one_whole() {
        let mut devices = virt();
        assert_eq!(devices.allow(0, GPIO + 0x400, 1), Err(AllowError::Page));
        assert_eq!(devices.claim(0, GPIO, 0x1000, false, true), Ok(()));
        assert_eq!(devices.claim(0, GPIO, 0x1000, false, true), Err(ClaimError::Taken));
        assert_eq!(devices.claim(1, GPIO, 0x1000, false, false), Err(ClaimError::Taken));
        assert_eq!(devices.claim(1, GPIO, 0x1000, false, true), Ok(()));
        assert_eq!((devices.allow(0, GPIO + 0x400, 1), devices.allow(1, GPIO + 0x400, 2)), (Ok(()), Ok(())));
        assert_eq!(devices.access(0, GPIO + 0x400, Some(3)), Ok(0));
        assert_eq!((devices.access(0, GPIO + 0x400, None), devices.access(1, GPIO + 0x400, None)), (Ok(1), Ok(0)));
        devices.release(0);
        assert_eq!(devices.access(0, GPIO + 0x400, None), Err(Broken::Register));
        assert_eq!(devices.claim(0, GPIO, 0x1000, false, false), Err(ClaimError::Taken), "the other has its bits");
        devices.release(1);
        assert_eq!(devices.claim(0, GPIO, 0x1000, false, false), Ok(()));
        assert_eq!(devices.claim(1, GPIO, 0x1000, false, true), Err(ClaimError::Taken));
        assert_eq!(devices.allow(0, GPIO + 0x400, 1), Err(AllowError::Page), "it has them all");
    }

    #[test]
    fn no_other_page_is_given_bit_by_bit() {
        for (start, bytes) in [(0x0901_0000, 0x1000), (GPIO, 0x2000), (0x0900_0000, 0x1000), (0x4000_0000, 0x1000)] {
            assert_eq!(virt().claim(0, start, bytes, true, true), Err(ClaimError::Whole), "{start:#x}");
        }
    }

    #[test]
    fn a_page_is_given_once_until_its_owner_is_gone() {
        let mut devices = virt();
        assert_eq!(devices.claim(0, 0x0901_0000, 0x1000, false, false), Ok(()));
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false, false), Err(ClaimError::Taken));
        assert_eq!(devices.claim(0, 0x0900_f000, 0x3000, true, false), Err(ClaimError::Taken));
        devices.release(1);
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false, false), Err(ClaimError::Taken));
        devices.release(0);
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false, false), Ok(()));
    }

    #[test]
    fn memory_and_what_the_hypervisor_uses_are_nobodys() {
        for (start, bytes) in [
            (0x0900_0000, 0x1000),
            (0x0800_0000, 0x1000),
            (0x080a_0000, 0x2_0000),
            (0x4000_0000, 0x1000),
            (0x8000_0000, 0x1000),
            (0x08ff_f000, 0x2_0000),
        ] {
            assert_eq!(virt().claim(0, start, bytes, true, false), Err(ClaimError::Kept), "{start:#x}");
        }
    }

    #[test]
    fn a_range_is_whole_pages_inside_the_address_space() {
        for (start, bytes) in [
            (0x0901_0000, 0),
            (0x0901_0800, 0x1000),
            (0x0901_0000, 0x800),
            (u64::MAX - 0xfff, 0x1000),
            (1 << 39, 0x1000),
        ] {
            assert_eq!(virt().claim(0, start, bytes, true, false), Err(ClaimError::Range), "{start:#x}");
        }
    }

    #[test]
    fn a_device_that_may_reach_memory_needs_a_word() {
        assert_eq!(virt().claim(0, 0x0a00_0000, 0x1000, false, false), Err(ClaimError::Dma));
        assert_eq!(virt().claim(0, 0x0a00_0000, 0x1000, true, false), Ok(()));
    }

    #[test]
    fn more_ranges_than_the_list_holds_are_refused() {
        let mut devices = virt();
        for n in 0..GIVEN_MAX as u64 {
            assert_eq!(devices.claim(0, 0x0c00_0000 + n * 0x1000, 0x1000, true, false), Ok(()));
        }
        assert_eq!(devices.claim(0, 0x0d00_0000, 0x1000, true, false), Err(ClaimError::Full));
    }
}
