// World switch: arch_run enters a guest and returns why it came back. The vectors of lower exception levels are its
// second half: they run on the stack frame that arch_run left.
//
// Stack while a guest runs (SP_EL2):
//   sp + 0 .. 96    x19-x30 of arch_run's caller
//   sp + 96         table of handlers, sp + 104 minus what ESR_EL2 and w0 are at call number 0
//   sp + 112        context, sp + 120 .. 136 zeros
//   sp + 136        &mut Frame
// A vector pushes SCRATCH bytes more: x29, x30, x18. An abort pushes ABORT bytes more: x0 to x17, and where the guest goes on.

.equ RUN_SIZE, 144
.equ RUN_TABLE, 96
.equ RUN_CX, 112
.equ RUN_ZERO, 120
.equ RUN_FRAME, 136
.equ SCRATCH, 32
.equ ABORT, 160
.equ ABORT_PLACE, 144
.equ FRAME_PC, 248
.equ FRAME_USED, 264
.equ FRAME_EL1, 272

// ESR_EL2 of HVC #0 from AArch64 (ESR_ELx.EC = 0x16, IL = 1) above the function id of call 0.
.equ CALL_ZERO, 0x5a000000c6000000

// ERET, and nothing behind it: straight-line speculation must not go on with a guest's registers.
.macro to_guest
    eret
    dsb     nsh
    isb
.endm

// Pops what a vector pushed.
.macro pop_scratch
    ldr     x18, [sp, #16]
    ldp     x29, x30, [sp], #SCRATCH
.endm

// Zeros x4 to x17, two at a time: what carries no result leaves as zero.
.macro zero_rest
    ldp     x4, x5, [sp, #SCRATCH + RUN_ZERO]
    ldp     x6, x7, [sp, #SCRATCH + RUN_ZERO]
    ldp     x8, x9, [sp, #SCRATCH + RUN_ZERO]
    ldp     x10, x11, [sp, #SCRATCH + RUN_ZERO]
    ldp     x12, x13, [sp, #SCRATCH + RUN_ZERO]
    ldp     x14, x15, [sp, #SCRATCH + RUN_ZERO]
    ldp     x16, x17, [sp, #SCRATCH + RUN_ZERO]
.endm

// A synchronous exception of the guest. A call of groups 0 to 6 is answered here, everything else goes on at
// arch_guest_other. In: the guest's registers; x29 and x30 pushed.
.macro guest_sync
    str     x18, [sp, #16]
    ldp     x18, x29, [sp, #SCRATCH + RUN_TABLE]
    mrs     x30, esr_el2
    // Syndrome and function id are checked as one number: what is left is that of the call, or far above.
    add     x29, x29, x30, lsl #32
    add     x29, x29, w0, uxtw
    cmp     x29, #{fast_calls}
    b.hs    arch_guest_other
    guest_call
.endm

// In: x18 table, x29 number of the call, x1 to x6 arguments.
.macro guest_call
    and     x29, x29, #0xff                 // holds under misprediction too: the table has 256 entries
    ldr     x30, [x18, x29, lsl #3]
    ldp     x0, x29, [sp, #SCRATCH + RUN_CX] // x29 = 0: no backtrace of EL2 walks into the guest's frames
    blr     x30
    cbnz    x0, arch_answered
    ldp     x2, x3, [sp, #SCRATCH + RUN_ZERO]
    zero_rest
    pop_scratch
    to_guest
.endm

// In: x0 &mut Frame, x1 context, x2 table of handlers. Out: x0 the exit number, x1 the frame that left. Clobbers: what AAPCS64 allows.
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
    ldr     x3, =-CALL_ZERO
    stp     x2, x3, [sp, #RUN_TABLE]
    stp     x1, xzr, [sp, #RUN_CX]
    stp     xzr, x0, [sp, #RUN_FRAME - 8]
    b       arch_enter_same
// Enters the guest of the frame in x0, whose registers of EL1 are still to be loaded.
arch_enter_other:
    el1_load x0, FRAME_EL1
    str     x0, [sp, #RUN_FRAME]
// Enters the guest of the frame in x0, which is the one of before.
arch_enter_same:
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
    to_guest
    .ltorg
.size arch_run, . - arch_run

// The same behind the guard of a vector that has no room for it.
.balign 64
.type arch_guest_sync, %function
arch_guest_sync:
    guest_sync
.size arch_guest_sync, . - arch_guest_sync

// A call was answered otherwise than by success with one result. In: x0, x1 the answer.
.balign 64
.type arch_answered, %function
arch_answered:
    tbz     x0, #0, arch_leave_answered
    ldp     x2, x3, [x1, #16]
    ldp     x0, x1, [x1]
    zero_rest
    pop_scratch
    to_guest
.size arch_answered, . - arch_answered

// What is no plain call. In: as guest_sync; x18, x29, x30 saved at sp, x18 the table, x29 what the number came to, x30 the
// syndrome.
.balign 64
.type arch_guest_other, %function
arch_guest_other:
    ubfx    x30, x30, #26, #6
    and     x30, x30, #~4
    cmp     x30, #0x20                      // ESR_ELx.EC = 0x20 or 0x24: an abort from a lower level
    b.eq    arch_guest_abort
    sub     x29, x29, #0x10, lsl #12        // the SVE hint of the function id says nothing here
    cmp     x29, #{fast_calls}
    b.hs    arch_leave_sync
    guest_call
.size arch_guest_other, . - arch_guest_other

// An abort: its handler delivers it to the guest, has it tried again, or leaves it to the way out as it came.
// In: as guest_sync; x18, x29, x30 saved at sp, x18 the table.
.balign 64
.type arch_guest_abort, %function
arch_guest_abort:
    sub     sp, sp, #ABORT
    keep_scratch sp
    mrs     x1, esr_el2
    mrs     x2, far_el2
    mrs     x3, hpfar_el2
    mrs     x5, elr_el2
    mrs     x6, spsr_el2
    add     x4, sp, #ABORT_PLACE
    stp     x5, x6, [x4]
    ldr     x30, [x18, #{abort_handler}]
    ldp     x0, x29, [sp, #ABORT + SCRATCH + RUN_CX] // x29 = 0, as for a call
    blr     x30
    mov     w30, w0
    ldp     x1, x2, [sp, #ABORT_PLACE]
    msr     elr_el2, x1
    msr     spsr_el2, x2
    unkeep_scratch sp
    add     sp, sp, #ABORT
    cbnz    w30, arch_leave_sync            // ESR_EL2, FAR_EL2 and HPFAR_EL2 are as they were
    pop_scratch
    to_guest
.size arch_guest_abort, . - arch_guest_abort

// An interrupt: its handler serves what concerns this guest alone, or says that another one has the turn by now, which goes on
// as after a call that leaves; everything else leaves.
// In: the guest's registers; x29 and x30 pushed.
.balign 64
.type arch_guest_irq, %function
arch_guest_irq:
    str     x18, [sp, #16]
    mrs     x30, spsr_el2
    tbnz    x30, #4, arch_leave_irq         // from AArch32, which ends the guest
    ldr     x30, [sp, #SCRATCH + RUN_FRAME]
    keep_scratch x30                        // no handler reaches the frame, and whoever passes it on has it ready
    str     x30, [x30, #FRAME_USED]         // x4 to x17 are not zero, as this is not
    ldr     x30, [sp, #SCRATCH + RUN_TABLE]
    ldr     x30, [x30, #{irq_handler}]
    ldp     x0, x29, [sp, #SCRATCH + RUN_CX] // x29 = 0, as for a call
    blr     x30
    ldr     x30, [sp, #SCRATCH + RUN_FRAME]
    cbnz    w0, 1f
    unkeep_scratch x30
    pop_scratch
    to_guest
1:  mov     x1, x30
    tbz     w0, #1, 2f                      // Answer::Leave
    ldr     x4, [sp, #SCRATCH + RUN_TABLE]
    ldr     x4, [x4, #{pass_interrupted}]
    b       arch_scratch_is_kept
2:  mov     x0, #1                          // ExitKind::Irq
    b       arch_leave_kept
arch_leave_irq:
    mov     x29, #1                         // ExitKind::Irq
    b       arch_leave
.size arch_guest_irq, . - arch_guest_irq

// A call was answered with Leave. x19-x28 hold the guest's values again (AAPCS64), x0-x17 are dead and leave as zero. The
// frame is saved, those of EL1 with it while the lease is here, and the lease handed to the passer, who says which one goes on,
// or that this run is over. Registers of EL1 are loaded when that is another one. In: x0 where in the table of handlers the passer stands.
// At arch_scratch_is_kept x0 to x17 stand in the frame in x1, x18, x29 and x30 on the stack, and the passer is in x4.
.balign 64
.type arch_leave_answered, %function
arch_leave_answered:
    ldr     x4, [sp, #SCRATCH + RUN_TABLE]
    ldr     x4, [x4, x0]                    // no value of the guest's, under misprediction either
    ldr     x1, [sp, #SCRATCH + RUN_FRAME]
    ldr     x2, [x1, #FRAME_USED]
    stp     xzr, xzr, [x1, #0]
    stp     xzr, xzr, [x1, #16]
    cbnz    x2, arch_clear_scratch
arch_scratch_is_kept:
    pop_scratch
    keep_rest x1
    el1_save x1, FRAME_EL1
    ldp     x0, x29, [sp, #RUN_CX]          // x29 = 0: no backtrace of EL2 walks into the guest's frames
    blr     x4
    cbz     x1, arch_enter_other            // Leaves::Other
    tbnz    x1, #0, arch_enter_same         // Leaves::Same
    mov     x1, x0
    mov     x0, #{answered}                 // ExitKind::Answered
    b       arch_return
arch_clear_scratch:
    stp     xzr, xzr, [x1, #32]
    stp     xzr, xzr, [x1, #48]
    stp     xzr, xzr, [x1, #64]
    stp     xzr, xzr, [x1, #80]
    stp     xzr, xzr, [x1, #96]
    stp     xzr, xzr, [x1, #112]
    stp     xzr, xzr, [x1, #128]
    str     xzr, [x1, #FRAME_USED]
    b       arch_scratch_is_kept
.size arch_leave_answered, . - arch_leave_answered

// Saves everything and returns from arch_run. In: x18, x29, x30 on the stack; the exit number in x29.
.type arch_leave_sync, %function
arch_leave_sync:
    mov     x29, #0                         // ExitKind::Sync
arch_leave:
    ldr     x30, [sp, #SCRATCH + RUN_FRAME]
    keep_scratch x30
    str     x30, [x30, #FRAME_USED]         // x4 to x17 are not zero, as this is not
    mov     x1, x30
    mov     x0, x29
arch_leave_kept:
    pop_scratch
    keep_rest x1
// In: x0 exit number, x1 frame. The caller's registers stand on the stack.
arch_return:
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #RUN_SIZE
    ret
.size arch_leave_sync, . - arch_leave_sync
