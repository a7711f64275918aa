// Entry: from reset to Rust, for the first core and for the others. No Rust, no lock, no exclusive and no unaligned
// access runs before the MMU is on (platforms rule "Boot"): memory is Device until then.
//
// In (first core): x0 = device tree (Linux boot protocol for arm64). In (others): x0 = their CoreBase, physical.
// Out: Rust, EL2h, DAIF masked, MMU and caches on, own stack, TPIDR_EL2 = own CoreBase.

    .section .head, "ax"
    .balign 4096
    .global arch_start
arch_start:                                     // arm64 Image header
    b       arch_primary
    .long   0
    .quad   0x80000                             // text_offset: 0x80000 on a Pi, 0x40080000 on QEMU virt
    .quad   __image_size                        // all of it: BSS and stacks are part of the file
    .quad   0xa                                 // little-endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

arch_primary:
    msr     daifset, #0xf
    msr     spsel, #1
    mov     x19, x0                             // device tree
    adr     x21, arch_start                     // where we are
    mov     x22, xzr                            // no signs yet
    mrs     x0, CurrentEL
    cmp     x0, #(2 << 2)
    b.ne    arch_wrong_level
    mrs     x20, cntpct_el0                     // when it all began
    tst     x19, #7
    b.ne    1f
    cbz     x19, 1f
    ldr     w1, [x19]
    ldr     w2, ={FDT_MAGIC}
    cmp     w1, w2
    b.eq    2f
1:  mov     x19, xzr                            // none: below 1 GiB that is a Pi, whose facts are built in
    adr     x0, arch_text_no_tree
    lsr     x1, x21, #30
    cbnz    x1, arch_refuse
2:  bl      arch_guess_uart
    mov     x23, x1                             // the console's UART, plus 1 if that is a mini UART
    bl      arch_sign_begin
    adr     x0, arch_text_misaligned
    tst     x21, #0xfff                         // ADRP needs the page alignment that the image was linked with
    b.ne    arch_refuse

    adrp    x1, __rela_start                    // relocations: R_AARCH64_RELATIVE and nothing else
    add     x1, x1, :lo12:__rela_start
    adrp    x2, __rela_end
    add     x2, x2, :lo12:__rela_end
    adr     x0, arch_text_relocation
1:  cmp     x1, x2
    b.hs    2f
    ldp     x3, x4, [x1], #16                   // r_offset, r_info
    ldr     x5, [x1], #8                        // r_addend
    cmp     x4, #1027
    b.ne    arch_refuse
    add     x5, x5, x21
    str     x5, [x3, x21]
    b       1b
2:
    bl      arch_el2_registers
    mov     x0, x21                             // boot map: the image and the page behind it (the payload's header)
    adrp    x1, __image_end
    add     x1, x1, #4096
    ldr     x2, ={BLOCK_NORMAL}
    bl      arch_map_boot
    cbnz    x0, arch_refuse_map
    cbz     x19, 3f
    ldr     x2, ={BLOCK_NORMAL}
    bl      arch_map_tree
    cbnz    x0, arch_refuse_map
3:  bic     x0, x23, #1                         // a panic before the device tree is read is heard on the likely UART
    add     x1, x0, #4096
    ldr     x2, ={BLOCK_DEVICE}
    bl      arch_map_boot

    mov     w0, #'2'
    bl      arch_sign
    adrp    x1, arch_sign_state
    add     x1, x1, :lo12:arch_sign_state
    stp     x22, x23, [x1]

    // What was written with caches off is read with caches on: drop what the caches may hold of it (to the PoC).
    mrs     x3, ctr_el0
    ubfx    x3, x3, #16, #4                     // CTR_EL0.DminLine: words, as a power of two
    mov     x4, #4
    lsl     x3, x4, x3
    adrp    x1, __text_end
    adrp    x2, __image_end
    dsb     sy
3:  dc      ivac, x1
    add     x1, x1, x3
    cmp     x1, x2
    b.lo    3b
    dsb     sy

    adrp    x0, arch_boot_tables
    msr     ttbr0_el2, x0
    ldr     x0, ={SCTLR_BOOT}
    bl      arch_mmu_on

    adrp    x0, __stack_top
    mov     sp, x0
    adrp    x0, arch_boot_core
    add     x0, x0, :lo12:arch_boot_core
    msr     tpidr_el2, x0
    mov     x0, x19
    mov     x1, x20
    mov     x29, xzr
    mov     x30, xzr
    b       strato_boot

// Another core, started by PSCI CPU_ON. Its CoreBase was cleaned to the point of coherency by the core that started it.
    .global arch_secondary
arch_secondary:
    msr     daifset, #0xf
    msr     spsel, #1
    mov     x19, x0
    mrs     x0, CurrentEL
    cmp     x0, #(2 << 2)
    b.ne    arch_stop
    bl      arch_el2_registers
    ldr     x0, [x19, #{CORE_TABLE}]
    msr     ttbr0_el2, x0
    ldr     x0, ={SCTLR_FINAL}
    bl      arch_mmu_on
    ldr     x0, [x19, #{CORE_STACK_TOP}]
    mov     sp, x0
    msr     tpidr_el2, x19
    ldr     x0, [x19, #{CORE_INDEX}]
    mov     x29, xzr
    mov     x30, xzr
    b       strato_secondary

// Leaves the boot map for the table in x0. MMU and data cache are off in between, because both maps know the same
// addresses with different block sizes (DDI 0487, break-before-make); only registers are used there. Sets the bits x1 of
// CPUACTLR_EL1, if there are any: their manuals allow that with the MMU off and nothing under way. Clobbers x0, x2.
    .global arch_switch_map
arch_switch_map:
    ldr     x2, ={SCTLR_OFF}
    dsb     sy
    msr     sctlr_el2, x2
    isb
    cbz     x1, 1f
    mrs     x2, S3_1_C15_C2_0                   // CPUACTLR_EL1
    orr     x2, x2, x1
    msr     S3_1_C15_C2_0, x2
    isb
1:  msr     ttbr0_el2, x0
    ldr     x0, ={SCTLR_FINAL}
    // falls through

// Turns the MMU on with the SCTLR_EL2 value in x0. TLBs and instruction cache may hold anything until here.
arch_mmu_on:
    isb
    tlbi    alle2
    tlbi    alle1
    ic      iallu
    dsb     sy
    isb
    msr     sctlr_el2, x0
    isb
    ret

// Writes every EL2 register that matters in full: their values at reset are unknown. Clobbers x0-x2.
arch_el2_registers:
    ldr     x0, ={SCTLR_OFF}
    msr     sctlr_el2, x0
    isb
    ldr     x0, ={HCR}
    msr     hcr_el2, x0
    ldr     x0, ={CPTR}
    msr     cptr_el2, x0
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mov     x0, #(1 << 31)                      // VTCR_EL2: RES1, the rest is written with the first address space
    msr     vtcr_el2, x0
    msr     cnthctl_el2, xzr                    // EL1 reaches neither the physical counter nor its timer
    msr     cntvoff_el2, xzr
    msr     cnthp_ctl_el2, xzr
    msr     cntp_ctl_el0, xzr
    msr     cntv_ctl_el0, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    ldr     x0, ={MAIR}
    msr     mair_el2, x0
    mrs     x1, id_aa64mmfr0_el1
    and     x1, x1, #0xf                        // PARange; 48 bits are as much as 4 KiB pages can name
    mov     x2, #5
    cmp     x1, x2
    csel    x1, x1, x2, lo
    ldr     x0, ={TCR}
    bfi     x0, x1, #16, #3                     // TCR_EL2.PS
    msr     tcr_el2, x0
    msr     tpidr_el2, xzr                      // an exception from here on finds no record, and stops this core
    adrp    x0, arch_vectors
    add     x0, x0, :lo12:arch_vectors
    msr     vbar_el2, x0

    ldr     x0, ={MDCR}                         // traps debug, PMU and trace; HPMN = all counters
    mrs     x1, id_aa64dfr0_el1
    ubfx    x1, x1, #8, #4                      // PMUVer: 0 and 15 mean that PMCR_EL0 does not exist
    sub     x1, x1, #1
    cmp     x1, #14
    b.hs    1f
    mrs     x1, pmcr_el0
    ubfx    x1, x1, #11, #5
    orr     x0, x0, x1
1:  msr     mdcr_el2, x0

    mrs     x1, id_aa64mmfr0_el1
    ubfx    x1, x1, #56, #4                     // FGT: fine-grained traps, all off
    cbz     x1, 2f
    msr     S3_4_C1_C1_4, xzr                   // HFGRTR_EL2
    msr     S3_4_C1_C1_5, xzr                   // HFGWTR_EL2
    msr     S3_4_C1_C1_6, xzr                   // HFGITR_EL2
    msr     S3_4_C3_C1_4, xzr                   // HDFGRTR_EL2
    msr     S3_4_C3_C1_5, xzr                   // HDFGWTR_EL2
    cmp     x1, #2
    b.lo    1f
    msr     S3_4_C3_C1_2, xzr                   // FGT2: HFGRTR2_EL2
    msr     S3_4_C3_C1_3, xzr                   // HFGWTR2_EL2
    msr     S3_4_C3_C1_7, xzr                   // HFGITR2_EL2
    msr     S3_4_C3_C1_0, xzr                   // HDFGRTR2_EL2
    msr     S3_4_C3_C1_1, xzr                   // HDFGWTR2_EL2
1:  mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #44, #4                     // AMU
    cbz     x1, 2f
    msr     S3_4_C3_C1_6, xzr                   // HAFGRTR_EL2; CPTR_EL2.TAM traps it all
2:  mrs     x1, id_aa64mmfr1_el1
    ubfx    x1, x1, #40, #4                     // HCX
    cbz     x1, 3f
    msr     S3_4_C1_C2_2, xzr                   // HCRX_EL2
3:  mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #40, #4                     // MPAM, major
    mrs     x2, id_aa64pfr1_el1
    ubfx    x2, x2, #16, #4                     // MPAM_frac
    orr     x1, x1, x2
    cbz     x1, 4f
    ldr     x0, ={MPAM2}                        // firmware leaves MPAM3_EL3.TRAPLOWER clear, as Linux asks of it too
    msr     S3_4_C10_C5_0, x0                   // MPAM2_EL2
4:  isb
    ret
    .ltorg

    .section .data.arch_boot, "aw"
    .balign 64
    .global arch_boot_core
arch_boot_core:                                 // CoreBase of the first core
    .quad   0                                   // index
    .quad   __emergency_top
    .quad   __emergency_bottom
    .quad   __stack_top
    .quad   __stack_bottom
    .quad   0, 0, 0
