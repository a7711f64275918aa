//! The exit: results and refusals become registers. Nothing else writes what a call returns.

use strato_abi::error::{Code, Error, Reason};
use strato_abi::regs::{Regs, Reply, Request};

use super::{CallError, Handle, Outcome, decode};
use crate::arch::frame::{Answer, Frame, Results};
use crate::machine::{Cx, Next};

/// Answers call `R` from the vector: on the spot when it can, by leaving when a vCPU is to be woken, blocked or stopped, or
/// when there are more results than the vector carries.
pub extern "C" fn answer<R: Handle>(
    cx: &mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
    results: &mut Results,
) -> Answer {
    if !cx.vm.allows(R::CALL) {
        return refuse(results, Error::of(Code::Denied, 0, Reason::NotAllowed, 0), 0);
    }
    match decode::fast::<R>([x1, x2, x3, x4, x5, x6]).map_err(CallError::from).and_then(|request| request.handle(cx)) {
        Ok(Outcome::Reply(reply)) => {
            let regs = reply.to_regs();
            if R::Reply::REGS <= 3 && cx.wakes.vcpus == 0 {
                let [x1, x2, x3, ..] = regs;
                results.x = [0, x1, x2, x3];
                return Answer::Stay;
            }
            cx.next = Next::Reply(0, regs);
            Answer::Leave
        }
        Ok(Outcome::Leave(next)) => {
            cx.next = next;
            Answer::Leave
        }
        Err(error) => {
            let (error, done) = error.to_abi();
            refuse(results, error, done)
        }
    }
}

/// Writes a refusal for the vector.
#[cold]
#[inline(never)]
pub fn refuse(results: &mut Results, error: Error, done: u64) -> Answer {
    results.x = [(error.code as i64).cast_unsigned(), error.detail.bits(), done, 0];
    Answer::Stay
}

/// Answers call `R` after a full exit, with all of x1 to x15 as arguments.
pub fn full<R: Handle>(cx: &mut Cx<'_>, frame: &Frame) -> Next {
    if !cx.vm.allows(R::CALL) {
        return Next::refuse(Error::of(Code::Denied, 0, Reason::NotAllowed, 0), 0);
    }
    let regs: Regs = core::array::from_fn(|n| frame.read(n + 1));
    match <R as Request>::from_regs(&regs).map_err(CallError::from).and_then(|request| request.handle(cx)) {
        Ok(Outcome::Reply(reply)) => Next::Reply(0, reply.to_regs()),
        Ok(Outcome::Leave(next)) => next,
        Err(error) => {
            let (error, done) = error.to_abi();
            Next::refuse(error, done)
        }
    }
}

/// Writes an answer into the frame: x0, x1 to x15, and zero into x16 and x17.
pub fn write(frame: &mut Frame, status: u64, regs: &Regs) {
    frame.write(0, status);
    for (n, value) in (1..).zip(regs) {
        frame.write(n, *value);
    }
    frame.write(16, 0);
    frame.write(17, 0);
}

/// Writes the answer of a standard service: x0 to x3; SMCCC 1.1 and later keep x4 to x17.
pub fn write_service(frame: &mut Frame, x0_to_x3: &[u64; 4]) {
    for (n, value) in x0_to_x3.iter().enumerate() {
        frame.write(n, *value);
    }
}
