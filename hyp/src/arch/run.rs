//! Entering a guest as a function call: `run` returns why the guest came back. Called by the dispatcher's loop alone.

use aarch64_cpu::registers::{ESR_EL2, FAR_EL2, HPFAR_EL2, Readable, VBAR_EL2, Writeable};

use core::mem::offset_of;

use super::errata::{Guard, LONG_GUARD, SHORT_GUARD};
use super::frame::{ANSWERED, Answers, FAST_CALLS, Frame, Passers, RawExit};
use super::lease::First;

core::arch::global_asm!(
    include_str!("registers.S"),
    include_str!("copy.S"),
    include_str!("switch.S"),
    include_str!("vectors.S"),
    fast_calls = const FAST_CALLS,
    answered = const ANSWERED,
    abort_handler = const offset_of!(Answers<'static, u8, u8>, abort),
    pass_interrupted = const offset_of!(Answers<'static, u8, u8>, pass) + offset_of!(Passers<'static, u8, u8>, interrupted),
    short_guard = const SHORT_GUARD,
    long_guard = const LONG_GUARD,
    has_ras = sym super::guest::HAS_RAS,
    irq_handler = const offset_of!(Answers<'static, u8, u8>, irq),
);

unsafe extern "C" {
    fn arch_run(frame: *mut Frame, context: *mut u8, answers: *const u8) -> Returned;
    static arch_vectors: [u8; 0];
    static arch_vectors_guarded: [u8; 0];
    static arch_vectors_guarded_long: [u8; 0];
}

/// Makes this core take what comes from a guest by the vectors with `guard`, from the return to the guest on.
pub fn select_vectors(guard: Guard) {
    let vectors = match guard {
        Guard::None => &raw const arch_vectors,
        Guard::Short => &raw const arch_vectors_guarded,
        Guard::Long => &raw const arch_vectors_guarded_long,
    };
    VBAR_EL2.set(vectors.addr() as u64);
}

/// What `arch_run` returns: the exit's number, and whose it is.
#[repr(C)]
struct Returned {
    vector: u64,
    frame: *mut Frame,
}

/// Runs the guest of `frame`, and those it passes the core to, until something happens that `answers` does not settle.
///
/// The caller has loaded the vCPU's other state (`guest::load`) and its stage 2. A call of a fast group goes to its entry
/// of `answers` with `cx`, an abort and an interrupt to theirs; as long as that says `Stay` the guest goes on.
///
/// Returns the exit as the processor reports it, and the frame of the guest that left; it holds that guest's registers, zero
/// in x0 to x17 after `Answered`.
#[inline]
pub fn run<'l, B, C>(
    frame: First<'l, Frame, B>,
    cx: &mut C,
    answers: &Answers<'l, B, C>,
) -> (RawExit, First<'l, Frame, B>) {
    // SAFETY: `arch_run` follows AAPCS64. It uses the frame only before a guest's first and after its last instruction, and
    // has it by the lease that it was handed, so that no handler sees it; `pass` takes that lease and returns one, in the
    // register that a pointer has. It passes `context` on as the `&mut C` that every handler of `answers` takes, one at a
    // time, while this function's own use of `cx` rests. All three outlive the call.
    let Returned { vector, frame } =
        unsafe { arch_run(frame.into_raw(), core::ptr::from_mut(cx).cast(), core::ptr::from_ref(answers).cast()) };
    // SAFETY: the one lease that `arch_run` has, ours or what `pass` returned last.
    let frame = unsafe { First::from_raw(frame) };
    if vector == ANSWERED {
        return (RawExit { vector, ..RawExit::default() }, frame); // the syndrome is that of the call
    }
    // EL2 takes no exception between the guest's and here: they still say why it left.
    (RawExit { vector, esr: ESR_EL2.get(), far: FAR_EL2.get(), hpfar: HPFAR_EL2.get() }, frame)
}
