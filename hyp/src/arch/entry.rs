//! Entry: the assembly between reset and Rust, and what it found: where the image stands, the device tree, the cores'
//! own records. Called by boot alone. Never decides what the final EL2 map looks like.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::slice;

use aarch64_cpu::registers::{Readable, TPIDR_EL2};
use strato_abi::plan::PayloadHeader;
use strato_abi::{mini_uart, plan};

use super::core_base::CoreBase;
use super::layout::Image;
use super::region::{Region, native};
use super::{el2, maintenance, sign};
use crate::sync::{AtomicU64, Ordering};

/// Level 2 tables of the boot map: one for each GiB that holds a part of the image, the payload, the device tree, the
/// likely UART or the first stacks. Each of the first three may lie across a GiB boundary.
const BOOT_TABLES: usize = 6;

global_asm!(
    include_str!("entry.S"),
    include_str!("boot_map.S"),
    include_str!("sign.S"),
    include_str!("spin.S"),
    include_str!("refuse.S"),
    include_str!("own_el.S"),
    FDT_MAGIC = const 0xedfe_0dd0_u32, // as read by a little-endian load
    UART_VIRT = const 0x0900_0000,
    UART_PI = const 0xfe20_1000_u64,
    GPIO_PI = const 0xfe20_0000_u64,
    REFUSED = const sign::REFUSED,
    MINI_PI = const mini_uart::PAGE.start + 1, // the mark by which refuse.S tells it from a PL011
    PAYLOAD_MAGIC = const plan::PAYLOAD_MAGIC,
    PAYLOAD_VERSION = const plan::PAYLOAD_VERSION,
    HEADER_VERSION_AT = const offset_of!(PayloadHeader, version),
    HEADER_FLAGS_AT = const offset_of!(PayloadHeader, flags),
    HEADER_MINI_UART = const plan::HEADER_MINI_UART,
    HCR = const el2::HCR,
    CPTR = const el2::CPTR,
    MDCR = const el2::MDCR,
    MPAM2 = const el2::MPAM2,
    MAIR = const el2::MAIR,
    TCR = const el2::TCR,
    SCTLR_OFF = const el2::SCTLR_OFF,
    SCTLR_BOOT = const el2::SCTLR_BOOT,
    SCTLR_FINAL = const el2::SCTLR_FINAL,
    BLOCK_NORMAL = const el2::BLOCK_NORMAL,
    BLOCK_DEVICE = const el2::BLOCK_DEVICE,
    BOOT_TABLES = const BOOT_TABLES,
    CORE_INDEX = const offset_of!(CoreBase, index),
    CORE_EMERGENCY_TOP = const offset_of!(CoreBase, emergency_top),
    CORE_STACK_TOP = const offset_of!(CoreBase, stack_top),
    CORE_TABLE = const offset_of!(CoreBase, table),
    CORE_DRAINING = const offset_of!(CoreBase, draining),
    CORE_IN_EMERGENCY = const offset_of!(CoreBase, in_emergency),
);

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __data_end: u8;
    static __emergency_bottom: u8;
    static __emergency_top: u8;
    static __stack_bottom: u8;
    static __image_end: u8;
    static __build_id_start: u8;
    static __build_id_end: u8;
    fn arch_map_boot(start: u64, end: u64, attributes: u64) -> u64;
    fn arch_switch_map(table: u64, cpuactlr: u64);
    fn arch_secondary();
    fn arch_spin_entries();
    static arch_spin_records: [AtomicU64; 2];
    fn arch_drain_serror() -> u64;
}

/// Defines the two functions that the assembly jumps to, for the image's crate root.
///
/// `$boot(device_tree: u64, started_ticks: u64) -> !` runs once; `$secondary(core: CoreIndex) -> !` on every other core.
#[macro_export]
macro_rules! image_entry {
    ($boot:path, $secondary:path) => {
        #[allow(unsafe_code, reason = "entry.S calls these two names; nothing else defines them")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn strato_boot(device_tree: u64, started_ticks: u64) -> ! {
                $boot(device_tree, started_ticks)
            }
            #[unsafe(no_mangle)]
            extern "C" fn strato_secondary() -> ! {
                $secondary($crate::arch::this_core())
            }
        };
    };
}

/// Returns where the image stands.
pub fn image() -> Image {
    Image {
        start: (&raw const __image_start).addr() as u64,
        text_end: (&raw const __text_end).addr() as u64,
        rodata_end: (&raw const __rodata_end).addr() as u64,
        data_end: (&raw const __data_end).addr() as u64,
        emergency: Region {
            start: (&raw const __emergency_bottom).addr() as u64,
            end: (&raw const __emergency_top).addr() as u64,
        },
        stack: Region { start: (&raw const __stack_bottom).addr() as u64, end: (&raw const __image_end).addr() as u64 },
        end: (&raw const __image_end).addr() as u64,
    }
}

/// Returns the first eight bytes of the build id that the linker computed from the image's contents.
pub fn build_id() -> u64 {
    let note = (&raw const __build_id_start).addr();
    // An ELF note: three words, the owner "GNU\0", then the 20 bytes of the id.
    let id = note + 16;
    if id + 8 > (&raw const __build_id_end).addr() {
        return 0;
    }
    // SAFETY: the linker script puts the note into .rodata between the two symbols, and 24 bytes of it were checked.
    let bytes = unsafe { core::ptr::with_exposed_provenance::<[u8; 8]>(id).read() };
    u64::from_be_bytes(bytes)
}

/// Returns the device tree blob at `address`, as long as its header says; `None` when there is none, which only a Pi may do.
///
/// Boot calls this once, before the final map is on and before any memory is handed out.
pub fn device_tree(address: u64) -> Option<&'static [u8]> {
    if address == 0 {
        return None;
    }
    let start = core::ptr::with_exposed_provenance::<u8>(native(address));
    // SAFETY: entry.S found the magic at this address, which the boot map covers as far as the header says.
    let header = unsafe { start.cast::<[u8; 8]>().read() };
    let [_, _, _, _, size @ ..] = header;
    let bytes = u32::from_be_bytes(size) as usize;
    // SAFETY: the loader wrote so many bytes, entry.S mapped them, and nobody writes there until boot has parsed them.
    Some(unsafe { slice::from_raw_parts(start, bytes) })
}

/// Returns the first bytes behind the image, where the packer puts the payload with its header.
///
/// Boot calls this once, before the final map is on; what stands there may be anything.
pub fn payload_header() -> [u8; 64] {
    let start = core::ptr::with_exposed_provenance::<[u8; 64]>(native(image().end));
    // SAFETY: the page behind the image is in the boot map (entry.S) and any bytes are a value of this type.
    unsafe { start.read() }
}

/// Takes the SError that waits for this core, if any, and returns whether there was one: left by the firmware, it would
/// otherwise be blamed on the first guest. Interrupts stay masked.
pub fn drain_serror() -> bool {
    // SAFETY: unmasks SErrors for one instruction; own_el.S returns from one taken there and touches no memory but the
    // core's own record.
    unsafe { arch_drain_serror() != 0 }
}

/// Maps `start..end` in the boot map as Normal memory, in blocks of 2 MiB; `None` if its tables are used up.
pub(super) fn map_boot(start: u64, end: u64) -> Option<()> {
    // SAFETY: the routine only adds identity blocks of Normal memory to the boot map, and boot asks for RAM alone.
    let failed = unsafe { arch_map_boot(start, end, el2::BLOCK_NORMAL) };
    (failed == 0).then_some(())
}

/// Runs the rest of boot on the final map whose root table is at `table`. `cpuactlr` is what `errata::cpuactlr` says: its
/// bits are set between the maps, as the cores' manuals ask for it before the MMU is on.
///
/// # Safety
///
/// The table maps, identically, all that the program uses from here on, with the permissions it needs.
pub(super) unsafe fn switch_map(table: u64, cpuactlr: u64) {
    // SAFETY: the caller's promise; the routine touches no memory while the MMU is off.
    unsafe { arch_switch_map(table, cpuactlr) };
}

/// Returns the physical address at which a started core enters.
pub(super) fn secondary_entry() -> u64 {
    (arch_secondary as *const ()).addr() as u64
}

/// Tells the cores that are released from a spin table where the `records` of all cores stand, and which bits of CPUACTLR_EL1 to set
/// before their MMU is on, as the booted one did.
pub(super) fn publish_records(records: u64, cpuactlr: u64) {
    // SAFETY: words of the image, defined in spin.S; the cores that read them do so once they are released.
    let words = unsafe { &arch_spin_records };
    let [of_records, of_cpuactlr] = words;
    of_records.store(records, Ordering::Relaxed);
    of_cpuactlr.store(cpuactlr, Ordering::Relaxed);
    maintenance::clean_to_poc(core::ptr::from_ref(words).addr(), size_of_val(words));
}

/// Returns the physical address at which core `index` enters when it is released from a spin table, behind [`publish_records`].
pub(super) fn spin_entry(index: usize) -> u64 {
    (arch_spin_entries as *const ()).addr() as u64 + index as u64 * 8
}

/// Returns this core's own record.
pub(super) fn core_base() -> &'static CoreBase {
    let base = core::ptr::with_exposed_provenance::<CoreBase>(native(TPIDR_EL2.get()));
    // SAFETY: entry.S set TPIDR_EL2 to this core's record before any Rust ran; records are never moved, and only the
    // owner's own_el.S writes to one, when nothing else runs on that core any more.
    unsafe { &*base }
}

/// Returns the frame pointer, the start of the chain of frame records.
#[inline(always)]
pub(super) fn frame_pointer() -> usize {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {0}, x29", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
