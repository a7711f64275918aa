//! Straight: what is most frequent when the core passes from one vCPU to another of the same manner, in one go.
//!
//! Called by the passers of [`pass`](super::pass), of which each knows what its call leaves for. Nothing here needs a stack frame; what is not
//! that simple is a [`Bend`], behind which the long ways go on.

use core::mem;

use super::{next, service};
use crate::arch::epoch::Stay;
use crate::arch::{guest, timer};
use crate::machine::{Cx, Machine, name_of};
use crate::scheduler::{self, Turn, VcpuRef};
use crate::sync::Ordering;
use crate::vcpu::{Extras, FrameLease, Vcpu};
use crate::vm::{Manner, Vm};

/// Where the straight way ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Bend {
    /// With nothing done of a call that yields.
    Yield,
    /// Of one that waits.
    Wait,
    /// Of one by which somebody takes over.
    Signal,
    /// Of an interrupt.
    Interrupted,
    /// At one to whom this core goes in another manner: what was asked for has been applied.
    Applied,
    /// The same where nobody else is ready.
    Alone,
    /// At a guest that comes with more than its frame.
    Arrived,
    /// Where no guest can lead: a lease is not where it belongs.
    Lost,
}

/// Gives the core to the next equal of the vCPU of `cx`. Returns who that is, to whom this core [goes over](go_over).
#[inline(always)]
pub(super) fn give_way<'s>(cx: &mut Cx<'s>, now: u64) -> Result<(&'s Vm, &'s Vcpu), Bend> {
    let (cpu, all, manner) = (&mut *cx.cpu, cx.machine, cx.vm.manner);
    if cx.context.extras.intersects(Extras::BUSY) {
        return Err(Bend::Yield);
    }
    let Some(turn) = &mut cpu.turn else { return Err(Bend::Yield) };
    let given = scheduler::give_way(&mut cpu.queue, turn, now, all.slice_ticks);
    let Some(Turn { vcpu: who, .. }) = given else { return Err(Bend::Yield) };
    lose(cx.vm, cx.vcpu, cx.me, now);
    find(all, cx.stay, who, manner)
}

/// Blocks the vCPU of `cx` until an event, and goes over to the next one.
#[inline(always)]
pub(super) fn wait<'s>(cx: &mut Cx<'s>, frame: &mut FrameLease<'s>, now: u64) -> Result<(), Bend> {
    let (cpu, all, manner, context) = (&mut *cx.cpu, cx.machine, cx.vm.manner, &mut *cx.context);
    if !context.extras.is_empty() {
        return Err(Bend::Wait);
    }
    let Some(turn) = &mut cpu.turn else { return Err(Bend::Wait) };
    let own = *turn;
    if own.is_lent() || !next::block_until_event(cx.vm, cx.vcpu, cx.me, now) {
        return Err(Bend::Wait);
    }
    context.extras = Extras::WAITING;
    let Some(next) = scheduler::leave(&mut cpu.queue, own, now, all.slice_ticks) else {
        cpu.turn = None;
        return Err(Bend::Alone);
    };
    *turn = next;
    cpu.arm_slice(next.until); // for one who yields it is armed for an earlier one
    let who = next.vcpu;
    let (vm, vcpu) = find(all, cx.stay, who, manner)?;
    go_over(cx, frame, now, (vm, vcpu), who)
}

/// Blocks the vCPU of `cx` until an event, and goes over to its heir.
#[inline(always)]
pub(super) fn signal<'s>(cx: &mut Cx<'s>, frame: &mut FrameLease<'s>, now: u64) -> Result<(), Bend> {
    let (cpu, all, context) = (&mut *cx.cpu, cx.machine, &mut *cx.context);
    if !context.extras.is_empty() {
        return Err(Bend::Signal);
    }
    let Some((vm, vcpu)) = cx.heir.filter(|(vm, _)| vm.manner.is_like(cx.vm.manner)) else {
        return Err(Bend::Signal);
    };
    let Some(turn) = &mut cpu.turn else { return Err(Bend::Signal) };
    if !next::block_until_event(cx.vm, cx.vcpu, cx.me, now) {
        return Err(Bend::Signal);
    }
    context.extras = Extras::WAITING;
    // Nobody equal is ready: the timer need not be armed for the end of the slice.
    let who = name_of(vcpu);
    scheduler::replace(&mut cpu.queue, turn, who, now, all.slice_ticks);
    vm.note_ready(who.vcpu(), &vcpu.public, now, true);
    go_over(cx, frame, now, (vm, vcpu), who)
}

/// Takes the core from the vCPU of `cx`, which was interrupted. Returns its heir, to whom this core [goes over](go_over).
#[inline(always)]
pub(super) fn give_up<'s>(cx: &mut Cx<'s>, now: u64) -> Result<(&'s Vm, &'s Vcpu), Bend> {
    if cx.context.extras.intersects(Extras::BUSY) {
        return Err(Bend::Interrupted);
    }
    let Some((vm, vcpu)) = cx.heir.filter(|(vm, _)| vm.manner.is_like(cx.vm.manner)) else {
        return Err(Bend::Interrupted);
    };
    lose(cx.vm, cx.vcpu, cx.me, now);
    Ok((vm, vcpu))
}

/// Returns `who`, which stands in this core's queue, if this core goes over to it from a VM of `manner` with nothing to choose anew.
#[inline(always)]
fn find<'s>(all: &'s Machine, stay: &'s Stay<'_>, who: VcpuRef, manner: Manner) -> Result<(&'s Vm, &'s Vcpu), Bend> {
    let found = service::find_queued(all, stay, who);
    found.filter(|(vm, _)| vm.manner.is_like(manner)).ok_or(Bend::Applied)
}

/// Says that `vcpu`, which is `me` of `vm` and stays ready, has lost the core.
#[inline(always)]
fn lose(vm: &Vm, vcpu: &Vcpu, me: VcpuRef, now: u64) {
    let public = &vcpu.public;
    public.give_way();
    vm.note_left(me.vcpu(), public, now);
    if public.has_upcalls.load(Ordering::Relaxed) {
        guest::clear_line(); // of one that blocks it is low
    }
}

/// Goes over from the vCPU of `cx`, whose state is settled, to `vcpu` of `vm`, which is `who` and has the turn.
#[inline(always)]
pub(super) fn go_over<'s>(
    cx: &mut Cx<'s>,
    frame: &mut FrameLease<'s>,
    now: u64,
    (vm, vcpu): (&'s Vm, &'s Vcpu),
    who: VcpuRef,
) -> Result<(), Bend> {
    let public = &vcpu.public;
    let Some((to, context)) = vcpu.owned.lease() else { return Err(Bend::Lost) };
    if !frame.is_lent_with(&cx.context) {
        return Err(Bend::Lost);
    }
    let (extras, selector) = (context.extras, context.space.selector);
    mem::replace(frame, to).end(mem::replace(&mut cx.context, context));
    (cx.vm, cx.vcpu, cx.me) = (vm, vcpu, who);
    timer::stop_local();
    let base = vm.time_base();
    timer::set_offset(base);
    public.run();
    vm.note_running(who.vcpu(), public, now, base);
    // The claim of a VMID has a fence: a sender sees that we run, or we see its line below; pairs with `Vm::raise`.
    if !cx.cpu.claim(&cx.machine.vmids, selector) {
        return Err(Bend::Arrived);
    }
    if extras == Extras::WAITING {
        let Some(selector) = vm.area.take_once(who.vcpu(), &public.sink) else { return Err(Bend::Arrived) };
        cx.context.extras = Extras::empty();
        [_, frame.x[1], frame.x[2], ..] = [0, selector, now.wrapping_sub(base)];
    } else if extras.intersects(Extras::BUSY) {
        return Err(Bend::Arrived);
    }
    vm.raise_line(vcpu);
    Ok(())
}
