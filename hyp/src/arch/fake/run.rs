//! Entering a guest on a PC: plays a script of what the guest does, with the same pointers as the metal.

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;

use crate::arch::answered::STORED;
use crate::arch::errata::Guard;
use crate::arch::frame::{ANSWERED, Answer, Answers, FAST_CALLS, Frame, Leaves, Passer, RawExit};
use crate::arch::guest;
use crate::arch::lease::First;

/// What a scripted guest does next.
#[derive(Debug)]
pub enum Deed {
    /// Executes `hvc #0` with the registers in its frame.
    Hvc,
    /// Leaves for another reason.
    Exit(RawExit),
    /// Ends the story: the loop that runs guests returns.
    End,
}

std::thread_local! {
    static VECTORS: std::cell::Cell<Guard> = const { std::cell::Cell::new(Guard::None) };
}

/// Notes which vectors were selected.
pub fn select_vectors(guard: Guard) {
    VECTORS.set(guard);
}

/// Returns the vectors that were selected last on this thread.
pub fn selected_vectors() -> Guard {
    VECTORS.get()
}

/// One step of a script: changes the registers, then does something.
pub(super) type Step = Box<dyn FnOnce(&mut Frame) -> Deed>;

std::thread_local! {
    static SCRIPT: RefCell<VecDeque<Step>> = const { RefCell::new(VecDeque::new()) };
}

/// The value of [`RawExit::vector`] by which a story ends.
pub const STORY_END: u64 = 99;

/// Adds a step to this thread's script.
pub fn script(step: impl FnOnce(&mut Frame) -> Deed + 'static) {
    SCRIPT.with_borrow_mut(|script| script.push_back(Box::new(step)));
}

/// Runs the guest of `frame`, and those it passes the core to, through the next steps of the script, until one is not settled.
///
/// # Panics
/// When the script is over: a story says how it ends.
pub fn run<'l, B, C>(
    mut frame: First<'l, Frame, B>,
    cx: &mut C,
    answers: &Answers<'l, B, C>,
) -> (RawExit, First<'l, Frame, B>) {
    let context: *mut C = cx;
    loop {
        let Some(step) = SCRIPT.with_borrow_mut(VecDeque::pop_front) else {
            panic!("the script of this story is over")
        };
        let deed = step(&mut frame);
        guest::set_return_address(frame.pc);
        match deed {
            Deed::Exit(exit) if is_abort(&exit) => {
                let mut place = frame.place();
                // SAFETY: as for a call below.
                let verdict = (answers.abort)(unsafe { &mut *context }, exit.esr, exit.far, exit.hpfar, &mut place);
                frame.set_place(place);
                if verdict == Answer::Leave {
                    return (exit, frame);
                }
            }
            Deed::Exit(exit) if exit.vector == 1 && !frame.place().is_aarch32() => {
                // SAFETY: as for a call below.
                match (answers.irq)(unsafe { &mut *context }) {
                    Answer::Stay => {}
                    Answer::Leave => return (exit, frame),
                    Answer::Pass => {
                        frame.is_used = 1;
                        let is_over;
                        (frame, is_over) = pass_on(frame, context, answers.pass.interrupted);
                        if is_over {
                            return (RawExit { vector: ANSWERED, ..RawExit::default() }, frame);
                        }
                    }
                }
            }
            Deed::Exit(exit) => return (exit, frame),
            Deed::End => return (RawExit { vector: STORY_END, ..RawExit::default() }, frame),
            Deed::Hvc => {
                let id = frame.x[0] & 0xfffe_ffff;
                let number = id.wrapping_sub(0xc600_0000);
                if number >= FAST_CALLS {
                    return (RawExit { esr: 0x5a00_0000, ..RawExit::default() }, frame);
                }
                let [_, a, b, c, d, e, f, ..] = frame.x;
                let handler = usize::try_from(number).ok().and_then(|number| answers.calls.get(number));
                let Some(answer) = handler else { panic!("a fast call has its place in the table") };
                // SAFETY: `context` comes from the exclusive borrow that this function holds and does not use itself.
                let answered = answer(unsafe { &mut *context }, a, b, c, d, e, f);
                let passer = answered.leaves().map(|to| answers.pass.of(to));
                let (way, value) = answered.parts();
                frame.x[..18].fill(0);
                frame.is_used = 0;
                if let Some(passer) = passer {
                    let is_over;
                    (frame, is_over) = pass_on(frame, context, passer);
                    if is_over {
                        return (RawExit { vector: ANSWERED, ..RawExit::default() }, frame);
                    }
                } else if way == STORED {
                    // SAFETY: it holds what its way says, by its constructors.
                    frame.x[..4].copy_from_slice(&unsafe { value.results }.x);
                } else {
                    // SAFETY: as above.
                    frame.x[1] = unsafe { value.x1 };
                }
            }
        }
    }
}

/// Asks the passer. Returns the frame that goes on, or that leaves, and whether `run` is over.
fn pass_on<'l, B, C>(
    mut frame: First<'l, Frame, B>,
    context: *mut C,
    passer: Passer<'l, B, C>,
) -> (First<'l, Frame, B>, bool) {
    guest::save(&mut frame.el1);
    let before = frame.into_raw();
    // SAFETY: the pointer came from this lease, which goes through it as it does on metal.
    let lease = unsafe { First::from_raw(before) };
    // SAFETY: as for a call.
    let passed = passer(unsafe { &mut *context }, lease);
    if passed.leaves == Leaves::Yes {
        return (passed.frame, true);
    }
    let is_other = !core::ptr::eq(before, &raw const *passed.frame);
    assert_eq!(is_other, passed.leaves == Leaves::Other, "the passer says whose frame it is");
    if is_other {
        guest::load(&passed.frame.el1);
    }
    (passed.frame, false)
}

/// Returns whether the vector hands `exit` to the handler of aborts.
fn is_abort(exit: &RawExit) -> bool {
    exit.vector == 0 && matches!(exit.esr >> 26 & 0x3f, 0x20 | 0x24)
}
