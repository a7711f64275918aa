// Sign: the first signs of life on a Raspberry Pi 4, before anything else works: the activity LED, and a line on the console's UART
// that grows by a character with each step of boot. Registers only; MMU and caches are off ("BCM2711 ARM Peripherals", General
// Purpose I/O and Mini UART; Arm DDI 0183).

    .section .text.arch_sign, "ax"

// In: x19 = device tree or 0, x21 = where the image stands, x23 = the console's UART (arch_guess_uart). Out: x22 = 1 on such a board,
// whose LED is on then, whose UART is ready, and whose line has begun; else 0, and nothing was touched. Clobbers x0-x6.
arch_sign_begin:
    tst     x21, #0xffffffffc0000000            // QEMU virt has no memory below 1 GiB, the board loads its kernel there
    b.ne    5f
    cbz     x19, 3f                             // only a Pi may do without
    ldr     w1, [x19, #8]                       // off_dt_struct: the root's `compatible` is among its first words
    rev     w1, w1
    tst     w1, #3
    b.ne    5f
    lsr     w2, w1, #20
    cbnz    w2, 5f
    add     x1, x19, x1
    adr     x5, arch_sign_board
    ldp     w2, w3, [x5]
    ldr     w5, [x5, #12]
    mov     w0, #512
1:  ldr     w4, [x1], #4
    cmp     w4, w2
    b.ne    2f
    ldr     w4, [x1]
    cmp     w4, w3
    b.ne    2f
    ldr     w4, [x1, #8]
    cmp     w4, w5
    b.eq    3f
2:  subs    w0, w0, #1
    b.ne    1b
    b       5f

3:  mov     x22, #1
    ldr     x1, ={GPIO_PI}
    ldr     w2, [x1, #0x10]                     // GPFSEL4: pin 42, the LED, is an output
    mov     w3, #1
    bfi     w2, w3, #6, #3
    str     w2, [x1, #0x10]
    mov     w2, #(1 << 10)
    str     w2, [x1, #0x20]                     // GPSET1: it is on
    ldr     w2, [x1, #0x4]                      // GPFSEL1: pins 14 and 15 are the PL011's (ALT0), or the mini UART's (ALT5)
    mov     w3, #0x24
    mov     w4, #0x12
    tst     x23, #1
    csel    w3, w3, w4, eq
    bfi     w2, w3, #12, #6
    str     w2, [x1, #0x4]
    mov     x6, x30
    b.eq    9f
    bl      arch_mini_begin
    b       10f
9:  mov     x1, x23
    mov     w5, #0x20000
7:  ldr     w2, [x1, #0x18]                     // UARTFR.BUSY: what the firmware wrote is sent first, in a bounded time
    tbz     w2, #3, 8f
    subs    w5, w5, #1
    b.ne    7b
8:  str     wzr, [x1, #0x30]                    // UARTCR: off while its line is set
    mov     w2, #26                             // 48 MHz / (16 * 115,200) = 26 + 3/64
    str     w2, [x1, #0x24]                     // UARTIBRD
    mov     w2, #3
    str     w2, [x1, #0x28]                     // UARTFBRD
    mov     w2, #0x70
    str     w2, [x1, #0x2c]                     // UARTLCR_H: 8 bits, FIFOs
    mov     w2, #0x301
    str     w2, [x1, #0x30]                     // enable, transmit, receive
10: adr     x4, arch_sign_text
4:  ldrb    w0, [x4], #1
    cbz     w0, 6f
    bl      arch_sign
    b       4b
5:  mov     x22, xzr
    ret
6:  ret     x6

// In: w0 = character, x22, x23. Waits a bounded time for room. Clobbers x1, x2, x5.
arch_sign:
    cbz     x22, 2f
    mov     x1, x23
    mov     w5, #0x20000
    tbnz    x1, #0, arch_sign_mini
1:  ldr     w2, [x1, #0x18]                     // UARTFR.TXFF
    tbz     w2, #5, 3f
    subs    w5, w5, #1
    b.ne    1b
3:  str     w0, [x1]                            // UARTDR
2:  ret
arch_sign_mini:
    sub     x1, x1, #1
1:  ldr     w2, [x1, #0x54]                     // AUX_MU_LSR: there is room
    tbnz    w2, #5, 3f
    subs    w5, w5, #1
    b.ne    1b
3:  str     w0, [x1, #0x40]                     // AUX_MU_IO
    ret

// Makes the mini UART ready: 115,200 baud, 8 bits, no interrupts. Out: x1 = its registers. Clobbers x2, x5.
arch_mini_begin:
    ldr     x1, ={MINI_PI}
    sub     x1, x1, #1
    ldr     w2, [x1, #0x4]                      // AUX_ENABLES: it has registers; the SPIs beside it stay as they are
    orr     w2, w2, #1
    str     w2, [x1, #0x4]
    mov     w5, #0x20000
1:  ldr     w2, [x1, #0x54]                     // AUX_MU_LSR: it is idle, what the firmware wrote is sent
    tbnz    w2, #6, 2f
    subs    w5, w5, #1
    b.ne    1b
2:  str     wzr, [x1, #0x60]                    // AUX_MU_CNTL: off while its line is set
    str     wzr, [x1, #0x44]                    // AUX_MU_IER
    mov     w2, #3                              // both bits: one alone gives 7 bits
    str     w2, [x1, #0x4c]                     // AUX_MU_LCR
    str     wzr, [x1, #0x50]                    // AUX_MU_MCR
    mov     w2, #6
    str     w2, [x1, #0x48]                     // AUX_MU_IIR: both FIFOs are cleared
    mov     w2, #541                            // 500 MHz / (8 * (541 + 1)) = 115,314 baud
    str     w2, [x1, #0x68]                     // AUX_MU_BAUD
    mov     w2, #3
    str     w2, [x1, #0x60]                     // AUX_MU_CNTL: transmit and receive
    ret
    .ltorg

    .balign 8
arch_sign_board:
    .ascii  "raspberrypi,4-mo"                  // 4-byte aligned in a device tree
arch_sign_text:
    .asciz  "strato: boot 1"
    .balign 4

    .section .data.arch_sign, "aw"
    .balign 8
    .global arch_sign_state, arch_sign_uart
arch_sign_state:                                // x22; what it comes to be, see sign.rs
    .quad   0
arch_sign_uart:                                 // x23
    .quad   0
