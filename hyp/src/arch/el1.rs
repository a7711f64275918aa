//! EL1 state: what a vCPU has besides its frame, as plain data. `guest.rs` moves it to and from the registers.

use core::mem::offset_of;

/// The registers of EL1 and EL0 that are always a vCPU's own; saved and loaded at a vCPU switch.
///
/// The translation registers are not among them: see [`Stage1`]. CNTV_*, which cannot be trapped, are off and zero for a vCPU that has
/// not asked for them (`arch_el1_load`), and go with one that has: see `vcpu::Local`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct El1 {
    /// SP_EL0.
    pub sp_el0: u64,
    /// SP_EL1.
    pub sp_el1: u64,
    /// ELR_EL1.
    pub elr: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    /// VBAR_EL1.
    pub vbar: u64,
    /// TPIDR_EL0.
    pub tpidr_el0: u64,
    /// TPIDRRO_EL0.
    pub tpidrro_el0: u64,
    /// TPIDR_EL1.
    pub tpidr_el1: u64,
    /// CPACR_EL1.
    pub cpacr: u64,
    /// CNTKCTL_EL1.
    pub cntkctl: u64,
    /// PAR_EL1.
    pub par: u64,
    /// CSSELR_EL1.
    pub csselr: u64,
    /// What the guest reads as MPIDR_EL1 (VMPIDR_EL2): loaded, never saved.
    pub mpidr: u64,
}

impl El1 {
    /// What a vCPU starts with.
    pub const RESET: Self = Self {
        sp_el0: 0,
        sp_el1: 0,
        elr: 0,
        spsr: 0,
        esr: 0,
        far: 0,
        vbar: 0,
        tpidr_el0: 0,
        tpidrro_el0: 0,
        tpidr_el1: 0,
        cpacr: 0,
        cntkctl: 0,
        par: 0,
        csselr: 0,
        mpidr: Self::mpidr_of(0),
    };

    /// Returns MPIDR_EL1 as vCPU `number` of a VM reads it.
    #[must_use]
    pub const fn mpidr_of(number: u8) -> u64 {
        1 << 31 | number as u64
    }
}

/// The registers of EL1's own translation. They hold the constants of [`Stage1::RESET`] while a guest with `mmu = "strato"`
/// runs, which HCR_EL2.TVM keeps from writing them; a guest with `mmu = "native"` has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Stage1 {
    /// TTBR0_EL1.
    pub ttbr0: u64,
    /// TTBR1_EL1.
    pub ttbr1: u64,
    /// MAIR_EL1.
    pub mair: u64,
    /// AMAIR_EL1.
    pub amair: u64,
    /// CONTEXTIDR_EL1.
    pub contextidr: u64,
    /// AFSR0_EL1.
    pub afsr0: u64,
    /// AFSR1_EL1.
    pub afsr1: u64,
    /// TCR_EL1.
    pub tcr: u64,
    /// SCTLR_EL1.
    pub sctlr: u64,
}

impl Stage1 {
    /// What a vCPU starts with: stage 1 off, little-endian, alignment of SP checked, EL0 may use DC ZVA, CTR_EL0, WFI, WFE and
    /// cache maintenance by address. 0x30d0_0800 are the bits that are one on Armv8.0.
    pub const RESET: Self = Self {
        ttbr0: 0,
        ttbr1: 0,
        mair: 0,
        amair: 0,
        contextidr: 0,
        afsr0: 0,
        afsr1: 0,
        tcr: 0,
        sctlr: 0x30d0_0800 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26,
    };
}

/// FP and SIMD registers of a vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct FpState {
    /// V0 to V31, low half first.
    pub v: [[u64; 2]; 32],
    /// FPCR.
    pub fpcr: u64,
    /// FPSR.
    pub fpsr: u64,
}

impl FpState {
    /// What a vCPU starts with.
    pub const RESET: Self = Self { v: [[0; 2]; 32], fpcr: 0, fpsr: 0 };
}

/// PSTATE of a vCPU that starts: EL1h, everything masked.
pub const PSTATE_START: u64 = 0x3c5;

const _: () = assert!(size_of::<El1>() == 120 && offset_of!(El1, vbar) == 48 && offset_of!(El1, mpidr) == 112);
const _: () = assert!(size_of::<Stage1>() == 72 && offset_of!(Stage1, afsr1) == 48 && offset_of!(Stage1, sctlr) == 64);
const _: () = assert!(size_of::<FpState>() == 528 && offset_of!(FpState, fpcr) == 512);
