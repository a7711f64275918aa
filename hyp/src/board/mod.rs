//! Board: what the machine is made of, and what a device tree does not say about the boards that Strato knows. Data
//! alone; boot fills [`BoardInfo`] from the device tree, everybody else reads it.

use heapless::{String, Vec};
use strato_abi::board::Map;

use crate::arch::core_base::MAX_CORES;
use crate::arch::region::Region;

pub mod bcm2835;
mod devices;
mod filters;
mod host;
mod qemu_virt;
pub mod retained;
pub mod rpi4;

pub use devices::{ClaimError, Devices};
pub use filters::{AllowError, Broken};

/// Most regions of memory in the device tree.
pub const MAX_RAM: usize = 8;
/// Most bytes of the firmware's version.
pub const FIRMWARE_BYTES: usize = 48;
/// Most reserved regions in the device tree.
pub const MAX_RESERVED: usize = 16;

/// A board's own facts.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Name in messages and in the manifest's `[board.NAME]`.
    pub name: &'static str,
    /// The root node's `compatible` string.
    pub compatible: &'static str,
    /// What of its address map is kept, and which devices cannot reach memory.
    pub map: &'static Map,
    /// Clock of the PL011, which sets the baud rate; 0 where the firmware's setting stays.
    pub uart_clock_hz: u32,
    /// Another UART, a mini UART, that the manifest may choose.
    pub mini_uart: Option<UartInfo>,
    /// Whether the firmware is the Raspberry Pi's stub: cores wait for a spin table, and it opens CPUACTLR_EL1 to EL2.
    pub has_stock_stub: bool,
    /// Whether its shared page is the GPIO of a BCM2835 or later, by which the console's pins are routed to the UART.
    pub routes_console: bool,
    /// Registers of the power manager of a BCM2835 or later, which resets the machine and powers it off.
    pub power: Option<Region>,
    /// First byte of the [`retained::BYTES`] of memory that a warm reset leaves as they are, firmware and loader included; they are used
    /// for nothing else where they are memory that nobody reserved.
    pub retained: Option<u64>,
}

/// The boards that Strato knows; another one with the same devices boots under the last, which matches any.
static KNOWN: [&Known; 3] = [&qemu_virt::BOARD, &rpi4::BOARD, &host::BOARD];

/// Returns the facts of the first known board among the `compatible` strings of the device tree's root, or those of an
/// unknown one.
pub fn find<'a>(mut compatible: impl Iterator<Item = &'a [u8]>) -> &'static Known {
    let known = |name: &[u8]| KNOWN.into_iter().find(|known| known.compatible.as_bytes() == name && !name.is_empty());
    compatible.find_map(known).unwrap_or(&host::BOARD)
}

/// The interrupt controller's register frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicInfo {
    /// GICv2: distributor and CPU interface.
    V2 {
        /// GICD.
        distributor: Region,
        /// GICC, both pages of it.
        cpu: Region,
    },
    /// GICv3 or 4: distributor and one block of redistributors.
    V3 {
        /// GICD.
        distributor: Region,
        /// GICR of all cores, in a row.
        redistributors: Region,
    },
}

/// The UART of the console, a PL011 or a mini UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UartInfo {
    /// Its registers.
    pub registers: Region,
    /// Its interrupt.
    pub intid: u32,
}

/// How other cores are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreMethod {
    /// PSCI by SMC.
    PsciSmc,
    /// They wait for a word of memory to hold where they are to go.
    SpinTable(SpinTable),
    /// By no way that Strato speaks: PSCI by HVC (EL2 is ours), or none. The other cores stay off.
    None,
}

/// Where cores wait to be released (devicetree specification 0.4, "cpu-release-addr"). All words are in one page of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpinTable {
    /// Address of the first word, which is not 0, though its page may be.
    pub start: u64,
    /// Offset of each core's word from there; `None` for one that waits for none.
    pub offsets: [Option<u16>; MAX_CORES],
}

impl SpinTable {
    /// Returns the table of cores that wait for the words at `addresses`, that of the booted core first, 0 for one that does not;
    /// `None` when nobody waits. A core whose word is not in the page of the lowest, or not aligned, is left out; and so are all that
    /// wait for one word, since they would all come as the same core.
    #[must_use]
    pub fn of(addresses: &[u64]) -> Option<Self> {
        let words = addresses.iter().filter(|address| **address != 0 && address.is_multiple_of(8));
        let start = *words.min()?;
        let mut table = Self { start, ..Self::default() };
        let others = addresses.get(1..).unwrap_or(&[]);
        for (offset, address) in table.offsets.iter_mut().zip(addresses) {
            let is_own = others.iter().filter(|other| *other == address).count() <= 1;
            let is_there = is_own && address.is_multiple_of(8) && address >> 12 == start >> 12;
            *offset = address.checked_sub(start).filter(|_| is_there).and_then(|offset| u16::try_from(offset).ok());
        }
        Some(table)
    }
}

/// What the device tree says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardInfo {
    /// The board's own facts.
    pub known: &'static Known,
    /// Memory, reserved parts included.
    pub ram: Vec<Region, MAX_RAM>,
    /// What is not to be touched.
    pub reserved: Vec<Region, MAX_RESERVED>,
    /// Affinity fields of each core's MPIDR_EL1, the booted core first; at most [`MAX_CORES`].
    pub cores: Vec<u64, MAX_CORES>,
    /// Cores that the device tree has beyond those.
    pub cores_left_out: usize,
    /// How cores are started.
    pub method: CoreMethod,
    /// The interrupt controller.
    pub gic: GicInfo,
    /// The console's UART.
    pub uart: UartInfo,
    /// Registers of a PL031, which knows the date. Read once; a VM may have it then.
    pub clock: Option<Region>,
    /// Registers of a PL061.
    pub gpio: Option<Region>,
    /// What the firmware calls its version, as far as it is plain; empty when it does not tell.
    pub firmware: String<FIRMWARE_BYTES>,
}

impl BoardInfo {
    /// Returns the page of registers of which VMs can be given single bits, if the board is known to have one and it is there.
    #[must_use]
    pub fn shared(&self) -> Option<Region> {
        let block = self.known.map.shared?.block;
        let is_there = self.known.routes_console || self.gpio.is_some_and(|gpio| gpio.start == block.start);
        is_there.then_some(Region { start: block.start, end: block.end })
    }
}

impl BoardInfo {
    /// Forgets the memory from `limit` on, whatever the device tree says: no core can name it.
    pub fn cut_memory(&mut self, limit: u64) {
        for region in &mut self.ram {
            region.end = region.end.min(limit).max(region.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_found_by_any_of_its_compatible_strings() {
        assert_eq!(find([b"linux,dummy-virt".as_slice()].into_iter()).name, "qemu-virt");
        assert_eq!(find([b"brcm,bcm2711".as_slice(), b"raspberrypi,4-model-b"].into_iter()).name, "rpi4");
    }

    #[test]
    fn a_spin_table_is_one_page_of_words() {
        assert_eq!(SpinTable::of(&[]), None);
        assert_eq!(SpinTable::of(&[0, 0]), None);
        let table = SpinTable::of(&[0xd8, 0xe0, 0xe8, 0xf0]).unwrap();
        assert_eq!((table.start, &table.offsets[..5]), (0xd8, [Some(0), Some(8), Some(16), Some(24), None].as_slice()));
        // The booted core need not have one; another page and a word that is not aligned are out of reach.
        let table = SpinTable::of(&[0, 0x1010, 0x2000, 0x1021]).unwrap();
        assert_eq!((table.start, &table.offsets[..4]), (0x1010, [None, Some(0), None, None].as_slice()));
    }

    #[test]
    fn cores_that_wait_for_one_word_are_left_out_but_for_the_one_that_runs() {
        let table = SpinTable::of(&[0xd8, 0xe0, 0xe8, 0xe0]).unwrap();
        assert_eq!(&table.offsets[..4], [Some(0), None, Some(16), None]);
        let table = SpinTable::of(&[0xd8, 0xd8]).unwrap();
        assert_eq!(table.offsets[1], Some(0));
    }

    #[test]
    fn a_pi_without_a_device_tree_has_what_every_model_has() {
        let board = rpi4::without_tree();
        assert_eq!(board.known.name, "rpi4");
        assert!(
            board.ram.iter().all(|region| region.start >= 0x1000 && region.end <= 0x3b40_0000),
            "the spin table is no memory"
        );
        assert_eq!(board.cores.as_slice(), [0, 1, 2, 3]);
        assert!(matches!(board.method, CoreMethod::SpinTable(table) if table.start == 0xd8));
    }

    #[test]
    fn memory_that_no_core_can_name_is_forgotten() {
        let mut board = rpi4::without_tree();
        board.ram = [Region::new(0x1000, 0x9000), Region::new(0x5000, 0x1000), Region::new(1 << 40, 0x1000)].into();
        board.cut_memory(0x4000);
        let bytes: u64 = board.ram.iter().map(|region| region.bytes()).sum();
        assert_eq!((bytes, board.ram[0]), (0x3000, Region { start: 0x1000, end: 0x4000 }));
    }

    #[test]
    fn an_unknown_board_has_no_facts_of_its_own() {
        assert_eq!(find([b"acme,board".as_slice(), b""].into_iter()), &host::BOARD);
        assert!(!host::BOARD.has_stock_stub);
    }
}
