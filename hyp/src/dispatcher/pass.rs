//! Pass: the short way from a call that leaves to the vCPU that goes on, without leaving `arch::run`.
//!
//! Called by `arch::run` with the frame of the guest that made the call, which holds its registers of EL1 too: a passer for each thing that
//! a call leaves for. First comes what is most frequent, straight and without a stack frame: a vCPU yields or waits, and one of the same
//! manner goes on. What is not that goes by [`decide`], and what that does not know leaves, and goes the long way through `turn` with nothing
//! done twice.
//!
//! Neither letters nor deadlines are looked at on the straight way: whoever puts a letter sends an interrupt behind it, and the
//! timer is never armed for later than the first deadline or the end of the slice, so that both come as the guest is entered.

use core::mem;

use super::straight::{self, Bend};
use super::{enter, leave, next, service, timers};
use crate::arch::frame::{Leaves, Passed, Passers};
use crate::arch::{self, timer};
use crate::hypercall::reply;
use crate::machine::{Cx, Next, name_of};
use crate::scheduler;
use crate::timer::NEVER;
use crate::vcpu::{Context, Extras, FrameLease, Vcpu};
use crate::vm::Vm;

/// Returns who is asked after what.
pub const fn passers<'s>() -> Passers<'s, Context, Cx<'s>> {
    Passers { told, yields, waits, signals, interrupted }
}

/// After a call for which what follows stands in the context.
extern "C" fn told<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>) -> Passed<'s, Context> {
    decide(cx, frame, timer::now())
}

/// After a call by which the vCPU gives way to an equal.
extern "C" fn yields<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    match straight::give_way(cx, now) {
        Ok((vm, vcpu)) => over(cx, frame, now, vm, vcpu),
        Err(bend) => bent(cx, frame, now, bend),
    }
}

/// After a call by which the vCPU waits for an event alone.
extern "C" fn waits<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    match straight::wait(cx, &mut frame, now) {
        Ok(()) => Passed { frame, leaves: Leaves::Other },
        Err(bend) => bent(cx, frame, now, bend),
    }
}

/// The same where whom the call's event woke takes over: see [`Cx::takes_over`].
extern "C" fn signals<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    match straight::signal(cx, &mut frame, now) {
        Ok(()) => Passed { frame, leaves: Leaves::Other },
        Err(bend) => bent(cx, frame, now, bend),
    }
}

/// After an interrupt, by which somebody else has got the turn.
extern "C" fn interrupted<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    match straight::give_up(cx, now) {
        Ok((vm, vcpu)) => over(cx, frame, now, vm, vcpu),
        Err(bend) => bent(cx, frame, now, bend),
    }
}

/// Goes over to `vcpu`, as [`straight::go_over`] does, for those ways that have room for a jump: it is long.
#[inline(never)]
extern "C" fn over<'s>(
    cx: &mut Cx<'s>,
    mut frame: FrameLease<'s>,
    now: u64,
    vm: &'s Vm,
    vcpu: &'s Vcpu,
) -> Passed<'s, Context> {
    match straight::go_over(cx, &mut frame, now, (vm, vcpu), name_of(vcpu)) {
        Ok(()) => Passed { frame, leaves: Leaves::Other },
        Err(bend) => bent(cx, frame, now, bend),
    }
}

/// Ends the straight way early.
#[inline(always)]
fn bent<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>, now: u64, bend: Bend) -> Passed<'s, Context> {
    arch::frame_here(); // on no other path
    further(cx, frame, now, bend)
}

/// Goes on where the straight way ended.
#[cold]
#[inline(never)]
extern "C" fn further<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>, now: u64, bend: Bend) -> Passed<'s, Context> {
    cx.next = match bend {
        Bend::Yield => Next::Yield,
        Bend::Wait => Next::Wait(NEVER),
        Bend::Signal => Next::PassOn { waits: true },
        Bend::Interrupted => Next::PassOn { waits: false },
        Bend::Applied => Next::Resume,
        Bend::Alone => return Passed { frame, leaves: Leaves::Yes },
        Bend::Arrived => return arrive(cx, frame, now),
        Bend::Lost => unreachable!("a vCPU runs on its home core alone, and its halves are lent together"),
    };
    decide(cx, frame, now)
}

/// Does the rest for a vCPU that has got the core and comes with more than its frame.
fn arrive<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>, now: u64) -> Passed<'s, Context> {
    enter::load(cx);
    enter::tell_stolen(cx);
    if let Some(turn) = cx.cpu.turn {
        enter::finish(cx, &mut frame, &turn, now);
    }
    Passed { frame, leaves: Leaves::Other }
}

/// Does the same as the passers for whatever leaves, if nothing but its own outcome is to be done on this core.
#[inline(never)]
pub fn decide<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>, now: u64) -> Passed<'s, Context> {
    cx.cpu.resident = cx.resident(); // those who got the core since `run` began did not say it
    if !is_quiet(cx, now) {
        return Passed { frame, leaves: Leaves::Yes };
    }
    match cx.next {
        Next::Yield => next::give_way(cx),
        Next::Wait(deadline) => next::wait(cx, deadline, now),
        Next::PassOn { waits: true } => next::signal(cx, now),
        Next::PassOn { waits: false } => {} // the turn says it
        Next::Resume => {}                  // success without results, which the frame holds: others are to be told
        Next::Reply(status) => reply::write(&mut frame, status, &cx.cpu.reply),
        Next::YieldTo(target) => next::give_way_to(cx, target),
        Next::Service | Next::Halt | Next::Schedule | Next::Off => {
            return Passed { frame, leaves: Leaves::Yes };
        }
        Next::Exit(_) | Next::Reboot | Next::Crash | Next::Stop => {
            return Passed { frame, leaves: Leaves::Yes };
        }
    }
    cx.next = Next::Resume; // what leaves from here on has been applied
    next::tell_all(cx);
    scheduler::pick(&mut cx.cpu.queue, &mut cx.cpu.turn, now, cx.machine.slice_ticks);
    let Some(turn) = cx.cpu.turn else { return Passed { frame, leaves: Leaves::Yes } };
    if turn.vcpu == cx.me {
        enter::prepare(cx, &mut frame, &turn, now);
        return Passed { frame, leaves: Leaves::Same };
    }
    // The table of handlers, which `run` keeps, is that of a VM that may make every call, or of one that may not.
    let found = service::find(cx.machine, cx.stay, turn.vcpu).filter(|(vm, _)| vm.is_open == cx.vm.is_open);
    let Some((vm, vcpu)) = found else { return Passed { frame, leaves: Leaves::Yes } };
    leave::end(cx, now);
    // `run` has saved what the frame holds; there is no more of it in the registers (`is_quiet`), or the virtual timer.
    if cx.context.extras.contains(Extras::LOCAL) {
        timers::park_local(cx.cpu, cx.vm, cx.me, &mut cx.context);
    }
    let Some((to, context)) = vcpu.owned.lease() else { unreachable!("a vCPU runs on its home core alone") };
    mem::replace(&mut frame, to).end(mem::replace(&mut cx.context, context));
    (cx.vm, cx.vcpu, cx.me) = (vm, vcpu, turn.vcpu);
    enter::begin(cx, now);
    enter::load(cx);
    enter::finish(cx, &mut frame, &turn, now);
    Passed { frame, leaves: Leaves::Other }
}

/// Returns whether this core has nothing to do but what the call says: no letter, no deadline that has come, no VM to give
/// back, and nothing in its registers that takes longer to move.
#[inline(always)]
fn is_quiet(cx: &Cx<'_>, now: u64) -> bool {
    !cx.machine.mail_of(cx.cpu).is_full()
        && now < cx.cpu.deadlines.earliest().0
        && cx.cpu.reaping == 0
        && !cx.context.extras.intersects(Extras::SPECIAL.union(Extras::FP).union(Extras::DEVICES))
}
