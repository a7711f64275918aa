//! The MMU of a native guest: turned on before anything else, asked for translations; and a process at EL0.
//!
//! Only a guest that declares [`Needs::native`](crate::Needs::native) links any of this.

use ::core::arch::{asm, global_asm, naked_asm};
use ::core::mem::offset_of;

use strato_abi::addr::INFO_PAGE;
use strato_abi::info_page::{FEATURE_NATIVE, InfoPage};

use crate::native::{IDENTITY, PROCESS_SLOT, ROOT, Registers};

global_asm!(include_str!("native.S"));

/// MAIR_EL1: attribute 0, Normal Write-Back, the one type that this library uses.
const MAIR: u64 = 0xff;
/// TCR_EL1: 39-bit addresses by TTBR0_EL1 (T0SZ), none by TTBR1_EL1 (EPD1); walks Write-Back Inner Shareable; granules of 4 KiB;
/// 40-bit output (IPS).
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 30 | 2 << 32;

const _: () =
    assert!(offset_of!(Registers, x) == 0 && offset_of!(Registers, stack) == 248 && offset_of!(Registers, pc) == 256);
const _: () = assert!(offset_of!(Registers, status) == 264 && offset_of!(Registers, syndrome) == 272);
const _: () = assert!(offset_of!(Registers, address) == 280 && FEATURE_NATIVE == 1 << 3);

unsafe extern "C" {
    fn arch_process_run(registers: *mut Registers) -> u64;
}

/// Turns the MMU on, if this VM has one of its own. `start.S` calls it first of all on each vCPU, with x9 = 1 on the first one,
/// which builds the root table: each GiB at its own address for EL1 alone, but for the one of processes.
///
/// Clobbers x10 to x16 and needs no stack: until the MMU is on, memory is Device-nGnRnE and the table is all it writes. That
/// is cleaned and invalidated, because a cache may hold what stood there before.
///
/// # Safety
/// Only `start.S` calls it: it keeps no convention.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn turn_on() {
    naked_asm!(
        "mov    x10, #{info_page}",
        "ldr    w11, [x10, #{features}]",
        "tbz    w11, #3, 9f",
        "adrp   x10, {root}",
        "add    x10, x10, :lo12:{root}",
        "cbz    x9, 3f",
        "mov    x11, #({identity} & 0xffff)",
        "movk   x11, #({identity} >> 48), lsl #48",
        "mov    x12, #0x40000000",
        "mov    x13, x10",
        "mov    x14, #512",
        "1: str x11, [x13], #8",
        "add    x11, x11, x12",
        "subs   x14, x14, #1",
        "b.ne   1b",
        "str    xzr, [x10, #({slot} * 8)]",
        "dsb    sy", // the stores are in memory before a line is dropped
        "mrs    x14, CTR_EL0",
        "ubfx   x14, x14, #16, #4", // DminLine: words, as a power of two
        "mov    x15, #4",
        "lsl    x14, x15, x14",
        "2: sub x13, x13, x14",
        "dc     civac, x13",
        "cmp    x13, x10",
        "b.hi   2b",
        "dsb    sy", // complete before the walker reads
        "3: mov x11, #{mair}",
        "msr    MAIR_EL1, x11",
        "mov    x11, #({tcr} & 0xffff)",
        "movk   x11, #({tcr} >> 16 & 0xffff), lsl #16",
        "movk   x11, #({tcr} >> 32), lsl #32",
        "msr    TCR_EL1, x11",
        "msr    TTBR0_EL1, x10",
        "isb",
        "tlbi   vmalle1", // what the TLB holds after reset is unknown
        "dsb    nsh",
        "isb", // tables and controls are in force before the MMU is
        "mrs    x11, SCTLR_EL1",
        "orr    x11, x11, #1", // M
        "orr    x11, x11, #4", // C
        "msr    SCTLR_EL1, x11",
        "isb", // what follows is translated
        "9: ret",
        info_page = const INFO_PAGE,
        features = const offset_of!(InfoPage, features),
        root = sym ROOT,
        identity = const IDENTITY,
        slot = const PROCESS_SLOT,
        mair = const MAIR,
        tcr = const TCR,
    )
}

/// Runs the process of `registers` until something stops it: 0 an exception, 1 the line, 2 anything else.
pub(crate) fn run_process(registers: &mut Registers) -> u64 {
    // SAFETY: the routine follows AAPCS64, and writes `registers` alone. The process runs at EL0: `native::map` lets it reach
    // no memory of this program.
    unsafe { arch_process_run(registers) }
}

/// Returns PAR_EL1 for a read of `address` by EL1, or by EL0.
pub(crate) fn translation(address: u64, by_process: bool) -> u64 {
    let result;
    let before = super::mask_interrupts(); // an upcall that asks too would change PAR_EL1
    if by_process {
        // SAFETY: a translation changes PAR_EL1 alone, which nothing else uses.
        unsafe { asm!("at s1e0r, {}", in(reg) address, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!("at s1e1r, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: reads a register, behind the translation.
    unsafe { asm!("isb", "mrs {}, PAR_EL1", out(reg) result, options(nostack, preserves_flags)) };
    super::restore_interrupts(before);
    result
}

/// Makes entries that were invalid visible to the walkers of all vCPUs.
pub(crate) fn publish_entries() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Makes all vCPUs forget what they have translated, after an entry was made invalid.
pub(crate) fn forget_entries() {
    // SAFETY: an invalidation between barriers changes no register and no memory.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Makes instructions that were written as data to the page at `page` visible to instruction fetch.
pub(crate) fn publish_code(page: u64) {
    // 16 bytes: the least line that CTR_EL0 can report.
    for address in (page..page.saturating_add(4096)).step_by(16) {
        // SAFETY: maintenance by address changes no value.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier: the data is at the point of unification before the instruction caches forget.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for address in (page..page.saturating_add(4096)).step_by(16) {
        // SAFETY: as above.
        unsafe { asm!("ic ivau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
