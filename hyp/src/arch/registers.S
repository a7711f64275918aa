// Registers that go with a vCPU, each listed once. Offsets are those of `Frame` and `El1` (frame.rs and el1.rs hold them by const
// asserts).

// x0 to x17 at a base, which an exception that is no call leaves as they are.
.macro keep_scratch base
    stp     x0, x1, [\base, #0]
    stp     x2, x3, [\base, #16]
    stp     x4, x5, [\base, #32]
    stp     x6, x7, [\base, #48]
    stp     x8, x9, [\base, #64]
    stp     x10, x11, [\base, #80]
    stp     x12, x13, [\base, #96]
    stp     x14, x15, [\base, #112]
    stp     x16, x17, [\base, #128]
.endm

.macro unkeep_scratch base
    ldp     x0, x1, [\base, #0]
    ldp     x2, x3, [\base, #16]
    ldp     x4, x5, [\base, #32]
    ldp     x6, x7, [\base, #48]
    ldp     x8, x9, [\base, #64]
    ldp     x10, x11, [\base, #80]
    ldp     x12, x13, [\base, #96]
    ldp     x14, x15, [\base, #112]
    ldp     x16, x17, [\base, #128]
.endm

// x18 to x30 and where the guest goes on, into the frame at a base. Clobbers: x2, x3.
.macro keep_rest base
    stp     x18, x19, [\base, #144]
    stp     x20, x21, [\base, #160]
    stp     x22, x23, [\base, #176]
    stp     x24, x25, [\base, #192]
    stp     x26, x27, [\base, #208]
    stp     x28, x29, [\base, #224]
    str     x30, [\base, #240]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x2, x3, [\base, #FRAME_PC]
.endm

// The registers of EL1. In: a base, to which `at` is the distance of `El1`. Clobbers: x2, x3.
.macro el1_save base, at
    mrs     x2, sp_el0
    mrs     x3, sp_el1
    stp     x2, x3, [\base, #\at]
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    stp     x2, x3, [\base, #\at + 16]
    mrs     x2, esr_el1
    mrs     x3, far_el1
    stp     x2, x3, [\base, #\at + 32]
    mrs     x2, vbar_el1
    mrs     x3, tpidr_el0
    stp     x2, x3, [\base, #\at + 48]
    mrs     x2, tpidrro_el0
    mrs     x3, tpidr_el1
    stp     x2, x3, [\base, #\at + 64]
    mrs     x2, cpacr_el1
    mrs     x3, cntkctl_el1
    stp     x2, x3, [\base, #\at + 80]
    mrs     x2, par_el1
    mrs     x3, csselr_el1
    stp     x2, x3, [\base, #\at + 96]
.endm

// The same, and the ERET that follows makes the writes take effect.
.macro el1_load base, at
    ldp     x2, x3, [\base, #\at]
    msr     sp_el0, x2
    msr     sp_el1, x3
    ldp     x2, x3, [\base, #\at + 16]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    ldp     x2, x3, [\base, #\at + 32]
    msr     esr_el1, x2
    msr     far_el1, x3
    ldp     x2, x3, [\base, #\at + 48]
    msr     vbar_el1, x2
    msr     tpidr_el0, x3
    ldp     x2, x3, [\base, #\at + 64]
    msr     tpidrro_el0, x2
    msr     tpidr_el1, x3
    ldp     x2, x3, [\base, #\at + 80]
    msr     cpacr_el1, x2
    msr     cntkctl_el1, x3
    ldp     x2, x3, [\base, #\at + 96]
    msr     par_el1, x2
    msr     csselr_el1, x3
    ldr     x2, [\base, #\at + 112]
    msr     vmpidr_el2, x2
    ldr     w2, {has_ras}
    cbz     w2, 2f
    // Under HCR_EL2.AMO a guest's DISR_EL1 is VDISR_EL2, which cannot be trapped. No virtual SError ever is pending, so
    // that zero is what each vCPU has there.
    mrs     x2, id_aa64pfr0_el1
    tst     x2, #0xf0000000                 // RAS: the flag says that some core has it
    b.eq    2f
    msr     S3_4_C12_C1_1, xzr              // VDISR_EL2
2:
.endm

// In: x0 = &mut El1. Out: nothing. Clobbers: x2, x3.
.section .text.arch_el1, "ax"
.global arch_el1_save
.type arch_el1_save, %function
.balign 16
arch_el1_save:
    el1_save x0, 0
    ret
.size arch_el1_save, . - arch_el1_save

// In: x0 = &El1. Out: nothing. Clobbers: x2, x3. The ERET that follows makes the writes take effect.
.global arch_el1_load
.type arch_el1_load, %function
.balign 16
arch_el1_load:
    el1_load x0, 0
    ret
.size arch_el1_load, . - arch_el1_load
