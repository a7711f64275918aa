// World switch: arch_run enters a guest and returns why it came back. The vectors of lower exception levels are its
// second half: they run on the stack frame that arch_run left.
//
// Stack while a guest runs (SP_EL2):
//   sp + 0 .. 96    x19-x30 of arch_run's caller
//   sp + 96         &mut Frame, sp + 104 (unused)
//   sp + 112        context, sp + 120 table of handlers
// A vector pushes SCRATCH bytes more: x29, x30, x18, and the results of a call. An abort pushes ABORT bytes more: x0 to x17,
// and where the guest goes on.

.equ RUN_SIZE, 128
.equ RUN_FRAME, 96
.equ RUN_CX, 112
.equ SCRATCH, 64
.equ RESULTS, 32
.equ ABORT, 160
.equ ABORT_PLACE, 144
.equ FRAME_PC, 248

// In: x0 &mut Frame, x1 context, x2 table of handlers. Out: x0 the exit number. Clobbers: what AAPCS64 allows.
.section .text.arch_run, "ax"
.global arch_run
.type arch_run, %function
.balign 64
arch_run:
    sub     sp, sp, #RUN_SIZE
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #RUN_FRAME]
    stp     x1, x2, [sp, #RUN_CX]
    ldp     x1, x2, [x0, #FRAME_PC]
    msr     elr_el2, x1
    msr     spsr_el2, x2
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
    ldp     x0, x1, [x0, #0]
    eret
    // Straight-line speculation past ERET must not go on with a guest's registers.
    dsb     nsh
    isb
.size arch_run, . - arch_run

// A synchronous exception of the guest. A call of groups 0 to 6 is answered here, an abort below; everything else leaves.
// In: the guest's registers; x18, x29, x30 saved at sp by the vector.
.balign 64
.type arch_guest_sync, %function
arch_guest_sync:
    mrs     x30, esr_el2
    mov     w29, #0x5a000000                // ESR_ELx.EC = 0x16 (HVC from AArch64), IL = 1, immediate 0
    cmp     x30, x29
    b.ne    arch_guest_abort
    and     w29, w0, #0xfffeffff            // the SVE hint of the function id says nothing here
    mov     w30, #0xc6000000
    sub     w29, w29, w30
    cmp     w29, #{fast_calls}
    b.hs    arch_leave_sync
    and     w29, w29, #0xff                 // holds under misprediction too: the table has 256 entries
    ldp     x0, x30, [sp, #SCRATCH + RUN_CX]
    ldr     x30, [x30, x29, lsl #3]
    mov     x29, xzr                        // no backtrace of EL2 walks into the guest's frames
    add     x7, sp, #RESULTS
    blr     x30
    cbnz    w0, arch_leave_answered
    ldp     x0, x1, [sp, #RESULTS]
    ldp     x2, x3, [sp, #RESULTS + 16]
    mov     x4, xzr                         // what carries no result leaves as zero
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    mov     x8, xzr
    mov     x9, xzr
    mov     x10, xzr
    mov     x11, xzr
    mov     x12, xzr
    mov     x13, xzr
    mov     x14, xzr
    mov     x15, xzr
    mov     x16, xzr
    mov     x17, xzr
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #SCRATCH
    eret
    dsb     nsh
    isb
.size arch_guest_sync, . - arch_guest_sync

// An abort: its handler delivers it to the guest, has it tried again, or leaves it to the way out as it came.
// In: as arch_guest_sync, x30 the syndrome.
.balign 64
.type arch_guest_abort, %function
arch_guest_abort:
    ubfx    x30, x30, #26, #6
    and     x30, x30, #~4
    cmp     x30, #0x20                      // ESR_ELx.EC = 0x20 or 0x24: an abort from a lower level
    b.ne    arch_leave_sync
    sub     sp, sp, #ABORT
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    mrs     x1, esr_el2
    mrs     x2, far_el2
    mrs     x3, hpfar_el2
    mrs     x5, elr_el2
    mrs     x6, spsr_el2
    add     x4, sp, #ABORT_PLACE
    stp     x5, x6, [x4]
    ldp     x0, x30, [sp, #ABORT + SCRATCH + RUN_CX]
    ldr     x30, [x30, #{abort_handler}]
    mov     x29, xzr                        // no backtrace of EL2 walks into the guest's frames
    blr     x30
    mov     w30, w0
    ldp     x1, x2, [sp, #ABORT_PLACE]
    msr     elr_el2, x1
    msr     spsr_el2, x2
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    add     sp, sp, #ABORT
    cbnz    w30, arch_leave_sync            // ESR_EL2, FAR_EL2 and HPFAR_EL2 are as they were
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #SCRATCH
    eret
    dsb     nsh
    isb
.size arch_guest_abort, . - arch_guest_abort

// An interrupt: its handler serves what concerns this guest alone; everything else leaves.
// In: as arch_guest_sync.
.balign 64
.type arch_guest_irq, %function
arch_guest_irq:
    mrs     x30, spsr_el2
    tbnz    x30, #4, arch_leave_irq         // from AArch32, which ends the guest
    sub     sp, sp, #ABORT
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    ldp     x0, x30, [sp, #ABORT + SCRATCH + RUN_CX]
    ldr     x30, [x30, #{irq_handler}]
    mov     x29, xzr                        // no backtrace of EL2 walks into the guest's frames
    blr     x30
    mov     w30, w0
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    add     sp, sp, #ABORT
    cbnz    w30, arch_leave_irq
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #SCRATCH
    eret
    dsb     nsh
    isb
arch_leave_irq:
    mov     x29, #1                         // ExitKind::Irq
    b       arch_leave
.size arch_guest_irq, . - arch_guest_irq

// A call was answered with Leave. x19-x28 hold the guest's values again (AAPCS64), x0-x17 are dead and leave as zero.
.balign 64
.type arch_leave_answered, %function
arch_leave_answered:
    ldr     x0, [sp, #SCRATCH + RUN_FRAME]
    stp     xzr, xzr, [x0, #0]
    stp     xzr, xzr, [x0, #16]
    stp     xzr, xzr, [x0, #32]
    stp     xzr, xzr, [x0, #48]
    stp     xzr, xzr, [x0, #64]
    stp     xzr, xzr, [x0, #80]
    stp     xzr, xzr, [x0, #96]
    stp     xzr, xzr, [x0, #112]
    stp     xzr, xzr, [x0, #128]
    mov     x1, #{answered}                 // ExitKind::Answered
    b       arch_leave_rest
.size arch_leave_answered, . - arch_leave_answered

// Saves everything and returns from arch_run. In: x18, x29, x30 on the stack; the exit number in x29.
.type arch_leave_sync, %function
arch_leave_sync:
    mov     x29, #0                         // ExitKind::Sync
arch_leave:
    ldr     x30, [sp, #SCRATCH + RUN_FRAME]
    stp     x0, x1, [x30, #0]
    stp     x2, x3, [x30, #16]
    stp     x4, x5, [x30, #32]
    stp     x6, x7, [x30, #48]
    stp     x8, x9, [x30, #64]
    stp     x10, x11, [x30, #80]
    stp     x12, x13, [x30, #96]
    stp     x14, x15, [x30, #112]
    stp     x16, x17, [x30, #128]
    mov     x0, x30
    mov     x1, x29
// In: x0 frame, x1 exit number; x19-x28 the guest's; x18, x29, x30 on the stack.
arch_leave_rest:
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #SCRATCH
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x2, x3, [x0, #FRAME_PC]
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #RUN_SIZE
    mov     x0, x1
    ret
.size arch_leave_sync, . - arch_leave_sync
