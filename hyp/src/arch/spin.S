// Spin: where cores enter that a board's firmware keeps in a spin table (devicetree specification 0.4, "cpu-release-addr"). They are
// passed nothing: each has an entry of its own, by which it knows its number. Boot has written where the records stand, and cleaned
// it to the point of coherency: MMU and caches are off here.
//
// In: nothing. Out: arch_secondary with x0 = the core's record.

    .section .head, "ax"
    .balign 8
    .global arch_spin_entries
arch_spin_entries:
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
    mov     x0, #\n
    b       arch_spin
    .endr
arch_spin:
    adrp    x1, arch_spin_records
    ldr     x1, [x1, :lo12:arch_spin_records]
    add     x0, x1, x0, lsl #6
    b       arch_secondary

    .section .data.arch_spin, "aw"
    .balign 64
    .global arch_spin_records
arch_spin_records:                              // physical address of the record of core 0; alone in its cache line
    .quad   0
    .balign 64
