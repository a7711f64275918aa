//! The one conduit to the hypervisor: `HVC #0`. Called through [`Conduit`]; never interprets what it carries.

use ::core::arch::asm;

use strato_abi::Regs;

use crate::conduit::{Conduit, ShortArguments, ShortResults};

/// The hypervisor, reached by `HVC #0`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hvc;

/// The primitive: function id in x0, the listed registers in and out, the others of x0 to x17 as clobbers.
macro_rules! hvc {
    ($id:expr; $($register:tt $in:expr => $out:tt),*; $($clobber:tt)*) => {{
        let status: u64;
        // SAFETY: SPEC.md, calling convention: the call changes x0 to x17 alone, all of which are outputs here, and memory
        // only as the call says (hence no `nomem`); it does not use the guest's stack and keeps PSTATE.
        unsafe {
            asm!(
                "hvc #0",
                inlateout("x0") u64::from($id) => status,
                $( inlateout($register) $in => $out, )*
                $( lateout($clobber) _, )*
                options(nostack, preserves_flags),
            );
        }
        status.cast_signed()
    }};
}

impl Conduit for Hvc {
    #[inline(always)]
    fn call(&self, id: u32, regs: Regs) -> (i64, Regs) {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h, mut i, mut j, mut k, mut l, mut m, mut n, mut o] =
            regs;
        let status = hvc!(id;
            "x1" a => a, "x2" b => b, "x3" c => c, "x4" d => d, "x5" e => e, "x6" f => f, "x7" g => g, "x8" h => h,
            "x9" i => i, "x10" j => j, "x11" k => k, "x12" l => l, "x13" m => m, "x14" n => n, "x15" o => o;
            "x16" "x17");
        (status, [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o])
    }

    #[inline(always)]
    fn call_short(&self, id: u32, arguments: ShortArguments) -> (i64, ShortResults) {
        let [mut a, mut b, mut c, d, e, f, g] = arguments;
        let status = hvc!(id;
            "x1" a => a, "x2" b => b, "x3" c => c, "x4" d => _, "x5" e => _, "x6" f => _, "x7" g => _;
            "x8" "x9" "x10" "x11" "x12" "x13" "x14" "x15" "x16" "x17");
        (status, [a, b, c])
    }
}
