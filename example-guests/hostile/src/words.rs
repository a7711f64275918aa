//! Instruction words: encodings of the A64 instructions that cases try (Arm ARM DDI 0487, C6). Pure.

/// RET.
pub(crate) const RET: u32 = 0xd65f_03c0;
/// ERET.
pub(crate) const ERET: u32 = 0xd69f_03e0;
/// WFI.
pub(crate) const WFI: u32 = 0xd503_207f;
/// MOV x0, #0.
pub(crate) const ZERO_X0: u32 = 0xd280_0000;
/// LDR x0, [x0].
pub(crate) const LOAD_X0: u32 = 0xf940_0000;
/// FMOV d0, x0.
pub(crate) const FMOV_D0_X0: u32 = 0x9e67_0000;

/// Returns HVC with an immediate.
pub(crate) const fn hvc(immediate: u16) -> u32 {
    0xd400_0002 | (immediate as u32) << 5
}

/// Returns SMC with an immediate.
pub(crate) const fn smc(immediate: u16) -> u32 {
    0xd400_0003 | (immediate as u32) << 5
}

/// Returns the number of a system register or instruction: `op0[15:14] op1[13:11] CRn[10:7] CRm[6:3] op2[2:0]`.
pub(crate) const fn register(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// Returns MRS x0, register (SYSL for op0 = 1).
pub(crate) const fn mrs(register: u16) -> u32 {
    0xd520_0000 | (register as u32) << 5
}

/// Returns MSR register, x0 (SYS for op0 = 1).
pub(crate) const fn msr(register: u16) -> u32 {
    0xd500_0000 | (register as u32) << 5
}

/// Returns two words as they stand in memory.
pub(crate) const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}
