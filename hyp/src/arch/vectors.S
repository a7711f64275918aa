// EL2's exception vectors (VBAR_EL2, Arm ARM DDI 0487 "Exception vectors"). Entries from EL2 itself mean a bug: they
// switch to the core's emergency stack before anything touches SP. Entries from a lower level end in switch.S.

.macro own_el kind
    .balign 0x80
    mov     x17, #\kind
    b       arch_own_el_exception
.endm

.macro from_guest number
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    str     x18, [sp, #16]
    mov     x29, #\number
    b       arch_leave
.endm

.section .text.arch_vectors, "ax"
.global arch_vectors
.balign 0x800
arch_vectors:
    own_el  0                               // current EL with SP_EL0: never used at EL2
    own_el  1
    own_el  2
    own_el  3
    own_el  0                               // current EL with SP_ELx
    own_el  1
    own_el  2
    own_el  3
    .balign 0x80                            // lower EL, AArch64
    stp     x29, x30, [sp, #-SCRATCH]!
    str     x18, [sp, #16]
    b       arch_guest_sync
    .balign 0x80
    stp     x29, x30, [sp, #-SCRATCH]!
    str     x18, [sp, #16]
    b       arch_guest_irq
    from_guest 2
    from_guest 3
    from_guest 5                            // lower EL, AArch32: refused
    from_guest 5
    from_guest 5
    from_guest 5
    .balign 0x80
