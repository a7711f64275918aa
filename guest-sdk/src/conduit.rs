//! The conduit: what carries a call to the hypervisor. [`make`] turns a typed request into registers and back.
//!
//! Called by every wrapper. On metal the conduit is [`Hvc`](crate::Hvc); a test brings a
//! [`Recorder`](crate::Recorder). It never decides what a refusal means.

use strato_abi::{Call, Code, Detail, Regs, Reply, Request};

use crate::error::{Error, Result};

/// x1 to x7 of a call that has at most six arguments; x7 is zero.
pub type ShortArguments = [u64; 7];
/// x1 to x3 of a call that has at most three results; x4 to x17 are zero by contract.
pub type ShortResults = [u64; 3];

/// A way to the hypervisor.
pub trait Conduit {
    /// Returns x0 and x1 to x15 as the call of function id `id` with x1 to x15 = `regs` leaves them.
    fn call(&self, id: u32, regs: Regs) -> (i64, Regs);

    /// Returns x0 and x1 to x3 of a call with at most six arguments and three results.
    ///
    /// The same call in fewer instructions: what is not listed goes in undefined, where the call defines no argument, and
    /// comes back zero.
    #[inline(always)]
    fn call_short(&self, id: u32, arguments: ShortArguments) -> (i64, ShortResults) {
        let [a, b, c, d, e, f, g] = arguments;
        let (status, results) = self.call(id, [a, b, c, d, e, f, g, 0, 0, 0, 0, 0, 0, 0, 0]);
        let [a, b, c, ..] = results;
        (status, [a, b, c])
    }
}

impl<C: Conduit + ?Sized> Conduit for &C {
    #[inline(always)]
    fn call(&self, id: u32, regs: Regs) -> (i64, Regs) {
        (**self).call(id, regs)
    }

    #[inline(always)]
    fn call_short(&self, id: u32, arguments: ShortArguments) -> (i64, ShortResults) {
        (**self).call_short(id, arguments)
    }
}

/// Returns whether [`Conduit::call_short`] carries everything of the call: all but those that carry console bytes.
const fn is_short<R: Request>() -> bool {
    <R::Reply as Reply>::REGS <= 3 && !matches!(R::CALL, Call::ConWrite)
}

/// Returns what the hypervisor answers to `request`.
///
/// # Errors
/// The refusal, which names the call. `VERSION` when a result is none that this library knows.
#[inline(always)]
pub fn make<C: Conduit + ?Sized, R: Request>(conduit: &C, request: &R) -> Result<R::Reply> {
    let arguments = request.to_regs();
    let id = R::CALL.function_id();
    let (status, results) = if const { is_short::<R>() } {
        let [a, b, c, d, e, f, g, ..] = arguments;
        let (status, [a, b, c]) = conduit.call_short(id, [a, b, c, d, e, f, g]);
        (status, [a, b, c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    } else {
        conduit.call(id, arguments)
    };
    if status < 0 {
        let [detail, done, ..] = results;
        return Err(refusal(R::CALL, status, detail, done));
    }
    R::Reply::from_regs(&results).map_err(|register| strange_result(R::CALL, register))
}

#[cold]
fn refusal(call: Call, status: i64, detail: u64, done: u64) -> Error {
    let error = match Code::from_i64(status) {
        Some(code) => strato_abi::Error { code, detail: Detail::from_bits(detail) },
        // A code of a later version: the nearest true statement is that this library does not know what happened.
        None => strato_abi::Error::of(Code::Internal, 0, strato_abi::Reason::UnknownValue, status.unsigned_abs()),
    };
    Error { call, error, done }
}

#[cold]
fn strange_result(call: Call, register: usize) -> Error {
    let register = u8::try_from(register).unwrap_or(0);
    Error { call, error: strato_abi::Error::of(Code::Version, register, strato_abi::Reason::UnknownValue, 0), done: 0 }
}

/// Defines functions that make one call each, and their twins in `via`, which take the conduit.
macro_rules! wrappers {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $out:ty = $request:expr, |$reply:pat_param| $value:expr;
    )*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $name($($arg: $type),*) -> $crate::Result<$out> {
                via::$name(&$crate::Hvc, $($arg),*)
            }
        )*

        /// The calls of this group over a conduit of the caller's choice.
        pub mod via {
            #[allow(unused_imports, reason = "the types that the wrappers above use")]
            use super::*;
            $(
                $(#[$doc])*
                #[inline(always)]
                pub fn $name<C: $crate::Conduit + ?Sized>(conduit: &C, $($arg: $type),*) -> $crate::Result<$out> {
                    let $reply = $crate::make(conduit, &$request)?;
                    Ok($value)
                }
            )*
        }
    };
}
pub(crate) use wrappers;
