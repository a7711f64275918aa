//! Pass: the short way from a call that leaves to the vCPU that goes on, without leaving `arch::run`.
//!
//! Called by `arch::run` with the frame of the guest that made the call, which holds its registers of EL1 too. First comes what is
//! most frequent, straight and without a stack frame: a vCPU yields or waits, and one of the same manner goes on. What is not that
//! goes by [`decide`], and what that does not know leaves, and goes the long way through `turn` with nothing done twice.
//!
//! Neither letters nor deadlines are looked at on the straight way: whoever puts a letter sends an interrupt behind it, and the
//! timer is never armed for later than the first deadline or the end of the slice, so that both come as the guest is entered.

use core::mem;

use super::{enter, leave, next, service, timers};
use crate::arch::frame::{Leaves, Passed};
use crate::arch::{self, timer};
use crate::hypercall::reply;
use crate::machine::{self, Cx, Next};
use crate::scheduler::{self, VcpuRef};
use crate::timer::NEVER;
use crate::vcpu::{Context, Extras, FrameLease};

/// Applies what the call of the guest of `frame` leaves for, and chooses who goes on: the same guest, another one, or none.
pub extern "C" fn pass<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>) -> Passed<'s, Context> {
    let now = timer::now();
    match straight(cx, &mut frame, now) {
        Ok(()) => Passed { frame, leaves: Leaves::Other },
        Err(bend) => {
            arch::frame_here(); // on no other path
            further(cx, frame, now, bend)
        }
    }
}

/// Goes as far as the straight way leads.
#[inline(always)]
fn straight<'s>(cx: &mut Cx<'s>, frame: &mut FrameLease<'s>, now: u64) -> Result<(), Bend> {
    let (cpu, all, manner) = (&mut *cx.cpu, cx.machine, cx.vm.manner);
    if !cx.context.extras.is_empty() {
        return Err(Bend::Undecided);
    }
    let Some(turn) = &mut cpu.turn else { return Err(Bend::Undecided) };
    let (who, found) = if cx.next == Next::Yield {
        let given = scheduler::give_way(&mut cpu.queue, turn, now, all.slice_ticks);
        let Some(turn) = given else { return Err(Bend::Undecided) };
        cx.vcpu.public.give_way();
        cx.vm.note_left(cx.me.vcpu(), &cx.vcpu.public, now);
        (turn.vcpu, service::find_queued(all, cx.stay, turn.vcpu))
    } else if cx.next == Next::Wait(NEVER) {
        let is_plain = cx.wakes.vcpus == 0 && !turn.is_lent();
        if !is_plain || !next::block_until_event(cx.vm, cx.vcpu, cx.me, now) {
            return Err(Bend::Undecided);
        }
        cx.context.extras = Extras::WAITING;
        let next = scheduler::leave(&mut cpu.queue, &mut cpu.turn, now, all.slice_ticks);
        let Some(turn) = next else {
            return Err(Bend::Alone);
        };
        cpu.arm_slice(turn.until); // for one who yields it is armed for an earlier one
        (turn.vcpu, service::find_queued(all, cx.stay, turn.vcpu))
    } else if let Next::PassOn { waits } = cx.next {
        let Some((vm, vcpu)) = cx.heir else { return Err(Bend::Undecided) };
        if waits {
            if !next::block_until_event(cx.vm, cx.vcpu, cx.me, now) {
                return Err(Bend::Undecided);
            }
            cx.context.extras = Extras::WAITING;
            // Nobody equal is ready: the timer need not be armed for the end of the slice.
            scheduler::replace(&mut cpu.queue, turn, VcpuRef::from_masked(vcpu.public.name), now, all.slice_ticks);
            vm.note_ready(turn.vcpu.vcpu(), &vcpu.public, now, true);
        } else {
            cx.vcpu.public.give_way();
            cx.vm.note_left(cx.me.vcpu(), &cx.vcpu.public, now);
        }
        (turn.vcpu, Some((vm, vcpu)))
    } else {
        return Err(Bend::Undecided);
    };
    let Some((vm, vcpu)) = found.filter(|(vm, _)| vm.manner.is_like(manner)) else {
        if let Some((_, vcpu)) = found {
            vcpu.public.wake_plain(); // whoever takes over is still blocked
        }
        if cx.next != (Next::PassOn { waits: false }) {
            cx.next = Next::Resume; // which has been applied
        }
        return Err(Bend::Undecided);
    };
    let Some((to, context)) = vcpu.owned.lease() else { return Err(Bend::Lost) };
    if !frame.is_lent_with(&cx.context) {
        return Err(Bend::Lost);
    }
    let (extras, selector) = (context.extras, context.space.selector);
    mem::replace(frame, to).end(mem::replace(&mut cx.context, context));
    (cx.vm, cx.vcpu, cx.me) = (vm, vcpu, who);
    cpu.resident = machine::resident(vm, who);
    timer::stop_local();
    let base = vm.time_base();
    timer::set_offset(base);
    vcpu.public.run();
    vm.note_running(who.vcpu(), &vcpu.public, now, base);
    // The claim of a VMID has a fence: a sender sees that we run, or we see its line below; pairs with `Vm::raise`.
    if !cpu.claim(&all.vmids, selector) {
        return Err(Bend::Arrived);
    }
    if !extras.is_empty() {
        if extras != Extras::WAITING {
            return Err(Bend::Arrived);
        }
        let Some(selector) = vm.area.take_once(who.vcpu(), &vcpu.public.sink) else {
            return Err(Bend::Arrived);
        };
        cx.context.extras = Extras::empty();
        [_, frame.x[1], frame.x[2], ..] = [0, selector, now.wrapping_sub(base)];
    }
    vm.refresh_line(vcpu);
    Ok(())
}

/// Where the straight way ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Bend {
    /// Before who goes on was settled, or at one to whom this core goes in another manner.
    Undecided,
    /// Where nobody else is ready: what was asked for has been applied.
    Alone,
    /// At a guest that comes with more than its frame.
    Arrived,
    /// Where no guest can lead: a lease is not where it belongs.
    Lost,
}

/// Goes on where the straight way ended.
#[cold]
#[inline(never)]
extern "C" fn further<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>, now: u64, bend: Bend) -> Passed<'s, Context> {
    match bend {
        Bend::Alone => {
            cx.next = Next::Resume;
            Passed { frame, leaves: Leaves::Yes }
        }
        Bend::Arrived => arrive(cx, frame, now),
        Bend::Lost => unreachable!("a vCPU runs on its home core alone, and its halves are lent together"),
        Bend::Undecided => decide(cx, frame, now),
    }
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

/// Does the same as [`pass`] for whatever leaves, if nothing but its own outcome is to be done on this core.
#[inline(never)]
pub fn decide<'s>(cx: &mut Cx<'s>, mut frame: FrameLease<'s>, now: u64) -> Passed<'s, Context> {
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
