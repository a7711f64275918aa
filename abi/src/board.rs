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

/// How a register of a shared block is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is read; whoever writes some of its bits leaves the others as they are.
    Merge,
    /// Ones alone do something, zeros nothing. It is never read: what that gives is not defined.
    Ones,
    /// Not at all.
    Never,
}

/// A register of a shared block of which VMs can be given bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Bytes from the first register of the block, a multiple of four.
    pub offset: u64,
    /// The bits that can be given to VMs; the others are the hypervisor's, or nobody's.
    pub bits: u32,
    /// How it is written.
    pub write: Write,
}

/// A page of registers that is for several users at once: VMs are given single bits of it, which the hypervisor reads and writes for
/// them.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its page.
    pub block: Block,
    /// Registers of which bits can be given. No VM has any bit of another.
    pub registers: &'static [Register],
}

impl Shared {
    /// Returns the register at `offset` bytes from the first, if bits of it can be given.
    #[must_use]
    pub fn register(&self, offset: u64) -> Option<&'static Register> {
        self.registers.iter().find(|register| register.offset == offset)
    }
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
    /// Devices that do read and write memory by themselves, by name: others that are not `passive` may.
    pub masters: &'static [Block],
    /// The page of registers of which VMs can be given single bits.
    pub shared: Option<&'static Shared>,
    /// Shared interrupts that the hypervisor keeps, by INTID.
    pub kept_interrupts: &'static [u32],
}

const fn block(start: u64, bytes: u64, what: &'static str) -> Block {
    Block { start, end: start + bytes, what }
}

const fn register(offset: u64, bits: u32, write: Write) -> Register {
    Register { offset, bits, write }
}

/// A PL061 (Arm DDI 0190): the data of one pin each, at an address that masks the others out, and the direction of all. Pin 3 is
/// the machine's power button (`create_gpio_keys` of QEMU's hw/arm/virt.c).
static PL061: Shared = Shared {
    block: block(0x0903_0000, 0x1000, "the GPIO"),
    registers: &[
        register(0x004, 1 << 0, Write::Merge),
        register(0x008, 1 << 1, Write::Merge),
        register(0x010, 1 << 2, Write::Merge),
        register(0x040, 1 << 4, Write::Merge),
        register(0x080, 1 << 5, Write::Merge),
        register(0x100, 1 << 6, Write::Merge),
        register(0x200, 1 << 7, Write::Merge),
        register(0x400, 0xf7, Write::Merge),
    ],
};

/// Pins 0 to 27 of the Raspberry Pi 4, which its header has, less 14 and 15, which are the console's. The others lead to what is on the
/// board: its LED (42, by which the hypervisor says why it does not boot), the flash memory with the boot loader, the network.
const HEADER_PINS: u32 = 0x0fff_ffff & !(1 << 14 | 1 << 15);

/// The GPIO of a BCM2711 ("BCM2711 ARM Peripherals", chapter "General Purpose I/O"): function, setting, clearing, level and pull
/// of the pins. What detects edges raises an interrupt that all share: it is nobody's.
static BCM2711_GPIO: Shared = Shared {
    block: block(0xfe20_0000, 0x1000, "the GPIO"),
    registers: &[
        register(0x00, 0x3fff_ffff, Write::Merge),
        register(0x04, 0x3fff_ffff & !(0x3f << 12), Write::Merge),
        register(0x08, 0x00ff_ffff, Write::Merge),
        register(0x1c, HEADER_PINS, Write::Ones),
        register(0x28, HEADER_PINS, Write::Ones),
        register(0x34, HEADER_PINS, Write::Never),
        register(0xe4, 0x0fff_ffff, Write::Merge),
        register(0xe8, 0x00ff_ffff, Write::Merge),
    ],
};

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
    masters: &[],
    shared: Some(&PL061),
    kept_interrupts: &[33],
};

/// Raspberry Pi 4 Model B in its low-peripheral mode (BCM2711 ARM Peripherals). GPIO, clocks and the watchdog are kept: who has
/// them can take the console's pins and clock, or reset the machine. So are the DMA controllers and the firmware's mailbox, by which all of memory is reached. All PL011 stand in one page, and share one interrupt.
pub static RPI4: Map = Map {
    name: "rpi4",
    kept: &[
        block(0, 0xfc00_0000, "memory, with the spin table"),
        block(0xfe00_7000, 0x1000, "the DMA controller"),
        block(0xfe00_b000, 0x1000, "the firmware's mailbox"),
        block(0xfe10_0000, 0x2000, "the watchdog and the clocks"),
        block(0xfe20_0000, 0x1000, "the GPIO"),
        block(0xfe20_1000, 0x1000, "the console's UART"),
        block(0xfee0_5000, 0x1000, "the DMA controller"),
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
    masters: &[
        block(0xfd50_0000, 0xa000, "PCIe, with all USB ports behind it"),
        block(0xfd58_0000, 0x1_0000, "the Ethernet controller"),
        block(0xfe34_0000, 0x1000, "the SD card's controller"),
        block(0xfe9c_0000, 0x10_0000, "the USB controller"),
    ],
    shared: Some(&BCM2711_GPIO),
    kept_interrupts: &[153],
};

/// A machine that nothing is known of: every device may reach memory.
pub static UNKNOWN: Map =
    Map { name: "unknown", kept: &[], passive: &[], masters: &[], shared: None, kept_interrupts: &[] };

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

    /// Returns the page that is shared register by register, if `start..end` is that page.
    #[must_use]
    pub fn shares(&self, start: u64, end: u64) -> Option<&'static Shared> {
        self.shared.filter(|shared| (shared.block.start, shared.block.end) == (start, end))
    }

    /// Returns which device that does read and write memory by itself has pages that bytes `start..end` touch.
    #[must_use]
    pub fn master(&self, start: u64, end: u64) -> Option<&'static Block> {
        self.masters.iter().find(|master| share_a_page((start, end), (master.start, master.end)))
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
    fn what_must_not_be_given_is_kept_and_what_has_dma_is_known_by_name() {
        for at in [0xfe00_b880, 0xfe00_7000, 0xfee0_5000, 0xfe10_0000, 0xff84_1000, 0xd8] {
            assert!(RPI4.keeps(at, at + 4).is_some(), "{at:#x}");
        }
        for at in [0xfe34_0000, 0xfd58_0000, 0xfd50_0000, 0xfe9c_0000] {
            assert!(RPI4.may_master(at, at + 0x1000) && RPI4.master(at, at + 0x1000).is_some(), "{at:#x}");
            assert_eq!(RPI4.keeps(at, at + 0x1000), None);
        }
        assert_eq!(RPI4.master(0xfe80_4000, 0xfe80_5000), None);
    }

    #[test]
    fn a_shared_block_is_one_page_without_dma_and_each_of_its_registers_a_word_of_it() {
        for (map, shared) in Map::ALL.into_iter().filter_map(|map| Some((map, map.shared?))) {
            let Block { start, end, .. } = shared.block;
            assert_eq!((end - start, start % PAGE_SIZE, map.shares(start, end)), (PAGE_SIZE, 0, Some(shared)));
            assert_eq!(map.shares(start, end + PAGE_SIZE), None);
            assert_eq!(map.master(start, end), None);
            for (n, register) in shared.registers.iter().enumerate() {
                assert!(register.offset < PAGE_SIZE && register.offset.is_multiple_of(4) && register.bits != 0);
                assert!(shared.registers.iter().skip(n + 1).all(|other| other.offset != register.offset));
                assert_eq!(shared.register(register.offset), Some(register));
            }
        }
    }

    #[test]
    fn no_vm_gets_the_consoles_pins_nor_one_that_the_header_does_not_have() {
        let bits = |offset| BCM2711_GPIO.register(offset).map_or(0, |register| register.bits);
        for pin in 0..58 {
            let is_given = pin < 28 && pin != 14 && pin != 15;
            let (words, field) = (pin / 10 * 4, 7 << (pin % 10 * 3));
            assert_eq!(bits(words) & field, if is_given { field } else { 0 }, "function of pin {pin}");
            let (words, field) = (0xe4 + pin / 16 * 4, 3 << (pin % 16 * 2));
            assert_eq!(bits(words) & field, if is_given { field } else { 0 }, "pull of pin {pin}");
            for first in [0x1c, 0x28, 0x34] {
                assert_eq!(bits(first + pin / 32 * 4) >> (pin % 32) & 1, u32::from(is_given), "pin {pin}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_and_given_away_and_no_two_blocks_overlap() {
        for map in Map::ALL {
            assert_eq!(Map::find(map.name), Some(map));
            let all = map.kept.iter().chain(map.passive).chain(map.masters);
            for (at, one) in all.clone().enumerate() {
                for other in all.clone().skip(at + 1) {
                    assert!(!share_a_page((one.start, one.end), (other.start, other.end)), "{one:?} {other:?}");
                }
            }
        }
    }
}
