//! Versions of the ABI and of its groups, and the identity that a guest finds it by.

/// Major and minor version of the whole ABI, `major << 16 | minor`, as INFO and the info page report it.
pub const ABI_VERSION: u32 = 1 << 16 | 2;

/// The UID that `0x8600_FF01` answers in w0-w3: a random version-4 UUID, chosen once
/// (`3ffebbd1-1a43-4169-873e-bf9f6fed3d8a`), first byte in the lowest byte of w0 (SMCCC, Arm DEN 0028).
pub const UID: [u32; 4] = [0xd1bb_fe3f, 0x6941_431a, 0x9fbf_3e87, 0x8a3d_ed6f];

/// Function id of the vendor-specific hypervisor service's UID query.
pub const FUNCTION_UID: u32 = 0x8600_ff01;
/// Function id of the vendor-specific hypervisor service's revision query: w0 major, w1 minor.
pub const FUNCTION_REVISION: u32 = 0x8600_ff03;
/// Function id of call 0 of group 0; the number of a call is added to it.
pub const FUNCTION_BASE: u32 = 0xc600_0000;
/// Bit 16 of a function id is a hint about SVE state (SMCCC 1.3) and is ignored.
pub const FUNCTION_SVE_HINT: u32 = 1 << 16;

/// Returns the major half of a version word.
#[must_use]
pub const fn major(version: u32) -> u32 {
    version >> 16
}

/// Returns the minor half of a version word.
#[must_use]
pub const fn minor(version: u32) -> u32 {
    version & 0xffff
}
