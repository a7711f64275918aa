// Spin: where cores enter that a board's firmware keeps in a spin table (devicetree specification 0.4, "cpu-release-addr"). They are
// passed nothing: each has an entry of its own, by which it knows its number. Boot has written where the records stand, and cleaned
// it to the point of coherency: MMU and caches are off here.
//
// Such cores come from the stub of a Raspberry Pi, which leaves errata to whoever comes next: the bits of CPUACTLR_EL1 that boot found
// to be needed are set here, where the core's manual allows it: the MMU is off and nothing is under way.
//
// In: nothing. Out: arch_secondary with x0 = the core's record. Clobbers x1-x3.

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
    add     x1, x1, :lo12:arch_spin_records
    ldp     x1, x2, [x1]
    add     x0, x1, x0, lsl #6
    cbz     x2, 1f
    mrs     x3, S3_1_C15_C2_0                   // CPUACTLR_EL1
    orr     x3, x3, x2
    msr     S3_1_C15_C2_0, x3
    isb
1:  b       arch_secondary

    .section .data.arch_spin, "aw"
    .balign 64
    .global arch_spin_records
arch_spin_records:                              // physical address of the record of core 0, bits of CPUACTLR_EL1; a cache line
    .quad   0, 0
    .balign 64
