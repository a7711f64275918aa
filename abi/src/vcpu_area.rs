//! The vCPU area: what the hypervisor says about each vCPU, read-only, kept by a sequence lock.

use ::core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes between the records of two vCPUs.
pub const VCPU_RECORD_STRIDE: u64 = 256;

/// The record of one vCPU. A reader takes it only when `sequence` was even and the same before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VcpuRecord {
    /// Odd while the hypervisor writes.
    pub sequence: u64,
    /// [`crate::vcpu::RunState`].
    pub run_state: u64,
    /// CNTVCT_EL0 when it entered that state.
    pub since: u64,
    /// Ticks spent running.
    pub running: u64,
    /// Ticks spent ready to run on a busy core: stolen time.
    pub runnable: u64,
    /// Ticks spent waiting.
    pub blocked: u64,
    /// Ticks spent off.
    pub off: u64,
    /// Wall clock in nanoseconds when CNTVCT_EL0 was `wall_counter`, or 0.
    pub wall_base: u64,
    /// CNTVCT_EL0 of `wall_base`.
    pub wall_counter: u64,
    /// Changes when the wall clock jumps.
    pub wall_epoch: u64,
    /// Deadline of the current WAIT, or all ones.
    pub deadline: u64,
    /// Exits by cause: calls that left, interrupts, faults, emulated instructions.
    pub exits: [u64; 4],
    /// Zero.
    pub reserved: [u64; 17],
}

const _: () = assert!(size_of::<VcpuRecord>() == 256 && offset_of!(VcpuRecord, deadline) == 80);
const _: () = assert!(offset_of!(VcpuRecord, exits) == 88);
