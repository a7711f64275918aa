// Two sets of vectors. Each entry but the line's is the library's own: the first notes when the line is taken, and goes on in the
// library's; the second takes the event by itself, in no more than that needs.

.macro arch_pass offset
    .balign 128
    b       arch_vectors + \offset
.endm

.pushsection .text.arch_line_vectors, "ax"
.balign 2048
.global arch_line_vectors
arch_line_vectors:
    arch_pass 0x000
    .balign 128
    stp     x0, x1, [sp, #-16]!         // one instruction before the counter is read
    mrs     x0, CNTVCT_EL0
    adrp    x1, {taken}
    str     x0, [x1, :lo12:{taken}]
    ldp     x0, x1, [sp], #16
    b       arch_vectors + 0x080
    .irp offset, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x480, 0x500, 0x580, 0x600, 0x680, 0x700, 0x780
    arch_pass \offset
    .endr
    .balign 2048
.global arch_upcall_vectors
arch_upcall_vectors:
    arch_pass 0x000
    .balign 128
    b       arch_upcall
    .irp offset, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x480, 0x500, 0x580, 0x600, 0x680, 0x700, 0x780
    arch_pass \offset
    .endr
    .balign 128

// EVT.ACK, and the word that its selector names first. A call leaves x18 to x30 as they are.
.balign 64
arch_upcall:
    stp     x0, x1, [sp, #-144]!
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    mov     w0, #({ack} & 0xffff)
    movk    w0, #({ack} >> 16), lsl #16
    hvc     #0
    mov     w2, #({area} & 0xffff)
    movk    w2, #({area} >> 16), lsl #16
    rbit    x1, x1
    clz     x1, x1
    add     x2, x2, x1, lsl #3
1:  ldxr    x3, [x2]
    stxr    w4, xzr, [x2]
    cbnz    w4, 1b
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x0, x1, [sp], #144
    eret
.popsection
