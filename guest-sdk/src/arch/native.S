// A process at EL0 and the way back. Offsets are those of `native::Registers`, held by const asserts in native.rs.

// Runs the process. In: x0 &mut Registers. Out: x0 why it stopped: 0 an exception, 1 the line, 2 anything else.
// The program's stack pointer, SP_EL0, is the process's meanwhile; it waits on the exception stack with x0.
.pushsection .text.arch_process, "ax"
.global arch_process_run
arch_process_run:
    stp     x29, x30, [sp, #-112]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    mrs     x9, DAIF
    str     x9, [sp, #96]
    msr     DAIFSet, #2                 // an upcall would change ELR_EL1 and SPSR_EL1
    mov     x10, sp
    msr     SPSel, #1
    stp     x10, x0, [sp, #-16]!
    adrp    x9, arch_process_vectors
    add     x9, x9, :lo12:arch_process_vectors
    msr     VBAR_EL1, x9
    ldp     x9, x10, [x0, #248]
    msr     SP_EL0, x9
    msr     ELR_EL1, x10
    ldr     x9, [x0, #264]
    msr     SPSR_EL1, x9
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret                                // the new vectors are in force with it
    dsb     nsh                         // nothing runs on past it, not even by speculation
    isb

.macro arch_from_process why
.balign 128
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\why
    b       arch_process_exit
.endm

// While a process runs. What the program itself does wrong meanwhile goes where it always goes.
.balign 2048
arch_process_vectors:
.set arch_entry_offset, 0
.rept 8
.balign 128
    b       arch_vectors + arch_entry_offset
    .set    arch_entry_offset, arch_entry_offset + 128
.endr
    arch_from_process 0
    arch_from_process 1
    arch_from_process 2
    arch_from_process 2
    arch_from_process 2                 // AArch32, which no process is entered in
    arch_from_process 2
    arch_from_process 2
    arch_from_process 2
.balign 128

// In: x1 why, on the stack x0, x1, the program's SP, &mut Registers. Returns from arch_process_run.
arch_process_exit:
    ldr     x0, [sp, #24]
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
    str     x30, [x0, #240]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0]
    mrs     x2, SP_EL0
    mrs     x3, ELR_EL1
    stp     x2, x3, [x0, #248]
    mrs     x2, SPSR_EL1
    mrs     x3, ESR_EL1
    stp     x2, x3, [x0, #264]
    mrs     x2, FAR_EL1
    str     x2, [x0, #280]
    mov     x0, x1
    ldr     x10, [sp], #16
    adrp    x9, arch_vectors
    add     x9, x9, :lo12:arch_vectors
    msr     VBAR_EL1, x9
    msr     SPSel, #0
    mov     sp, x10
    isb                                 // the program's vectors are in force before the line is let in
    ldr     x9, [sp, #96]
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     x29, x30, [sp], #112
    msr     DAIF, x9
    ret
.popsection
