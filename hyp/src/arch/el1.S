// The registers of EL1 that go with a vCPU, listed once: offsets are those of `El1` (el1.rs holds them by const asserts).

// In: x0, to which `at` is the distance of `El1`. Clobbers: x1, x2.
.macro el1_save at
    mrs     x1, sp_el0
    mrs     x2, sp_el1
    stp     x1, x2, [x0, #\at]
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    stp     x1, x2, [x0, #\at + 16]
    mrs     x1, esr_el1
    mrs     x2, far_el1
    stp     x1, x2, [x0, #\at + 32]
    mrs     x1, vbar_el1
    mrs     x2, tpidr_el0
    stp     x1, x2, [x0, #\at + 48]
    mrs     x1, tpidrro_el0
    mrs     x2, tpidr_el1
    stp     x1, x2, [x0, #\at + 64]
    mrs     x1, cpacr_el1
    mrs     x2, cntkctl_el1
    stp     x1, x2, [x0, #\at + 80]
    mrs     x1, par_el1
    mrs     x2, csselr_el1
    stp     x1, x2, [x0, #\at + 96]
.endm

// The same, and the ERET that follows makes the writes take effect.
.macro el1_load at
    ldp     x1, x2, [x0, #\at]
    msr     sp_el0, x1
    msr     sp_el1, x2
    ldp     x1, x2, [x0, #\at + 16]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x1, x2, [x0, #\at + 32]
    msr     esr_el1, x1
    msr     far_el1, x2
    ldp     x1, x2, [x0, #\at + 48]
    msr     vbar_el1, x1
    msr     tpidr_el0, x2
    ldp     x1, x2, [x0, #\at + 64]
    msr     tpidrro_el0, x1
    msr     tpidr_el1, x2
    ldp     x1, x2, [x0, #\at + 80]
    msr     cpacr_el1, x1
    msr     cntkctl_el1, x2
    ldp     x1, x2, [x0, #\at + 96]
    msr     par_el1, x1
    msr     csselr_el1, x2
    ldr     x1, [x0, #\at + 112]
    msr     vmpidr_el2, x1
    msr     cntv_ctl_el0, xzr               // what the last one left; a vCPU that uses it gets it back behind this
    msr     cntv_cval_el0, xzr
    ldr     w1, {has_ras}
    cbz     w1, 2f
    // Under HCR_EL2.AMO a guest's DISR_EL1 is VDISR_EL2, which cannot be trapped. No virtual SError ever is pending, so
    // that zero is what each vCPU has there.
    mrs     x1, id_aa64pfr0_el1
    tst     x1, #0xf0000000                 // RAS: the flag says that some core has it
    b.eq    2f
    msr     S3_4_C12_C1_1, xzr              // VDISR_EL2
2:
.endm

// In: x0 = &mut El1. Out: nothing. Clobbers: x1, x2.
.section .text.arch_el1, "ax"
.global arch_el1_save
.type arch_el1_save, %function
.balign 16
arch_el1_save:
    el1_save 0
    ret
.size arch_el1_save, . - arch_el1_save

// In: x0 = &El1. Out: nothing. Clobbers: x1, x2. The ERET that follows makes the writes take effect.
.global arch_el1_load
.type arch_el1_load, %function
.balign 16
arch_el1_load:
    el1_load 0
    ret
.size arch_el1_load, . - arch_el1_load
