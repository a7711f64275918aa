// Refuse: the one line that is printed when the image cannot start, by polling the UART with the MMU off.
// Clobbers everything, returns never.

    .section .text.arch_refuse, "ax"
arch_wrong_level:
    cmp     x0, #(1 << 2)
    adr     x0, arch_text_el1
    adr     x1, arch_text_el3
    csel    x0, x0, x1, eq
    b       arch_refuse

arch_refuse_map:
    adr     x0, arch_text_map
    // falls through

// In: x0 = text ending with a zero byte, x21 = where the image stands. Only the core with affinity 0 speaks, since a
// debugger or a boot ROM may enter with all of them.
arch_refuse:
    mrs     x1, mpidr_el1
    tst     x1, #0xff
    b.ne    arch_stop
    bl      arch_guess_uart
    tbnz    x1, #0, 3f
    mov     w2, #0x301                          // UARTCR: enable, transmit, receive
    str     w2, [x1, #0x30]
    cbz     x22, 1f
    mov     w2, #'\n'                           // ends the line of boot
    str     w2, [x1]
1:  ldrb    w2, [x0], #1
    cbz     w2, arch_stop
2:  ldr     w3, [x1, #0x18]                     // UARTFR.TXFF
    tbnz    w3, #5, 2b
    str     w2, [x1]                            // UARTDR
    b       1b
3:  bl      arch_mini_begin
    mov     w3, #'\n'                           // ends the line of boot
    cbnz    x22, 5f
4:  ldrb    w3, [x0], #1
    cbz     w3, arch_stop
5:  ldr     w2, [x1, #0x54]                     // AUX_MU_LSR
    tbz     w2, #5, 5b
    str     w3, [x1, #0x40]                     // AUX_MU_IO
    b       4b

arch_stop:
    wfi
    b       arch_stop

// In: x21 = where the image stands. Out: x1 = the PL011 of QEMU virt if that is in this machine's RAM, else that of a Raspberry Pi 4;
// or, if the payload behind the image asks for it, the address of that board's mini UART plus 1. Clobbers x2-x4.
arch_guess_uart:
    ldr     w1, ={UART_VIRT}
    tst     x21, #0xffffffffc0000000
    b.ne    1f
    ldr     w1, ={UART_PI}
    tst     x21, #7                             // memory is Device: what is misaligned cannot be read
    b.ne    1f
    ldr     x2, =__image_size
    add     x2, x2, x21                         // the payload's header, or anything
    ldr     x3, [x2]
    ldr     x4, ={PAYLOAD_MAGIC}
    cmp     x3, x4
    b.ne    1f
    ldr     w3, [x2, #{HEADER_VERSION_AT}]
    cmp     w3, #{PAYLOAD_VERSION}
    b.ne    1f
    ldr     w3, [x2, #{HEADER_FLAGS_AT}]
    tst     w3, #{HEADER_MINI_UART}
    b.eq    1f
    ldr     w1, ={MINI_PI}
1:  ret
    .ltorg

arch_text_el1:
    .asciz  "strato: entered at EL1, but it must be entered at EL2 (on QEMU virt: -M virt,virtualization=on)\n"
arch_text_el3:
    .asciz  "strato: entered at EL3, but it must be entered at EL2 (load the raw image, not the ELF file)\n"
arch_text_no_tree:
    .asciz  "strato: x0 holds no device tree; load the raw image by a loader that follows the arm64 boot protocol\n"
arch_text_misaligned:
    .asciz  "strato: loaded at an address that is not a multiple of 4096\n"
arch_text_relocation:
    .asciz  "strato: damaged image: a relocation is not of the relative kind\n"
arch_text_map:
    .asciz  "strato: image or device tree stand where the boot map cannot reach them\n"
    .balign 4
