//! Entering a guest as a function call: `run` returns why the guest came back. Called by the dispatcher's loop alone.

use aarch64_cpu::registers::{ESR_EL2, FAR_EL2, HPFAR_EL2, Readable};

use core::mem::offset_of;

use super::frame::{ANSWERED, Answers, FAST_CALLS, Frame, RawExit};

core::arch::global_asm!(
    include_str!("switch.S"),
    include_str!("vectors.S"),
    fast_calls = const FAST_CALLS,
    answered = const ANSWERED,
    abort_handler = const offset_of!(Answers<u8>, abort),
    irq_handler = const offset_of!(Answers<u8>, irq),
);

unsafe extern "C" {
    fn arch_run(frame: *mut Frame, context: *mut u8, answers: *const u8) -> u64;
}

/// Runs the guest of `frame` until something happens that `answers` does not settle.
///
/// The caller has loaded the vCPU's other state (`guest::load`) and its stage 2. A call of a fast group goes to its entry
/// of `answers` with `cx`, an abort and an interrupt to theirs; as long as that says `Stay` the guest goes on.
///
/// Returns the exit as the processor reports it; `frame` holds the guest's registers, zero in x0 to x17 after `Answered`.
#[inline]
pub fn run<C>(frame: &mut Frame, cx: &mut C, answers: &Answers<C>) -> RawExit {
    // SAFETY: `arch_run` follows AAPCS64. It uses `frame` only before the guest's first and after its last instruction, so
    // no handler sees it; it passes `context` on as the `&mut C` that every handler of `answers` takes, one at a time,
    // while this function's own use of `cx` rests. All three outlive the call.
    let vector = unsafe { arch_run(frame, core::ptr::from_mut(cx).cast(), core::ptr::from_ref(answers).cast()) };
    if vector == ANSWERED {
        return RawExit { vector, ..RawExit::default() }; // the syndrome is that of the call
    }
    // EL2 takes no exception between the guest's and here: they still say why it left.
    RawExit { vector, esr: ESR_EL2.get(), far: FAR_EL2.get(), hpfar: HPFAR_EL2.get() }
}
