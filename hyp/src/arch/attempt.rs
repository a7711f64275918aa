//! Attempts: one try at a word that others may hammer, without the loop that could go on for ever.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64};

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

/// Takes all of `word` with Acquire order: it holds 0 then. Returns what it held, or `None` when another write came between: nothing
/// changed then.
#[inline(always)]
pub fn take(word: &AtomicU64) -> Option<u64> {
    let (old, failed): (u64, u32);
    // SAFETY: as in `or`.
    unsafe {
        asm!(
            "ldaxr {old}, [{word}]",
            "stxr {failed:w}, xzr, [{word}]",
            word = in(reg) word.as_ptr(),
            old = out(reg) old,
            failed = out(reg) failed,
            options(nostack, preserves_flags)
        );
    }
    if failed == 0 { Some(old) } else { None }
}

/// Returns words `AT` and the one behind it, each read by itself, without an order. One instruction where the language has two: LDP of
/// aligned words reads each at once (DDI 0487, "Requirements for single-copy atomicity").
#[inline(always)]
pub fn load_pair<const AT: usize, const N: usize>(words: &[AtomicU64; N]) -> (u64, u64) {
    const { assert!(AT + 1 < N && AT < 63, "both are words of the array, and LDP reaches them") };
    let (first, second);
    // SAFETY: reads two aligned words of the array.
    unsafe {
        asm!(
            "ldp {first}, {second}, [{words}, #{at}]",
            words = in(reg) words.as_ptr(),
            first = out(reg) first,
            second = out(reg) second,
            at = const AT * 8,
            options(nostack, preserves_flags, readonly)
        );
    }
    (first, second)
}

/// Writes words `AT` and the one behind it, as [`load_pair`] reads them.
#[inline(always)]
pub fn store_pair<const AT: usize, const N: usize>(words: &[AtomicU64; N], (first, second): (u64, u64)) {
    const { assert!(AT + 1 < N && AT < 63, "both are words of the array, and STP reaches them") };
    // SAFETY: writes two aligned words of the array, which are atomic.
    unsafe {
        asm!(
            "stp {first}, {second}, [{words}, #{at}]",
            words = in(reg) words.as_ptr(),
            first = in(reg) first,
            second = in(reg) second,
            at = const AT * 8,
            options(nostack, preserves_flags)
        );
    }
}

/// Two flags that are looked at together: both are aligned as one halfword.
#[derive(Debug, Default)]
#[repr(C, align(2))]
pub struct FlagPair {
    /// The first.
    pub first: AtomicBool,
    /// The other one.
    pub second: AtomicBool,
}

impl FlagPair {
    /// Returns whether one of them is set, each read by itself, without an order. One instruction where the language has two: LDRH reads
    /// each byte at once.
    #[inline(always)]
    #[must_use]
    pub fn is_any_set(&self) -> bool {
        let both: u32;
        // SAFETY: reads the two bytes of the pair, which are aligned together.
        unsafe {
            asm!(
                "ldrh {both:w}, [{pair}]",
                pair = in(reg) core::ptr::from_ref(self),
                both = out(reg) both,
                options(nostack, preserves_flags, readonly)
            );
        }
        both != 0
    }
}

/// Sets `flag`, which no guest can reach. Returns whether it was set, with acquire and release order.
///
/// The same as the language's swap, but for what the compiler sees: a loop of its own keeps it from leaving the stack frame to the
/// paths that need one.
#[inline(always)]
pub fn set(flag: &AtomicBool) -> bool {
    let old: u32;
    // SAFETY: LDAXRB and STLXRB access the byte of `flag`, as an atomic operation of the language does, and store 1: true.
    unsafe {
        asm!(
            "2: ldaxrb {old:w}, [{flag}]",
            "stlxrb {failed:w}, {one:w}, [{flag}]",
            "cbnz {failed:w}, 2b",
            flag = in(reg) flag.as_ptr(),
            one = in(reg) 1u32,
            old = out(reg) old,
            failed = out(reg) _,
            options(nostack, preserves_flags)
        );
    }
    old != 0
}

/// Clears `flag`, as [`set`] sets it. A load behind it may be done before the 0 is seen (STLXRB orders nothing behind it, DDI 0487, B2.3,
/// "Barrier-ordered-before"), but not before LDAXRB; and that has read the very 1 which the 0 replaces, since the pair is atomic. So whatever
/// was written before a flag that is cleared here is seen, and a flag that is set after the 0 stays.
#[inline(always)]
pub fn clear(flag: &AtomicBool) {
    // SAFETY: as in `set`, and the byte stored is 0: false.
    unsafe {
        asm!(
            "2: ldaxrb {scratch:w}, [{flag}]",
            "stlxrb {scratch:w}, wzr, [{flag}]",
            "cbnz {scratch:w}, 2b",
            flag = in(reg) flag.as_ptr(),
            scratch = out(reg) _,
            options(nostack, preserves_flags)
        );
    }
}
