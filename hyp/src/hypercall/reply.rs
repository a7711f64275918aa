//! The exit: results and refusals become registers. Nothing else writes what a call returns.

use strato_abi::error::{Code, Error, Reason};
use strato_abi::regs::{Regs, Reply, Request};

use super::{CallError, Handle, Handler, Outcome, Short, event};
use crate::arch;
use crate::arch::frame::{Answered, Frame, Leave, Results};
use crate::machine::{Cx, Next};
use crate::timer::NEVER;
use crate::vcpu::Vcpu;

/// Answers call `R` from the vector: on the spot when it can, by leaving when a vCPU is to be woken, blocked or stopped, or
/// when there are more results than the vector carries.
#[inline(never)]
pub extern "C" fn answer<'a, R: Handle>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
) -> Answered<'a> {
    if !cx.vm.allows(R::CALL) {
        return refuse(cx, Error::of(Code::Denied, 0, Reason::NotAllowed, 0), 0);
    }
    match R::from_regs(&[x1, x2, x3, x4, x5, x6]).map_err(CallError::from).and_then(|request| request.handle(cx)) {
        Ok(Outcome::Reply(reply)) => {
            if R::Reply::REGS <= 3 && cx.wakes.vcpus == 0 {
                return stay(cx, &reply);
            }
            cx.next = put(cx, &reply);
            Answered::LEAVE
        }
        Ok(Outcome::Leave(next)) => {
            cx.next = next;
            Answered::LEAVE
        }
        Err(error) => {
            let (error, done) = error.to_abi();
            refuse(cx, error, done)
        }
    }
}

/// Returns the handlers of a call that has a short way.
pub const fn short<R: Handle>() -> [Handler; 2] {
    [answer_allowed::<R>, answer_short::<R>]
}

/// Answers call `R` as [`answer_short`] does, if the VM may make it. The short way stands in the text once, as it is long.
extern "C" fn answer_allowed<'a, R: Handle>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
) -> Answered<'a> {
    if cx.vm.allows(R::CALL) {
        answer_short::<R>(cx, x1, x2, x3, x4, x5, x6)
    } else {
        refuse(cx, Error::of(Code::Denied, 0, Reason::NotAllowed, 0), 0)
    }
}

/// Answers call `R`, which the VM may make, by its short way if that can, else by [`answer`]. It keeps nothing for the second, so it has no
/// frame to make and take down.
#[inline(never)]
extern "C" fn answer_short<'a, R: Handle>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
) -> Answered<'a> {
    let mut told = None;
    match R::short(&[x1, x2, x3, x4, x5, x6], cx) {
        Short::Done(Outcome::Reply(reply)) => return stay(cx, &reply),
        Short::Done(Outcome::Leave(next)) => return leave(cx, next),
        Short::Tell(_, _) if const { R::RAISES.is_none() } => {}
        Short::Tell(vm, vcpu) => {
            let is_told = match vm {
                Some(vm) => cx.wake(vm, vcpu),
                None => event::tell_self(cx, vcpu),
            };
            if is_told {
                return match R::RAISES {
                    None | Some(Next::Resume) => Answered::success(0),
                    Some(next) => leave(cx, next),
                };
            }
            told = Some(vcpu);
        }
        Short::Long => {}
    }
    arch::frame_here(); // on one path alone
    if R::RAISES.is_some() {
        tell_elsewhere::<R>(cx, x1, x2, x3, x4, x5, x6, told)
    } else {
        answer::<R>(cx, x1, x2, x3, x4, x5, x6)
    }
}

/// Leaves for `next`.
#[inline(always)]
fn leave<'a>(cx: &mut Cx<'_>, next: Next) -> Answered<'a> {
    if next == Next::Yield {
        return Answered::leave(Leave::Yield);
    }
    if next == Next::Wait(NEVER) {
        return Answered::leave(Leave::Wait);
    }
    if next == (Next::PassOn { waits: true }) {
        return Answered::leave(Leave::Signal);
    }
    cx.next = next;
    Answered::LEAVE
}

/// Ends the short way of a call that raises an event for a vCPU that is not made ready on the spot, or answers the call by [`answer`].
#[inline(never)]
extern "C" fn tell_elsewhere<'a, R: Handle>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
    told: Option<&Vcpu>,
) -> Answered<'a> {
    let Some(vcpu) = told else { return answer::<R>(cx, x1, x2, x3, x4, x5, x6) };
    let next = R::RAISES.unwrap_or(Next::Resume);
    if event::tell_elsewhere(cx, vcpu) && next == Next::Resume {
        return Answered::success(0);
    }
    cx.next = next; // what leaves has zeros in x0 to x17: success without results
    Answered::LEAVE
}

/// Returns success with the results of `reply`, at most three.
#[inline(always)]
fn stay<'a, P: Reply>(cx: &'a mut Cx<'_>, reply: &P) -> Answered<'a> {
    let mut rest = [0; 3];
    reply.put(&mut rest);
    let [x1, x2, x3] = rest;
    if P::REGS <= 1 {
        return Answered::success(x1);
    }
    cx.cpu.results = Results { x: [0, x1, x2, x3] };
    Answered::stored(&cx.cpu.results)
}

/// Keeps results for the way through the dispatcher.
fn put(cx: &mut Cx<'_>, reply: &impl Reply) -> Next {
    cx.cpu.reply = [0; 15];
    reply.put(&mut cx.cpu.reply);
    Next::Reply(0)
}

/// Keeps a refusal for the way through the dispatcher.
pub fn put_refusal(cx: &mut Cx<'_>, error: Error, done: u64) -> Next {
    cx.cpu.reply = [0; 15];
    if let Some(first) = cx.cpu.reply.first_chunk_mut::<2>() {
        *first = [error.detail.bits(), done];
    }
    Next::Reply((error.code as i64).cast_unsigned())
}

/// Returns a refusal.
#[cold]
#[inline(never)]
pub fn refuse<'a>(cx: &'a mut Cx<'_>, error: Error, done: u64) -> Answered<'a> {
    cx.cpu.results = Results { x: [(error.code as i64).cast_unsigned(), error.detail.bits(), done, 0] };
    Answered::stored(&cx.cpu.results)
}

/// Answers call `R` after a full exit, with all of x1 to x15 as arguments.
pub fn full<R: Handle>(cx: &mut Cx<'_>, frame: &Frame) -> Next {
    if !cx.vm.allows(R::CALL) {
        return put_refusal(cx, Error::of(Code::Denied, 0, Reason::NotAllowed, 0), 0);
    }
    let regs = frame.x.get(1..16).unwrap_or(&[]);
    match <R as Request>::from_regs(regs).map_err(CallError::from).and_then(|request| request.handle(cx)) {
        Ok(Outcome::Reply(reply)) => put(cx, &reply),
        Ok(Outcome::Leave(next)) => next,
        Err(error) => {
            let (error, done) = error.to_abi();
            put_refusal(cx, error, done)
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
