//! Devices: which physical pages beside memory are the hypervisor's, and which VM has the others. Owns that list, by which no
//! page is given twice. Called by boot, and by the dispatcher when a VM has ended. Never maps anything.

use heapless::Vec;
use strato_abi::addr::{IPA_BITS, PAGE_SIZE};
use strato_abi::board::{Map, share_a_page};

use super::{BoardInfo, GicInfo, MAX_RAM, MAX_RESERVED};
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
    /// As many are given as can be.
    Full,
}

/// Who has which pages.
#[derive(Debug)]
pub struct Devices {
    map: &'static Map,
    kept: Vec<Region, KEPT_MAX>,
    given: Vec<(Region, u8), GIVEN_MAX>,
}

impl Devices {
    /// Returns the pages of `board`, of which no VM has any.
    #[must_use]
    pub fn of(board: &BoardInfo) -> Self {
        let (first, second) = match board.gic {
            GicInfo::V2 { distributor, cpu } => (distributor, cpu),
            GicInfo::V3 { distributor, redistributors } => (distributor, redistributors),
        };
        let devices = [first, second, board.uart.registers];
        let kept = board.ram.iter().chain(&board.reserved).copied().chain(devices).collect();
        Self { map: board.known.map, kept, given: Vec::new() }
    }

    /// Gives the registers `start..start + bytes` to the VM in `place`. `is_trusted` says that its driver does not reach other
    /// memory by the device.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(&mut self, place: u8, start: u64, bytes: u64, is_trusted: bool) -> Result<(), ClaimError> {
        let end = start.checked_add(bytes).filter(|&end| end <= 1 << IPA_BITS).ok_or(ClaimError::Range)?;
        if bytes == 0 || !start.is_multiple_of(PAGE_SIZE) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(ClaimError::Range);
        }
        let is_met = |region: &Region| region.bytes() != 0 && share_a_page((start, end), (region.start, region.end));
        if self.map.keeps(start, end).is_some() || self.kept.iter().any(is_met) {
            return Err(ClaimError::Kept);
        }
        if self.given.iter().any(|(region, _)| is_met(region)) {
            return Err(ClaimError::Taken);
        }
        if !is_trusted && self.map.may_master(start, end) {
            return Err(ClaimError::Dma);
        }
        self.given.push((Region { start, end }, place)).map_err(|_| ClaimError::Full)
    }

    /// Takes everything from the VM in `place`, which maps nothing any more.
    pub fn release(&mut self, place: u8) {
        self.given.retain(|(_, owner)| *owner != place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{CoreMethod, UartInfo, find};

    fn virt() -> Devices {
        let none = Region::new(0, 0);
        Devices::of(&BoardInfo {
            known: find([b"linux,dummy-virt".as_slice()].into_iter()),
            ram: Vec::from_slice(&[Region::new(0x4000_0000, 0x1000_0000)]).unwrap(),
            reserved: Vec::new(),
            cores: Vec::new(),
            cores_left_out: 0,
            method: CoreMethod::None,
            gic: GicInfo::V3 { distributor: Region::new(0x0800_0000, 0x1_0000), redistributors: none },
            uart: UartInfo { registers: Region::new(0x0900_0000, 0x1000), intid: 33 },
            clock: None,
        })
    }

    #[test]
    fn a_page_is_given_once_until_its_owner_is_gone() {
        let mut devices = virt();
        assert_eq!(devices.claim(0, 0x0901_0000, 0x1000, false), Ok(()));
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false), Err(ClaimError::Taken));
        assert_eq!(devices.claim(0, 0x0900_f000, 0x3000, true), Err(ClaimError::Taken));
        devices.release(1);
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false), Err(ClaimError::Taken));
        devices.release(0);
        assert_eq!(devices.claim(1, 0x0901_0000, 0x1000, false), Ok(()));
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
            assert_eq!(virt().claim(0, start, bytes, true), Err(ClaimError::Kept), "{start:#x}");
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
            assert_eq!(virt().claim(0, start, bytes, true), Err(ClaimError::Range), "{start:#x}");
        }
    }

    #[test]
    fn a_device_that_may_reach_memory_needs_a_word() {
        assert_eq!(virt().claim(0, 0x0a00_0000, 0x1000, false), Err(ClaimError::Dma));
        assert_eq!(virt().claim(0, 0x0a00_0000, 0x1000, true), Ok(()));
    }

    #[test]
    fn more_ranges_than_the_list_holds_are_refused() {
        let mut devices = virt();
        for n in 0..GIVEN_MAX as u64 {
            assert_eq!(devices.claim(0, 0x0c00_0000 + n * 0x1000, 0x1000, true), Ok(()));
        }
        assert_eq!(devices.claim(0, 0x0d00_0000, 0x1000, true), Err(ClaimError::Full));
    }
}
