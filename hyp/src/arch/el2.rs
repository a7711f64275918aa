//! EL2: the values of EL2's own registers, each written in full on every core by `entry.S`.
//!
//! Fields are named after the Arm ARM (DDI 0487). What guests run under (HCR_EL2, CPTR_EL2, VTCR_EL2) is written again
//! before a guest is entered; the values here are those of a core without one.

/// HCR_EL2 without a guest: EL1 is AArch64 (RW), physical interrupts and SErrors are EL2's (AMO, IMO, FMO).
pub const HCR: u64 = 1 << 31 | 1 << 5 | 1 << 4 | 1 << 3;

/// CPTR_EL2: traps FP (TFP, EL2 itself has none), SVE (TZ), SME (TSM), trace (TTA) and activity monitors (TAM); the rest
/// is RES1.
pub const CPTR: u64 = 0x33ff | 1 << 10 | 1 << 20 | 1 << 30;

/// MPAM2_EL2: partition 0, and a guest's accesses to MPAM0_EL1 and MPAM1_EL1 trap.
pub const MPAM2: u64 = 1 << 49 | 1 << 48;

/// MDCR_EL2 but for HPMN: traps debug (TDRA, TDOSA, TDA), the PMU (TPM, TPMCR), profiling (TPMS) and trace (TTRF).
pub const MDCR: u64 = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5 | 1 << 14 | 1 << 19;

/// MAIR_EL2: attribute 0 is Normal write-back, attribute 1 Device-nGnRnE, attribute 2 Normal non-cacheable.
pub const MAIR: u64 = 0x0044_00ff;

/// TCR_EL2 but for PS: 39-bit addresses (T0SZ 25, so a walk starts at level 1), 4 KiB granule, walks cacheable
/// write-back (IRGN0, ORGN0) and inner shareable (SH0); bits 31 and 23 are RES1.
pub const TCR: u64 = 1 << 31 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 25;

/// SCTLR_EL2 with MMU and caches off: RES1 bits only.
pub const SCTLR_OFF: u64 = 0x30c5_0830;

/// SCTLR_EL2 in the boot map: MMU (M), data (C) and instruction cache (I), stack alignment (SA).
pub const SCTLR_BOOT: u64 = SCTLR_OFF | 1 | 1 << 2 | 1 << 12 | 1 << 3;

/// SCTLR_EL2 from the final map on: nothing writable is executable (WXN).
pub const SCTLR_FINAL: u64 = SCTLR_BOOT | 1 << 19;

/// Level 2 block of the boot map: Normal memory, inner shareable, accessed.
pub const BLOCK_NORMAL: u64 = 1 << 10 | 0b11 << 8 | 1 << 6 | 0b01;

/// Level 2 block of the boot map: device (attribute 1), never executed.
pub const BLOCK_DEVICE: u64 = 1 << 54 | 1 << 10 | 1 << 6 | 1 << 2 | 0b01;
