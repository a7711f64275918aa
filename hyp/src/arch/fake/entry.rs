//! Entry on a PC: there is no image, no device tree and no map to switch; boot refuses such a machine.

use std::cell::Cell;

use crate::arch::core_base::CoreBase;
use crate::arch::layout::Image;
use crate::arch::region::Region;

static CORE: CoreBase = CoreBase {
    index: 0,
    emergency_top: 0,
    emergency_bottom: 0,
    stack_top: 0,
    stack_bottom: 0,
    table: 0,
    in_emergency: 0,
    draining: 0,
};

/// Returns an empty image.
pub fn image() -> Image {
    let none = Region { start: 0, end: 0 };
    Image { start: 0, text_end: 0, rodata_end: 0, data_end: 0, emergency: none, stack: none, end: 0 }
}

impl Image {
    /// Returns an image at `start`: code, constants and data, and two stacks with a guard page below each, as the linker script has them.
    #[must_use]
    pub fn simulated(start: u64) -> Self {
        Self {
            start,
            text_end: start + 0x1_0000,
            rodata_end: start + 0x1_8000,
            data_end: start + 0x2_0000,
            emergency: Region::new(start + 0x2_1000, 0x1000),
            stack: Region::new(start + 0x2_3000, 0x4000),
            end: start + 0x2_7000,
        }
    }
}

/// Returns 0.
pub fn build_id() -> u64 {
    0
}

/// Returns `None`.
pub fn device_tree(_address: u64) -> Option<&'static [u8]> {
    None
}

/// Returns zeros.
pub fn payload_header() -> [u8; 64] {
    [0; 64]
}

std::thread_local! {
    static SERROR: Cell<bool> = const { Cell::new(false) };
}

/// Makes an SError wait for this core.
pub fn raise_serror() {
    SERROR.set(true);
}

/// Takes the SError that waits for this core, and returns whether there was one.
pub fn drain_serror() -> bool {
    SERROR.take()
}

/// Returns `None`: nothing is in reach.
pub(in crate::arch) fn map_boot(_start: u64, _end: u64) -> Option<()> {
    None
}

/// Does nothing on a PC.
///
/// # Safety
/// None is asked for.
pub(in crate::arch) unsafe fn switch_map(_table: u64, _cpuactlr: u64) {}

/// Does nothing on a PC: no core is released from a spin table.
pub(in crate::arch) fn publish_records(_records: u64, _cpuactlr: u64) {}

/// Returns the record of the one core.
pub(in crate::arch) fn core_base() -> &'static CoreBase {
    &CORE
}

/// Returns 0: there is nothing to walk.
pub(in crate::arch) fn frame_pointer() -> usize {
    0
}
