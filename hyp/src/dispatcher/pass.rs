//! Pass: the short way from a call that leaves to the vCPU that goes on, without leaving `arch::run`.
//!
//! Called by `arch::run` with the frame of the guest that made the call. Takes what is common: nothing but the call's own
//! outcome is to be done on this core. Everything else leaves, and goes the long way through `turn` with nothing done twice.

use core::mem;

use super::{enter, leave, next, service, timers};
use crate::arch::frame::{Leaves, Passed};
use crate::arch::{guest, timer};
use crate::hypercall::reply;
use crate::machine::{Cx, Next};
use crate::scheduler;
use crate::vcpu::{Context, FrameLease};

/// Applies what the call of the guest of `frame` leaves for, and chooses who goes on: the same guest, another one, or none.
pub extern "C" fn pass<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    if !is_quiet(cx, now) {
        return Passed { frame, leaves: Leaves::Yes };
    }
    // The most common first, and what stays in the registers without a table of jumps.
    if let Next::Yield = cx.next {
        next::give_way(cx);
    } else if let Next::Wait(deadline) = cx.next {
        next::wait(cx, deadline, now);
    } else if let Next::Resume = cx.next {
        // Success without results, which the frame holds: others are to be told.
    } else if let Next::Reply(status) = cx.next {
        reply::write(&mut frame, status, &cx.cpu.reply);
    } else if let Next::YieldTo(target) = cx.next {
        next::give_way_to(cx, target);
    } else {
        return Passed { frame, leaves: Leaves::Yes };
    }
    cx.next = Next::Resume; // what leaves from here on has been applied
    next::tell_all(cx);
    scheduler::pick(&mut cx.cpu.queue, &mut cx.cpu.turn, now, cx.machine.slice_ticks);
    let Some(turn) = cx.cpu.turn else { return Passed { frame, leaves: Leaves::Yes } };
    if turn.vcpu == cx.me {
        enter::prepare(cx, &mut frame, &turn, now);
        return Passed { frame, leaves: Leaves::No };
    }
    // The table of handlers, which `run` keeps, is that of a VM that may make every call, or of one that may not.
    let found = service::find(cx.machine, cx.stay, turn.vcpu).filter(|(vm, _)| vm.is_open == cx.vm.is_open);
    let Some((vm, vcpu)) = found else { return Passed { frame, leaves: Leaves::Yes } };
    leave::end(cx, now);
    // `run` has saved what the frame holds; there is no more of it in the registers (`is_quiet`), or the virtual timer.
    if cx.context.local.is_used {
        timers::park_local(cx.cpu, cx.me, &mut cx.context);
    }
    let Some((to, context)) = vcpu.owned.lease() else { unreachable!("a vCPU runs on its home core alone") };
    mem::replace(&mut frame, to).end(mem::replace(&mut cx.context, context));
    (cx.vm, cx.vcpu, cx.me) = (vm, vcpu, turn.vcpu);
    enter::begin(cx, now);
    enter::load(cx);
    enter::finish(cx, &mut frame, &turn, now);
    Passed { frame, leaves: Leaves::No }
}

/// Returns whether this core has nothing to do but what the call says: no letter, no deadline that has come, no VM to give
/// back, and nothing in its registers that takes longer to move.
#[inline(always)]
fn is_quiet(cx: &Cx<'_>, now: u64) -> bool {
    !cx.machine.mail_of(cx.cpu).is_full()
        && now < cx.cpu.deadlines.earliest().0
        && cx.cpu.reaping == 0
        && !cx.context.is_special
        && guest::fp_traps()
}
