// Boot map: the tables that boot runs on until the device tree is read: blocks of 2 MiB at their own addresses.

    .section .text.arch_boot_map, "ax"
// Maps the device tree at x19, as long as its header says. In: x2 = block attributes. Out and clobbers: as arch_map_boot.
arch_map_tree:
    ldr     w1, [x19, #4]
    rev     w1, w1
    adr     x0, arch_text_tree_size
    cmp     w1, #(512 << 12)                    // 2 MiB, as Linux has it (Documentation/arch/arm64/booting.rst)
    b.hi    arch_refuse
    mov     x0, x19
    add     x1, x1, x0
    // falls through

// Maps 2 MiB blocks in the boot map. In: x0 = first byte, x1 = byte behind the last, x2 = block attributes.
// Out: x0 = 0, or 1 if an address lies beyond 512 GiB or the tables are used up. Clobbers x3-x10.
    .global arch_map_boot
arch_map_boot:
    adrp    x8, arch_boot_tables                // the root, then one table for each GiB in use
    adrp    x9, arch_boot_used
    ldr     x10, [x9, :lo12:arch_boot_used]
    bic     x0, x0, #0x1fffff
1:  cmp     x0, x1
    b.hs    3f
    lsr     x3, x0, #30
    cmp     x3, #512
    b.hs    4f
    ldr     x4, [x8, x3, lsl #3]
    cbnz    x4, 2f
    cmp     x10, #{BOOT_TABLES}
    b.hs    4f
    add     x10, x10, #1
    add     x4, x8, x10, lsl #12
    orr     x4, x4, #3
    str     x4, [x8, x3, lsl #3]
2:  and     x4, x4, #0xfffffffffffff000
    ubfx    x3, x0, #21, #9
    orr     x5, x0, x2
    str     x5, [x4, x3, lsl #3]
    add     x0, x0, #0x200, lsl #12
    b       1b
3:  mov     x0, #0
    b       5f
4:  mov     x0, #1
5:  str     x10, [x9, :lo12:arch_boot_used]
    dsb     sy                                  // the walker sees the entries before anybody relies on them
    isb
    ret

arch_text_tree_size:
    .asciz  "strato: the device tree says that it is larger than 2 MiB\n"
    .balign 4

    .section .bss.arch_boot, "aw", @nobits
    .balign 4096
arch_boot_tables:
    .space  4096 * (1 + {BOOT_TABLES})
arch_boot_used:
    .space  8
