//! What host tool and hypervisor both know of a machine's address map, so that both refuse the same devices: what no VM gets,
//! and which devices cannot reach memory by themselves. Data alone, from the boards' manuals; guests never see it.

use crate::addr::PAGE_SIZE;

/// A range of physical addresses, and what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// What is there, as messages say it.
    pub what: &'static str,
}

/// What is known of a machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    /// Name, as in the manifest's `[board.NAME]`.
    pub name: &'static str,
    /// What the hypervisor keeps: its own devices, memory, and what could take either away.
    pub kept: &'static [Block],
    /// Devices that read and write no memory by themselves. Any other may.
    pub passive: &'static [Block],
    /// Shared interrupts that the hypervisor keeps, by INTID.
    pub kept_interrupts: &'static [u32],
}

const fn block(start: u64, bytes: u64, what: &'static str) -> Block {
    Block { start, end: start + bytes, what }
}

/// QEMU's `virt` machine (`base_memmap` of its hw/arm/virt.c).
pub static QEMU_VIRT: Map = Map {
    name: "qemu-virt",
    kept: &[
        block(0x0800_0000, 0x100_0000, "the interrupt controller"),
        block(0x0900_0000, 0x1000, "the console's UART"),
        block(0x0905_0000, 0x2_0000, "the system MMU"),
        block(0x4000_0000, 0x3f_c000_0000, "memory"),
    ],
    passive: &[
        block(0x0901_0000, 0x1000, "the real-time clock"),
        block(0x0903_0000, 0x1000, "the GPIO"),
        block(0x0904_0000, 0x1000, "the second UART"),
    ],
    kept_interrupts: &[33],
};

/// Raspberry Pi 4 Model B in its low-peripheral mode (BCM2711 ARM Peripherals). GPIO, clocks and the watchdog are kept: who has
/// them can take the console's pins and clock, or reset the machine. All PL011 stand in one page, and share one interrupt.
pub static RPI4: Map = Map {
    name: "rpi4",
    kept: &[
        block(0, 0xfc00_0000, "memory"),
        block(0xfe10_0000, 0x2000, "the watchdog and the clocks"),
        block(0xfe20_0000, 0x1000, "the GPIO"),
        block(0xfe20_1000, 0x1000, "the console's UART"),
        block(0xff80_0000, 0x10_0000, "the interrupt controller and the cores' local peripherals"),
        block(0x1_0000_0000, 0x1_0000_0000, "memory"),
    ],
    passive: &[
        block(0xfe00_3000, 0x1000, "the system timer"),
        block(0xfe10_4000, 0x1000, "the random number generator"),
        block(0xfe20_3000, 0x1000, "the PCM interface"),
        block(0xfe20_4000, 0x1000, "SPI 0"),
        block(0xfe20_5000, 0x1000, "I2C 0"),
        block(0xfe20_c000, 0x1000, "the PWM"),
        block(0xfe21_5000, 0x1000, "the auxiliary UART and SPIs"),
        block(0xfe80_4000, 0x1000, "I2C 1"),
    ],
    kept_interrupts: &[153],
};

/// A machine that nothing is known of: every device may reach memory.
pub static UNKNOWN: Map = Map { name: "unknown", kept: &[], passive: &[], kept_interrupts: &[] };

impl Map {
    /// The machines that are known.
    pub const ALL: [&'static Self; 2] = [&QEMU_VIRT, &RPI4];

    /// Returns the machine of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|map| map.name == name)
    }

    /// Returns what the hypervisor keeps of the pages that bytes `start..end` touch.
    #[must_use]
    pub fn keeps(&self, start: u64, end: u64) -> Option<&'static Block> {
        self.kept.iter().find(|kept| share_a_page((start, end), (kept.start, kept.end)))
    }

    /// Returns whether a device in `start..end` may read or write memory by itself: all that is not known not to.
    #[must_use]
    pub fn may_master(&self, start: u64, end: u64) -> bool {
        !self.passive.iter().any(|device| device.start <= start && end <= device.end)
    }
}

/// Returns whether two ranges of bytes, start and end each, have a 4 KiB page in common.
#[must_use]
pub const fn share_a_page(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 / PAGE_SIZE < b.1.div_ceil(PAGE_SIZE) && b.0 / PAGE_SIZE < a.1.div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_any_byte_of_its_pages() {
        let what = |start, end| QEMU_VIRT.keeps(start, end).map(|kept| kept.what);
        assert_eq!(what(0x0900_0ff0, 0x0900_0ff4), Some("the console's UART"));
        assert_eq!(what(0x0900_1000, 0x0900_2000), None);
        assert_eq!(what(0x08ff_f000, 0x0901_0000), Some("the interrupt controller"));
        assert_eq!(what(0x0901_0000, 0x4000_0001), Some("the system MMU"));
        assert_eq!(RPI4.keeps(0xfe20_1400, 0xfe20_1490).map(|kept| kept.what), Some("the console's UART"));
    }

    #[test]
    fn a_device_that_is_not_known_may_master() {
        assert!(!QEMU_VIRT.may_master(0x0901_0000, 0x0901_1000));
        assert!(QEMU_VIRT.may_master(0x0901_0000, 0x0901_2000), "not all of it is known");
        assert!(QEMU_VIRT.may_master(0x0a00_0000, 0x0a00_1000));
        assert!(UNKNOWN.may_master(0x0901_0000, 0x0901_1000));
    }

    #[test]
    fn nothing_is_kept_and_given_away_and_no_two_blocks_overlap() {
        for map in Map::ALL {
            assert_eq!(Map::find(map.name), Some(map));
            let all = map.kept.iter().chain(map.passive);
            for (at, one) in all.clone().enumerate() {
                for other in all.clone().skip(at + 1) {
                    assert!(!share_a_page((one.start, one.end), (other.start, other.end)), "{one:?} {other:?}");
                }
            }
        }
    }
}
