// Refuse: the one line that is printed when the image cannot start, by polling the UART with the MMU off, each character for a
// bounded time; and on a Raspberry Pi 4 the LED's code behind it.
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

// In: x0 = text ending with a zero byte, x21 = where the image stands, x22 = whether arch_sign_begin found a Raspberry Pi 4. Only the core
// with affinity 0 speaks, since a debugger or a boot ROM may enter with all of them.
arch_refuse:
    mrs     x1, mpidr_el1
    tst     x1, #0xff
    b.ne    arch_stop
    mov     x6, x0
    bl      arch_guess_uart
    mov     x23, x1
    tbnz    x1, #0, 1f
    mov     w2, #0x301                          // UARTCR: enable, transmit, receive
    str     w2, [x1, #0x30]
    b       2f
1:  bl      arch_mini_begin
2:  mov     x24, x22
    mov     x22, #1                             // arch_sign writes on any board
    mov     w0, #'\n'
    cbnz    x24, 4f                             // ends the line of boot
3:  ldrb    w0, [x6], #1
    cbz     w0, 5f
4:  bl      arch_sign
    b       3b
5:  cbz     x24, arch_stop
    ldr     x1, ={GPIO_PI}                      // the LED blinks the code, as sign.rs has it
    mov     w0, #(1 << 10)
    mov     w2, #2
6:  mov     w3, #{REFUSED}
7:  str     w0, [x1, #0x20]                     // GPSET1
    mov     x4, #4
    bl      arch_pause
    str     w0, [x1, #0x2c]                     // GPCLR1
    mov     x4, #4
    bl      arch_pause
    subs    w3, w3, #1
    b.ne    7b
    mov     x4, #16
    bl      arch_pause
    subs    w2, w2, #1
    b.ne    6b
arch_stop:
    wfi
    b       arch_stop

// Waits. In: x4 = sixteenths of a second. Clobbers x4-x6.
arch_pause:
    mrs     x5, cntfrq_el0
    lsr     x5, x5, #4
    mul     x4, x4, x5
    mrs     x5, cntpct_el0
1:  yield
    mrs     x6, cntpct_el0
    sub     x6, x6, x5
    cmp     x6, x4
    b.lo    1b
    ret

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
