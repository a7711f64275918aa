//! Arch: runs instructions of the cases' choice and reads what only assembly can. The only unsafe code of this guest.
//!
//! The cases make the machine misbehave, not this program: what they run touches no memory of the image, or ends the VM.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

#[cfg(target_os = "none")]
mod metal;
#[cfg(target_os = "none")]
pub(crate) use metal::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub(crate) use host::*;

/// x0 to x29.
pub(crate) type Registers = [u64; 30];
/// TPIDR_EL0, TPIDRRO_EL0, TPIDR_EL1, CNTKCTL_EL1, PAR_EL1, CSSELR_EL1, ELR_EL1, SPSR_EL1.
pub(crate) type SystemRegisters = [u64; 8];
/// V0 to V31, low half first.
pub(crate) type Vectors = [[u64; 2]; 32];

/// What a vCPU has at its first instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct First {
    /// x0 to x30.
    pub(crate) x: [u64; 31],
    /// SP_EL1, SP_EL0.
    pub(crate) sp: [u64; 2],
    /// NZCV, DAIF, CurrentEL, SPSel.
    pub(crate) pstate: [u64; 4],
    /// SCTLR_EL1, VBAR_EL1, CPACR_EL1, MPIDR_EL1.
    pub(crate) control: [u64; 4],
    /// ESR, FAR, ELR, SPSR, PAR, TPIDR_EL0, TPIDRRO_EL0, TPIDR_EL1, CNTKCTL, CNTV_CTL, CNTV_CVAL: all zero at the start.
    pub(crate) zeros: [u64; 11],
    /// V0 to V31, FPCR and FPSR.
    pub(crate) vectors: [u64; 66],
}

const _: () = assert!(size_of::<First>() == 944 && ::core::mem::offset_of!(First, vectors) == 416);
