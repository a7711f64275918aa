// Where vCPUs enter, at EL1h with DAIF masked (SPEC.md, entry state). Both run on at EL1t: the program on SP_EL0, exceptions
// on SP_EL1, so that a fault on a stack's guard page can still be handled.

// Calls what turns the MMU on (`arch/native.rs`), in a guest that declares one. In: x9. Clobbers: x10 to x16, x30.
.macro arch_mmu_on
    adrp    x10, STRATO_GUEST_MMU
    ldr     x10, [x10, :lo12:STRATO_GUEST_MMU]
    cbz     x10, 1f
    blr     x10
1:
.endm

// First vCPU. In: x0 info page, x1 ABI version, x2 vCPU. Goes to {first}(x0, x1, x2).
.pushsection .text.arch_entry, "ax"
.global arch_entry
arch_entry:
    mov     x9, #1                      // it builds the table
    arch_mmu_on
    adrp    x4, __exception_stack_top
    add     x4, x4, :lo12:__exception_stack_top
    mov     sp, x4
    adrp    x5, __stack_top
    add     x5, x5, :lo12:__stack_top
    adr     x6, {first}
    b       arch_enter

// A further vCPU. In: x0 its Record, x1 ABI version, x2 vCPU, x3 info page. Goes to {further}(x0).
.global arch_vcpu_entry
arch_vcpu_entry:
    mov     x9, xzr
    arch_mmu_on                         // its Record was written with caches on
    ldp     x5, x4, [x0, #{record_stack_top}]
    mov     sp, x4
    adr     x6, {further}

// In: x5 stack, x6 where to, x0 to x2 its arguments (x2 the vCPU). Clobbers x4.
arch_enter:
    adrp    x4, arch_vectors
    add     x4, x4, :lo12:arch_vectors
    msr     VBAR_EL1, x4
    msr     TPIDR_EL1, x2
    msr     SPSel, #0
    mov     sp, x5
    mov     x29, xzr
    mov     x30, xzr
    isb                         // the vectors are in force before anything can fault
    br      x6
.popsection
