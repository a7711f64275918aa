// The vector table of a guest (Arm ARM, VBAR_EL1). The program runs at EL1t, so what it causes arrives in the first four
// entries, on SP_EL1. An exception inside a handler arrives in the next four and ends the VM without using a stack.

// Saves what a C function may change, and where to return. Layout: arch::Frame.
.macro arch_save
    sub     sp, sp, #192
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x30, [sp, #144]
    mrs     x0, ELR_EL1
    mrs     x1, SPSR_EL1
    stp     x0, x1, [sp, #160]
    stp     x29, xzr, [sp, #176]
    mov     x29, xzr            // a backtrace ends here
.endm

.macro arch_restore
    ldp     x0, x1, [sp, #160]
    msr     ELR_EL1, x0
    msr     SPSR_EL1, x1
    ldr     x29, [sp, #176]
    ldp     x18, x30, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp, #0]
    add     sp, sp, #192
    eret
.endm

// A handler on a target with FP may use all of V0-V31: kept on the stack as well, with FPCR and FPSR.
.macro arch_fp op
.if {fp}
    \op     q0, q1, [sp, #0]
    \op     q2, q3, [sp, #32]
    \op     q4, q5, [sp, #64]
    \op     q6, q7, [sp, #96]
    \op     q8, q9, [sp, #128]
    \op     q10, q11, [sp, #160]
    \op     q12, q13, [sp, #192]
    \op     q14, q15, [sp, #224]
    \op     q16, q17, [sp, #256]
    \op     q18, q19, [sp, #288]
    \op     q20, q21, [sp, #320]
    \op     q22, q23, [sp, #352]
    \op     q24, q25, [sp, #384]
    \op     q26, q27, [sp, #416]
    \op     q28, q29, [sp, #448]
    \op     q30, q31, [sp, #480]
.endif
.endm

.macro arch_save_fp
.if {fp}
    mrs     x9, FPCR
    mrs     x10, FPSR
    stp     x9, x10, [sp, #-16]!
    sub     sp, sp, #512
    arch_fp stp
.endif
.endm

.macro arch_restore_fp
.if {fp}
    arch_fp ldp
    add     sp, sp, #512
    ldp     x9, x10, [sp], #16
    msr     FPCR, x9
    msr     FPSR, x10
.endif
.endm

.pushsection .text.arch_vectors, "ax"
.balign 2048
.global arch_vectors
arch_vectors:
    b       arch_sync           // +0x000 current level, SP_EL0
.balign 128
    b       arch_line           // +0x080
.balign 128
    b       arch_nested         // +0x100 FIQ: nobody raises it
.balign 128
    b       arch_error          // +0x180
.rept 12                        // +0x200 in a handler, +0x400 from EL0, which nothing runs at
.balign 128
    b       arch_nested
.endr
.balign 128

// Synchronous: {sync}(frame, ESR, FAR) handles it and may change the frame, or does not return.
arch_sync:
    arch_save
    mov     x0, sp
    mrs     x1, ESR_EL1
    mrs     x2, FAR_EL1
    arch_save_fp
    bl      {sync}
    arch_restore_fp
    arch_restore

// The line: {line}() takes the events.
arch_line:
    arch_save
    arch_save_fp
    bl      {line}
    arch_restore_fp
    arch_restore

// SError: {error}(frame, ESR) reports it and does not return.
arch_error:
    arch_save
    mov     x0, sp
    mrs     x1, ESR_EL1
    bl      {error}

// CON.WRITE and CORE.PANIC without a stack, which may be what is broken.
arch_nested:
    adrp    x0, arch_nested_text
    add     x0, x0, :lo12:arch_nested_text
    ldp     x2, x3, [x0, #0]
    ldp     x4, x5, [x0, #16]
    ldp     x6, x7, [x0, #32]
    mov     x1, #arch_nested_text_end - arch_nested_text
    mov     w0, #{write_low}
    movk    w0, #{write_high}, lsl #16
    hvc     #0
    mrs     x2, ELR_EL1
    mrs     x3, ESR_EL1
    mrs     x4, FAR_EL1
    mov     x1, #{nested}
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    mov     w0, #{panic_low}
    movk    w0, #{panic_high}, lsl #16
    hvc     #0
    wfi
    b       arch_nested
.popsection

.pushsection .rodata.arch_nested_text, "a"
.balign 8
arch_nested_text:                   // six registers
    .ascii  "crash: an exception inside an exception handler\n"
arch_nested_text_end:
.popsection
