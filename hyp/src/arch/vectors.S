// EL2's exception vectors (VBAR_EL2, Arm ARM DDI 0487 "Exception vectors"), in two variants that differ in what comes from a
// guest: one is plain, the other guarded against branch history. Entries from EL2 itself mean a bug: they switch to the
// core's emergency stack before anything touches SP. Entries from a lower level end in switch.S.

// Branch history of the guest is out of the predictor before EL2's first indirect branch (Arm, "Spectre-BHB": a loop of as
// many taken branches as the core needs, see errata.rs, then DSB and ISB). Clobbers x30 and the
// flags.
.macro guard branches
    mov     x30, #\branches
1:  b       2f
2:  subs    x30, x30, #1
    b.ne    1b
    dsb     nsh
    isb
.endm

.macro own_el kind
    .balign 0x80
    mov     x17, #\kind
    b       arch_own_el_exception
.endm

.macro own_els
    own_el  0                               // current EL with SP_EL0: never used at EL2
    own_el  1
    own_el  2
    own_el  3
    own_el  0                               // current EL with SP_ELx
    own_el  1
    own_el  2
    own_el  3
.endm

.macro from_guest number, branches=0
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    .if \branches
    guard   \branches
    .endif
    str     x18, [sp, #16]
    mov     x29, #\number
    b       arch_leave
.endm

.macro from_aarch32 branches=0              // refused
    from_guest 5, \branches
    from_guest 5, \branches
    from_guest 5, \branches
    from_guest 5, \branches
    .balign 0x80
.endm

.macro guarded name, branches
.global \name
.balign 0x800
\name:
    own_els
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    guard   \branches
    b       arch_guest_sync
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    guard   \branches
    b       arch_guest_irq
    from_guest 2, \branches
    from_guest 3, \branches
    from_aarch32 \branches
.endm

.section .text.arch_vectors, "ax"
.global arch_vectors
.balign 0x800
arch_vectors:
    own_els
    .balign 0x80                            // lower EL, AArch64
    stp     x29, x30, [sp, #-SCRATCH]!
    guest_sync
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    b       arch_guest_irq
    from_guest 2
    from_guest 3
    from_aarch32

    guarded arch_vectors_guarded, {short_guard}
    guarded arch_vectors_guarded_long, {long_guard}
