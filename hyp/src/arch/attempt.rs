//! Attempts: one try at a word that others may hammer, without the loop that could go on for ever.

use core::arch::asm;
use core::sync::atomic::AtomicU64;

/// ORs `bits` into `word` with Release order. Returns what it held, or `None` when another write came between: nothing
/// changed then. An atomic OR of the language repeats until it succeeds, and its compare-and-exchange loads the word twice.
#[inline(always)]
pub fn or(word: &AtomicU64, bits: u64) -> Option<u64> {
    let (old, failed): (u64, u32);
    // SAFETY: LDXR and STLXR access the 8 aligned bytes of `word`, as an atomic operation of the language does; STLXR ends
    // the exclusive access whether it stores or not.
    unsafe {
        asm!(
            "ldxr {old}, [{word}]",
            "orr {new}, {old}, {bits}",
            "stlxr {failed:w}, {new}, [{word}]",
            word = in(reg) word.as_ptr(),
            bits = in(reg) bits,
            old = out(reg) old,
            new = out(reg) _,
            failed = out(reg) failed,
            options(nostack, preserves_flags)
        );
    }
    if failed == 0 { Some(old) } else { None }
}
