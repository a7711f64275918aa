// Vectors that note when the line is taken, and go on in the library's. Each entry but the line's is the library's own.

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
    .balign 128
.popsection
