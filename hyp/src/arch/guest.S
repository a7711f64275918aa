// A vCPU's registers besides its frame. Offsets are those of `Stage1` and `FpState` (el1.rs holds them by const asserts).

// In: x0 = &mut Stage1. Clobbers: x1, x2.
.section .text.arch_stage1, "ax"
.global arch_stage1_save
.type arch_stage1_save, %function
.balign 16
arch_stage1_save:
    mrs     x1, ttbr0_el1
    mrs     x2, ttbr1_el1
    stp     x1, x2, [x0, #0]
    mrs     x1, mair_el1
    mrs     x2, amair_el1
    stp     x1, x2, [x0, #16]
    mrs     x1, contextidr_el1
    mrs     x2, afsr0_el1
    stp     x1, x2, [x0, #32]
    mrs     x1, afsr1_el1
    mrs     x2, tcr_el1
    stp     x1, x2, [x0, #48]
    mrs     x1, sctlr_el1
    str     x1, [x0, #64]
    ret
.size arch_stage1_save, . - arch_stage1_save

// Everything but TCR_EL1 and SCTLR_EL1, whose turn comes last. In: x0 = &Stage1. Clobbers: x1, x2.
.global arch_stage1_load
.type arch_stage1_load, %function
.balign 16
arch_stage1_load:
    ldp     x1, x2, [x0, #0]
    msr     ttbr0_el1, x1
    msr     ttbr1_el1, x2
    ldp     x1, x2, [x0, #16]
    msr     mair_el1, x1
    msr     amair_el1, x2
    ldp     x1, x2, [x0, #32]
    msr     contextidr_el1, x1
    msr     afsr0_el1, x2
    ldr     x1, [x0, #48]
    msr     afsr1_el1, x1
    ret
.size arch_stage1_load, . - arch_stage1_load

// The only FP instructions at EL2: they move a vCPU's registers while CPTR_EL2.TFP is clear.
.arch_extension fp
.arch_extension simd

// In: x0 = &mut FpState. Clobbers: x1, x2.
.section .text.arch_fp, "ax"
.global arch_fp_save
.type arch_fp_save, %function
.balign 16
arch_fp_save:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    mrs     x1, fpcr
    mrs     x2, fpsr
    add     x0, x0, #512
    stp     x1, x2, [x0]
    ret
.size arch_fp_save, . - arch_fp_save

// In: x0 = &FpState. Clobbers: x1, x2, and every FP register on purpose.
.global arch_fp_load
.type arch_fp_load, %function
.balign 16
arch_fp_load:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    add     x0, x0, #512
    ldp     x1, x2, [x0]
    msr     fpcr, x1
    msr     fpsr, x2
    ret
.size arch_fp_load, . - arch_fp_load
.arch_extension nosimd
.arch_extension nofp
