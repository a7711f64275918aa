//! The system registers that a guest has: what cases TR02 and TR03 allow. Lists alone.

use crate::words::register;

/// Registers that may be read (`op0 op1 CRn CRm op2`); the space of identification registers comes in addition.
pub(crate) const READABLE: &[(u16, u16, u16, u16, u16)] = &[
    (3, 0, 0, 0, 0),   // MIDR_EL1
    (3, 0, 0, 0, 5),   // MPIDR_EL1
    (3, 0, 0, 0, 6),   // REVIDR_EL1
    (3, 1, 0, 0, 0),   // CCSIDR_EL1
    (3, 1, 0, 0, 1),   // CLIDR_EL1
    (3, 1, 0, 0, 7),   // AIDR_EL1
    (3, 2, 0, 0, 0),   // CSSELR_EL1
    (3, 3, 0, 0, 1),   // CTR_EL0
    (3, 3, 0, 0, 7),   // DCZID_EL0
    (3, 0, 1, 0, 0),   // SCTLR_EL1
    (3, 0, 1, 0, 1),   // ACTLR_EL1
    (3, 0, 1, 0, 2),   // CPACR_EL1
    (3, 0, 2, 0, 0),   // TTBR0_EL1
    (3, 0, 2, 0, 1),   // TTBR1_EL1
    (3, 0, 2, 0, 2),   // TCR_EL1
    (3, 0, 4, 0, 0),   // SPSR_EL1
    (3, 0, 4, 0, 1),   // ELR_EL1
    (3, 0, 4, 2, 0),   // SPSel
    (3, 0, 4, 2, 2),   // CurrentEL
    (3, 0, 5, 1, 0),   // AFSR0_EL1
    (3, 0, 5, 1, 1),   // AFSR1_EL1
    (3, 0, 5, 2, 0),   // ESR_EL1
    (3, 0, 6, 0, 0),   // FAR_EL1
    (3, 0, 7, 4, 0),   // PAR_EL1
    (3, 0, 10, 2, 0),  // MAIR_EL1
    (3, 0, 10, 3, 0),  // AMAIR_EL1
    (3, 0, 12, 0, 0),  // VBAR_EL1
    (3, 0, 12, 0, 1),  // RVBAR_EL1, where EL1 is the highest level
    (3, 0, 12, 1, 0),  // ISR_EL1
    (3, 0, 12, 12, 5), // ICC_SRE_EL1: constant where the interface has no other form, which EL2 cannot change
    (3, 0, 13, 0, 1),  // CONTEXTIDR_EL1
    (3, 0, 13, 0, 4),  // TPIDR_EL1
    (3, 0, 14, 1, 0),  // CNTKCTL_EL1
    (3, 3, 4, 2, 0),   // NZCV
    (3, 3, 4, 2, 1),   // DAIF
    (3, 3, 4, 4, 0),   // FPCR
    (3, 3, 4, 4, 1),   // FPSR
    (3, 3, 13, 0, 2),  // TPIDR_EL0
    (3, 3, 13, 0, 3),  // TPIDRRO_EL0
    (3, 3, 14, 0, 0),  // CNTFRQ_EL0
    (3, 3, 14, 0, 2),  // CNTVCT_EL0
    (3, 3, 14, 3, 0),  // CNTV_TVAL_EL0
    (3, 3, 14, 3, 1),  // CNTV_CTL_EL0
    (3, 3, 14, 3, 2),  // CNTV_CVAL_EL0
    // Of later architectures, where the core has them: PSTATE, and what no bit of EL2 traps.
    (3, 0, 4, 2, 3),  // PAN
    (3, 0, 4, 2, 4),  // UAO
    (3, 0, 4, 3, 0),  // ALLINT
    (3, 0, 12, 1, 1), // DISR_EL1: LK06
    (3, 1, 0, 0, 6),  // SMIDR_EL1
    (3, 3, 2, 4, 0),  // RNDR
    (3, 3, 2, 4, 1),  // RNDRRS
    (3, 3, 4, 2, 5),  // DIT
    (3, 3, 4, 2, 6),  // SSBS
    (3, 3, 4, 2, 7),  // TCO
    (3, 3, 14, 0, 6), // CNTVCTSS_EL0
];

/// Registers that may be read but not written, besides the identification registers.
pub(crate) const READ_ONLY: &[(u16, u16, u16, u16, u16)] = &[
    (3, 0, 1, 0, 0),
    (3, 0, 1, 0, 1),
    (3, 0, 2, 0, 0),
    (3, 0, 2, 0, 1),
    (3, 0, 2, 0, 2),
    (3, 0, 4, 2, 2),
    (3, 0, 5, 1, 0),
    (3, 0, 5, 1, 1),
    (3, 0, 5, 2, 0),
    (3, 0, 6, 0, 0),
    (3, 0, 10, 2, 0),
    (3, 0, 10, 3, 0),
    (3, 0, 12, 0, 1),
    (3, 0, 12, 1, 0),
    (3, 0, 13, 0, 1),
    (3, 3, 14, 0, 0),
    (3, 3, 14, 0, 2),
];

/// Registers of stage 1, and those that trap with them: a VM with an MMU of its own writes them.
pub(crate) const STAGE1: &[(u16, u16, u16, u16, u16)] = &[
    (3, 0, 1, 0, 0),  // SCTLR_EL1
    (3, 0, 2, 0, 0),  // TTBR0_EL1
    (3, 0, 2, 0, 1),  // TTBR1_EL1
    (3, 0, 2, 0, 2),  // TCR_EL1
    (3, 0, 5, 1, 0),  // AFSR0_EL1
    (3, 0, 5, 1, 1),  // AFSR1_EL1
    (3, 0, 5, 2, 0),  // ESR_EL1
    (3, 0, 6, 0, 0),  // FAR_EL1
    (3, 0, 10, 2, 0), // MAIR_EL1
    (3, 0, 10, 3, 0), // AMAIR_EL1
    (3, 0, 13, 0, 1), // CONTEXTIDR_EL1
];

/// Returns whether the list names the register.
pub(crate) fn is_in(list: &[(u16, u16, u16, u16, u16)], which: u16) -> bool {
    list.iter().any(|&(op0, op1, crn, crm, op2)| register(op0, op1, crn, crm, op2) == which)
}

/// ID_* registers: op0 3, op1 0, CRn 0.
pub(crate) const fn is_identification(which: u16) -> bool {
    which >> 7 == 3 << 7
}
