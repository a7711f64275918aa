//! Arch: when the line was taken. The only unsafe code of this guest.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

#[cfg(target_os = "none")]
mod metal {
    use ::core::arch::{asm, global_asm};

    global_asm!(include_str!("line.S"));

    unsafe extern "C" {
        static arch_line_vectors: u8;
    }

    /// Lets the calling vCPU note when it takes its line.
    pub(crate) fn watch_line() {
        // SAFETY: the vectors are the library's but for the line's, which changes two registers that nothing here uses.
        unsafe {
            asm!("msr VBAR_EL1, {}", "isb", in(reg) &raw const arch_line_vectors, options(nomem, nostack, preserves_flags))
        };
    }

    /// Returns CNTVCT_EL0 as the second instruction behind the line read it, or 0 since [`forget_line`].
    #[inline(always)]
    pub(crate) fn line_taken() -> u64 {
        let ticks: u64;
        // SAFETY: reads a register. Not `nomem`: an upcall changes it.
        unsafe { asm!("mrs {}, TPIDRRO_EL0", out(reg) ticks, options(nostack, preserves_flags)) };
        ticks
    }

    /// Makes [`line_taken`] return 0.
    pub(crate) fn forget_line() {
        // SAFETY: nothing but the vectors above uses the register.
        unsafe { asm!("msr TPIDRRO_EL0, xzr", options(nostack, preserves_flags)) };
    }
}

#[cfg(not(target_os = "none"))]
mod metal {
    pub(crate) fn watch_line() {}
    pub(crate) fn line_taken() -> u64 {
        1
    }
    pub(crate) fn forget_line() {}
}

pub(crate) use metal::*;
