// Own EL: exceptions that EL2 takes from itself. None is expected (interrupts are masked, every access is mapped), so
// each one ends in a panic. The vector slot puts the kind (0 synchronous, 1 IRQ, 2 FIQ, 3 SError) into x17 and branches
// here; the stack pointer may be the culprit, so the emergency stack of this core is taken before anything is stored.
//
// In: x17 = kind. Clobbers everything, returns never.

    .section .text.arch_own_el, "ax"
    .global arch_own_el_exception
arch_own_el_exception:
    mrs     x16, tpidr_el2
    cbz     x16, 2f
    cmp     x17, #3
    b.ne    1f
    ldr     x0, [x16, #{CORE_DRAINING}]         // an SError that arch_drain_serror asked for: note it and go on
    cbz     x0, 1f
    str     xzr, [x16, #{CORE_DRAINING}]
    eret
    dsb     nsh                                 // no speculation past ERET
    isb
1:  ldr     x0, [x16, #{CORE_IN_EMERGENCY}]     // an exception in the report of an exception: stop this core in silence
    cbnz    x0, 2f
    mov     x0, #1
    str     x0, [x16, #{CORE_IN_EMERGENCY}]
    mov     x1, sp
    ldr     x0, [x16, #{CORE_EMERGENCY_TOP}]
    mov     sp, x0
    mrs     x2, elr_el2
    stp     x29, x2, [sp, #-16]!                // a frame record, so that the backtrace walks on into what was interrupted
    mov     x29, sp
    mov     x0, x17
    bl      arch_own_el_report
2:  wfi
    b       2b

// Takes an SError that is pending, if any. Out: x0 = 1 if there was one. Clobbers x1, x2, x16, x17, ELR_EL2 and SPSR_EL2.
    .global arch_drain_serror
arch_drain_serror:
    mrs     x1, tpidr_el2
    mov     x2, #1
    str     x2, [x1, #{CORE_DRAINING}]
    dsb     sy                                  // accesses so far have caused theirs
    msr     daifclr, #4
    isb                                         // taken here
    msr     daifset, #4
    isb
    ldr     x0, [x1, #{CORE_DRAINING}]
    str     xzr, [x1, #{CORE_DRAINING}]
    eor     x0, x0, #1
    ret
