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

/// Makes a call by HVC, with `argument` in x1. Returns CNTVCT_EL0 as the instruction before it read it, and as the one behind it did.
#[cfg(target_os = "none")]
#[inline(always)]
fn call(call: strato_guest::abi::Call, argument: u64) -> (u64, u64) {
    let (before, behind): (u64, u64);
    // SAFETY: no call changes more than x0 to x17 (SPEC 2.9, 2.10), and these two touch no memory of this guest but its event area, which is
    // atomic words.
    unsafe {
        ::core::arch::asm!(
            "mrs x20, CNTVCT_EL0",
            "hvc #0",
            "mrs x21, CNTVCT_EL0",
            out("x20") before,
            out("x21") behind,
            inout("x0") u64::from(call.function_id()) => _,
            inout("x1") argument => _,
            in("x7") 0u64,
            clobber_abi("C"),
            options(nostack),
        );
    }
    (before, behind)
}

/// Raises the other end of `port`; what that answers is not looked at. Returns CNTVCT_EL0 as the instruction before the HVC read it.
#[inline(always)]
pub(crate) fn send(port: strato_guest::abi::PortHandle) -> u64 {
    #[cfg(target_os = "none")]
    return call(strato_guest::abi::Call::EvtSend, port.0.bits().into()).0;
    #[cfg(not(target_os = "none"))]
    u64::from(port.0.bits())
}

/// Waits for an event. Returns CNTVCT_EL0 as the instruction behind the HVC read it.
#[inline(always)]
pub(crate) fn wait() -> u64 {
    #[cfg(target_os = "none")]
    return call(strato_guest::abi::Call::VcpuWait, strato_guest::vcpu::NO_DEADLINE).1;
    #[cfg(not(target_os = "none"))]
    0
}

/// Sets the vCPU's own timer, masked, so that it is due in `ahead` ticks and interrupts nobody.
#[inline(always)]
pub(crate) fn set_masked_timer(ahead: u64) {
    control_timer(3, ahead); // CNTV_CTL_EL0.ENABLE and IMASK
}

/// Turns it off.
pub(crate) fn stop_timer() {
    control_timer(0, 0);
}

#[inline(always)]
fn control_timer(control: u64, ahead: u64) {
    #[cfg(target_os = "none")]
    // SAFETY: the registers are the vCPU's own, and what they say is masked or off.
    unsafe {
        ::core::arch::asm!(
            "mrs {at}, CNTVCT_EL0",
            "add {at}, {at}, {ahead}",
            "msr CNTV_CVAL_EL0, {at}",
            "msr CNTV_CTL_EL0, {control}",
            "isb",
            at = out(reg) _,
            ahead = in(reg) ahead,
            control = in(reg) control,
            options(nostack, nomem, preserves_flags)
        );
    }
    #[cfg(not(target_os = "none"))]
    let _ = (control, ahead);
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
