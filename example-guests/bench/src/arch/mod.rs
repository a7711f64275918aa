//! Arch: when the line was taken. The only unsafe code of this guest.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

use ::core::sync::atomic::{AtomicU64, Ordering};

/// CNTVCT_EL0 when the line was taken.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Returns CNTVCT_EL0 as the second instruction behind the line read it, or 0 since [`forget_line`].
#[inline(always)]
pub(crate) fn line_taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// Makes [`line_taken`] return 0.
pub(crate) fn forget_line() {
    TAKEN.store(0, Ordering::Relaxed);
}

/// Lets the calling vCPU note when it takes its line.
pub(crate) fn watch_line() {
    #[cfg(target_os = "none")]
    // SAFETY: the vectors are the library's but for the line's, which writes `TAKEN` and changes nothing else.
    unsafe {
        ::core::arch::asm!("msr VBAR_EL1, {}", "isb", in(reg) &raw const arch_line_vectors, options(nostack, preserves_flags));
    }
}

/// Lets the calling vCPU, the first one, take an event of its own in a few instructions, and tell nobody.
pub(crate) fn take_upcalls() {
    #[cfg(target_os = "none")]
    // SAFETY: the vectors are the library's but for the line's, which acknowledges, clears a word of the first vCPU's event record and
    // leaves all registers as they were.
    unsafe {
        ::core::arch::asm!("msr VBAR_EL1, {}", "isb", in(reg) &raw const arch_upcall_vectors, options(nostack, preserves_flags));
    }
}

#[cfg(target_os = "none")]
::core::arch::global_asm!(
    include_str!("line.S"),
    taken = sym TAKEN,
    ack = const strato_guest::abi::Call::EvtAck.function_id(),
    area = const strato_guest::abi::addr::EVENT_AREA,
);

#[cfg(target_os = "none")]
unsafe extern "C" {
    static arch_line_vectors: u8;
    static arch_upcall_vectors: u8;
}
