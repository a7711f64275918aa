// Where a vCPU of case LK01 enters. In: x0 an arch::First. Out: its fields; then the vCPU turns itself off. Uses no stack.
.pushsection .text.arch_first, "ax"
.global arch_first
arch_first:
    str     x0, [x0]
    stp     x1, x2, [x0, #8]
    stp     x3, x4, [x0, #24]
    stp     x5, x6, [x0, #40]
    stp     x7, x8, [x0, #56]
    stp     x9, x10, [x0, #72]
    stp     x11, x12, [x0, #88]
    stp     x13, x14, [x0, #104]
    stp     x15, x16, [x0, #120]
    stp     x17, x18, [x0, #136]
    stp     x19, x20, [x0, #152]
    stp     x21, x22, [x0, #168]
    stp     x23, x24, [x0, #184]
    stp     x25, x26, [x0, #200]
    stp     x27, x28, [x0, #216]
    stp     x29, x30, [x0, #232]
    mov     x1, sp
    mrs     x2, SP_EL0
    stp     x1, x2, [x0, #248]
    mrs     x1, NZCV
    mrs     x2, DAIF
    stp     x1, x2, [x0, #264]
    mrs     x1, CurrentEL
    mrs     x2, SPSel
    stp     x1, x2, [x0, #280]
    mrs     x1, SCTLR_EL1
    mrs     x2, VBAR_EL1
    stp     x1, x2, [x0, #296]
    mrs     x1, CPACR_EL1
    mrs     x2, MPIDR_EL1
    stp     x1, x2, [x0, #312]
    mrs     x1, ESR_EL1
    mrs     x2, FAR_EL1
    stp     x1, x2, [x0, #328]
    mrs     x1, ELR_EL1
    mrs     x2, SPSR_EL1
    stp     x1, x2, [x0, #344]
    mrs     x1, PAR_EL1
    mrs     x2, TPIDR_EL0
    stp     x1, x2, [x0, #360]
    mrs     x1, TPIDRRO_EL0
    mrs     x2, TPIDR_EL1
    stp     x1, x2, [x0, #376]
    mrs     x1, CNTKCTL_EL1
    mrs     x2, CNTV_CTL_EL0
    stp     x1, x2, [x0, #392]
    mrs     x1, CNTV_CVAL_EL0
    str     x1, [x0, #408]
    ldr     x1, [x0, #312]
    tbz     x1, #20, 1f             // CPACR_EL1.FPEN: no FP, so no FP registers to look at
    mov     x2, x0
    add     x0, x0, #416
    arch_all_vectors 0xad000000
    mrs     x3, S3_3_C4_C4_0        // FPCR
    mrs     x4, S3_3_C4_C4_1        // FPSR
    add     x0, x0, #512
    stp     x3, x4, [x0]
    mov     x0, x2
1:  movz    w0, #{stop_low}
    movk    w0, #{stop_high}, lsl #16
    mov     x1, xzr
    hvc     #0
2:  wfi
    b       2b
.popsection
