// Routines that run instructions with every general register under the caller's control.

// In: x0 address of the code, x1 where x0 to x29 come from and go to. Runs the code, which returns by RET and keeps SP and x30.
.pushsection .text.arch_run, "ax"
.global arch_run
arch_run:
    stp     x29, x30, [sp, #-128]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    str     x1, [sp, #96]
    mov     x30, x0
    ldp     x2, x3, [x1, #16]
    ldp     x4, x5, [x1, #32]
    ldp     x6, x7, [x1, #48]
    ldp     x8, x9, [x1, #64]
    ldp     x10, x11, [x1, #80]
    ldp     x12, x13, [x1, #96]
    ldp     x14, x15, [x1, #112]
    ldp     x16, x17, [x1, #128]
    ldp     x18, x19, [x1, #144]
    ldp     x20, x21, [x1, #160]
    ldp     x22, x23, [x1, #176]
    ldp     x24, x25, [x1, #192]
    ldp     x26, x27, [x1, #208]
    ldp     x28, x29, [x1, #224]
    ldp     x0, x1, [x1]
    blr     x30                     // reads the target before it writes the link
    stp     x0, x1, [sp, #104]
    ldr     x0, [sp, #96]
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    ldp     x2, x3, [sp, #104]
    stp     x2, x3, [x0]
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     x29, x30, [sp], #128
    ret

// In: x0 count. Out: x0 zero; no other register changes. Made for arch_run.
.global arch_spin
arch_spin:
    subs    x0, x0, #1
    b.ne    arch_spin
    ret

// In: x0 a word in memory. Spins until the word is not zero; no other register changes but x1, which gets it.
.global arch_spin_on
arch_spin_on:
    ldar    x1, [x0]
    cbz     x1, arch_spin_on
    ret

// In: x0 values of the eight registers below and where they go to, x1 count to spin between. Clobbers x2 to x10.
.global arch_system_registers
arch_system_registers:
    mrs     x10, TPIDR_EL1          // the library keeps the vCPU's number there
    ldp     x2, x3, [x0]
    ldp     x4, x5, [x0, #16]
    ldp     x6, x7, [x0, #32]
    ldp     x8, x9, [x0, #48]
    msr     TPIDR_EL0, x2
    msr     TPIDRRO_EL0, x3
    msr     TPIDR_EL1, x4
    msr     CNTKCTL_EL1, x5
    msr     PAR_EL1, x6
    msr     CSSELR_EL1, x7
    msr     ELR_EL1, x8
    msr     SPSR_EL1, x9
1:  subs    x1, x1, #1
    b.ne    1b
    mrs     x2, TPIDR_EL0
    mrs     x3, TPIDRRO_EL0
    mrs     x4, TPIDR_EL1
    mrs     x5, CNTKCTL_EL1
    mrs     x6, PAR_EL1
    mrs     x7, CSSELR_EL1
    mrs     x8, ELR_EL1
    mrs     x9, SPSR_EL1
    msr     TPIDR_EL1, x10
    stp     x2, x3, [x0]
    stp     x4, x5, [x0, #16]
    stp     x6, x7, [x0, #32]
    stp     x8, x9, [x0, #48]
    ret

// `op` (LDP or STP of Q registers at [x0, #0]) for all of V0 to V31; written as words, because guests are built without FP.
.macro arch_all_vectors op
    .set    arch_pair, 0
.rept 16
    .inst   \op | (2 * arch_pair) << 15 | (2 * arch_pair + 1) << 10 | (2 * arch_pair)
    .set    arch_pair, arch_pair + 1
.endr
.endm

// In: x0 V0 to V31, where they come from and go to, x1 count to spin between. The caller's D8 to D15 are kept.
.global arch_vectors_spin
arch_vectors_spin:
    .inst   0x6dbc27e8              // stp d8, d9, [sp, #-64]!
    .inst   0x6d012fea              // stp d10, d11, [sp, #16]
    .inst   0x6d0237ec              // stp d12, d13, [sp, #32]
    .inst   0x6d033fee              // stp d14, d15, [sp, #48]
    arch_all_vectors 0xad400000
1:  subs    x1, x1, #1
    b.ne    1b
    arch_all_vectors 0xad000000
    .inst   0x6d412fea              // ldp d10, d11, [sp, #16]
    .inst   0x6d4237ec              // ldp d12, d13, [sp, #32]
    .inst   0x6d433fee              // ldp d14, d15, [sp, #48]
    .inst   0x6cc427e8              // ldp d8, d9, [sp], #64
    ret
.popsection
