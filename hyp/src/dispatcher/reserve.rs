//! Reserve: what a budget means for the vCPUs that run by it. It is charged while one has the core; one that finds nothing left
//! waits, ready, for the next period. And how a vCPU comes to another reservation, or to another core.
//!
//! Called by the loop for vCPUs that are special, and by `service`. Costs those without a reservation nothing.

use super::{leave, service};
use crate::arch::epoch::Stay;
use crate::arch::frame::Frame;
use crate::arch::timer;
use crate::gic::Masked;
use crate::hypercall::follow_vcpu;
use crate::machine::{Cpu, Cx, Machine};
use crate::scheduler::{self, VcpuRef};
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vcpu::{Extras, Public, Vcpu};
use crate::vm::Vm;

/// Charges from now on the vCPU of `cx`, which is about to go on, to its reservation or to what is lent to it.
#[cold]
#[inline(never)]
pub fn begin(cx: &mut Cx<'_>) {
    let lent = cx.cpu.reserved.lent_to(cx.me);
    if let Some(place) = lent.or(cx.vcpu.public.reservation()) {
        let end = cx.cpu.reserved.begin(place, cx.me, timer::now());
        mask_low(cx.machine, cx.cpu, true);
        cx.cpu.set_deadline(Due::Reservation(place), end);
        cx.cpu.forget_armed(); // it may be armed for what is due for others
    }
}

/// Charges what has run until `now`. When that was all of the budget, nobody runs by it until the next period.
fn charge(machine: &Machine, cpu: &mut Cpu, now: u64) {
    let Some((place, Some(next))) = cpu.reserved.charge(&mut cpu.queue, now) else { return };
    cpu.reserved.end();
    mask_low(machine, cpu, false);
    cpu.set_deadline(Due::Reservation(place), next);
    if let Some(turn) = &mut cpu.turn {
        if !cpu.queue.contains(turn.vcpu) {
            cpu.turn = None;
        } else if turn.is_lent() {
            turn.until = 0; // the budget that came with it is used up
        }
    }
}

/// Charges nobody any more.
#[inline(never)]
fn end(machine: &Machine, cpu: &mut Cpu) {
    mask_low(machine, cpu, false);
    if let Some((place, moment)) = cpu.reserved.end() {
        cpu.set_deadline(Due::Reservation(place), moment);
    }
}

/// Has interrupts of devices wait, but for those of VMs that have a share of this core themselves, while reserved time runs.
#[inline]
fn mask_low(machine: &Machine, cpu: &mut Cpu, is_masked: bool) {
    if cpu.masks_low != is_masked {
        cpu.masks_low = is_masked;
        machine.gic.set_masked(if is_masked { Masked::Low } else { Masked::Nothing });
    }
}

/// The same as [`leave::settle`], for a vCPU that is special.
#[cold]
#[inline(never)]
pub fn settle(cx: &mut Cx<'_>, frame: &mut Frame) {
    charge(cx.machine, cx.cpu, timer::now());
    if cx.cpu.resident.is_none() {
        settle_loan(cx, timer::now());
        return end(cx.machine, cx.cpu); // it turned itself off, or goes to another core
    }
    let now = leave::choose_behind(cx);
    let was_lent = cx.cpu.reserved.lent_to(cx.me).is_some();
    settle_loan(cx, now);
    let goes_on = cx.cpu.turn.is_some_and(|turn| turn.vcpu == cx.me);
    if goes_on && was_lent == cx.cpu.reserved.lent_to(cx.me).is_some() {
        return;
    }
    end(cx.machine, cx.cpu);
    if goes_on {
        return;
    }
    leave::end(cx, now);
    if cx.cpu.turn.is_some() && cx.cpu.resident.take().is_some() {
        leave::save(cx.machine, cx.vm, cx.cpu, cx.me, frame, &mut cx.context);
    }
}

/// Charges `to`, which has just got the turn of the vCPU of `cx` together with its priority, to what the latter runs by.
pub fn lend(cx: &mut Cx<'_>, to: VcpuRef) {
    let Some(place) = cx.vcpu.public.reservation() else { return };
    if let Some(vcpu) = cx.vm.vcpu(to.vcpu()) {
        set_charged(vcpu, true);
        cx.cpu.reserved.lend(place, to);
    }
}

/// Gives the turn of the vCPU of `cx` to its sibling `to`, which waits for a budget of its own, if the former has one to lend. Returns
/// whether it did.
pub fn lend_held(cx: &mut Cx<'_>, to: VcpuRef) -> bool {
    let Some((own, level)) = cx.may_lend_to(to) else { return false };
    let Some(turn) = &mut cx.cpu.turn else { return false };
    if !scheduler::lend(&mut cx.cpu.queue, turn, to, level) {
        return false;
    }
    cx.cpu.reserved.release(own, to);
    lend(cx, to);
    true
}

/// Ends a loan whose turn is over at `now`: who had it runs by what is its own, which it may have to wait for.
fn settle_loan(cx: &mut Cx<'_>, now: u64) {
    let Some(who) = cx.cpu.reserved.borrower() else { return };
    if cx.cpu.turn.is_some_and(|turn| turn.vcpu == who && turn.is_lent()) {
        return;
    }
    cx.cpu.reserved.end_loan();
    let Some((_, vcpu)) = service::find(cx.machine, cx.stay, who) else { return };
    let own = vcpu.public.reservation();
    if who == cx.me {
        cx.context.extras.set(Extras::CHARGED, own.is_some());
    } else {
        set_charged(vcpu, own.is_some());
    }
    let held = own.filter(|_| cx.cpu.queue.contains(who));
    let Some((own, until)) = held.and_then(|own| Some((own, cx.cpu.reserved.holds_again(own, who, now)?))) else {
        return;
    };
    cx.cpu.set_deadline(Due::Reservation(own), until);
    cx.cpu.queue.remove(who);
    if cx.cpu.turn.is_some_and(|turn| turn.vcpu == who) {
        cx.cpu.turn = None;
        scheduler::pick(&mut cx.cpu.queue, &mut cx.cpu.turn, now, cx.machine.slice_ticks);
    }
}

/// Sets whether what `vcpu`, which is on no core, runs is charged.
fn set_charged(vcpu: &Vcpu, is_charged: bool) {
    if let Some((frame, mut context)) = vcpu.owned.lease() {
        context.extras.set(Extras::CHARGED, is_charged);
        frame.end(context);
    }
}

/// Returns whether a vCPU with a reservation, which has become ready at `now`, may be queued; if not, it waits for its budget.
#[cold]
#[inline(never)]
pub fn admits(cpu: &mut Cpu, vm: &Vm, public: &Public, who: VcpuRef, now: u64) -> bool {
    let held = public.reservation().and_then(|place| Some((place, cpu.reserved.holds(place, who, now)?)));
    if let Some((place, until)) = held {
        cpu.set_deadline(Due::Reservation(place), until);
        vm.note_ready(who.vcpu(), public, now, false);
    }
    held.is_none()
}

/// Looks at the reservation whose deadline has come: those that wait for its budget are queued.
pub fn renew(cpu: &mut Cpu, place: u8, now: u64) {
    let next = cpu.reserved.renew(place, &mut cpu.queue, now).unwrap_or(NEVER);
    cpu.set_deadline(Due::Reservation(place), next);
}

/// Takes a vCPU that is stopped out of what it ran by.
pub fn forget(cpu: &mut Cpu, public: &Public, who: VcpuRef) {
    if let Some(place) = public.reservation() {
        cpu.reserved.leave(place, who);
    }
    if cpu.reserved.lent_to(who).is_some() {
        cpu.reserved.end_loan();
    }
}

/// Makes the vCPU of `cx` run by another reservation, or by none: on this core at once, on another one when it has come there.
#[cold]
#[inline(never)]
pub fn schedule(cx: &mut Cx<'_>, frame: &mut Frame) {
    let [to, level, budget, period] = cx.cpu.kept();
    #[allow(clippy::cast_possible_truncation, reason = "each is masked to its width")]
    let [core, place, level] = [to, to >> 8, level].map(|word| (word & 0xff) as u8);
    let now = timer::now();
    charge(cx.machine, cx.cpu, now); // what it took is taken of the old one
    end(cx.machine, cx.cpu);
    forget(cx.cpu, &cx.vcpu.public, cx.me);
    cx.cpu.queue.remove(cx.me);
    cx.cpu.turn = None;
    let public = &cx.vcpu.public;
    public.leave();
    cx.vm.note_left(cx.me.vcpu(), public, now);
    public.run_by(place.checked_sub(1), level);
    public.supply_with(budget, period);
    cx.context.extras.set(Extras::CHARGED, public.reservation().is_some());
    if core == cx.cpu.number() {
        join(cx.machine, cx.cpu, cx.vm, cx.vcpu, cx.me);
        if let Some(place) = place.checked_sub(1) {
            cx.cpu.reserved.begin(place, cx.me, now); // the rest of this call is taken of the new one
        }
        return;
    }
    leave::save(cx.machine, cx.vm, cx.cpu, cx.me, frame, &mut cx.context);
    for due in [Due::Wait(cx.me.number()), Due::Local(cx.me.number())] {
        cx.cpu.set_deadline(due, NEVER); // they go along
    }
    service::leave_core(cx.machine, cx.cpu, cx.vm);
    cx.cpu.departing = Some((cx.me, core)); // its registers are still leased here
}

/// Gives the vCPU that leaves this core to the other one, now that nothing of it is in use here.
#[inline]
pub fn depart(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if let Some((who, core)) = cpu.departing.take()
        && let Some((_, vcpu)) = service::find(machine, stay, who)
    {
        vcpu.public.orders.move_to(cpu.number(), core);
        machine.send_mail(core, who);
    }
}

/// Takes in a vCPU that has come from another core.
#[cold]
#[inline(never)]
pub fn arrive(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    let Some((frame, mut context)) = vcpu.owned.lease() else { unreachable!("a vCPU moves when no core has it") };
    context.space.selector = cpu.trusted(context.space.selector);
    if context.local.is_parked {
        cpu.set_deadline(Due::Local(who.number()), vm.moment_of(context.local.deadline));
    }
    frame.end(context);
    follow_vcpu(machine, vm, who.vcpu());
    join(machine, cpu, vm, vcpu, who);
    vm.note_kept(&vcpu.public);
}

/// Queues a vCPU that is at home here from now on, or again.
fn join(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    enroll(cpu, &vcpu.public, who);
    service::make_ready(machine, cpu, vm, vcpu, who);
}

/// Makes a vCPU that begins to be this core's one of those who run by its reservation, if it has one.
#[cold]
#[inline(never)]
pub fn enroll(cpu: &mut Cpu, public: &Public, who: VcpuRef) {
    if let Some(place) = public.reservation() {
        let [budget, period] = public.supply.each_ref().map(|word| word.load(Ordering::Relaxed));
        cpu.reserved.set(place, (budget, period), timer::now());
        cpu.reserved.join(place, who, public.level.load(Ordering::Relaxed));
    }
}
