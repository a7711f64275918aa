//! Timers: what is done when one is due, and the virtual timer that goes with a vCPU.

use strato_abi::Handle;

use super::service;
use crate::arch::epoch::Stay;
use crate::arch::{guest, timer};
use crate::machine::{Cpu, Cx, Machine};
use crate::scheduler::VcpuRef;
use crate::timer::{Due, NEVER, timer_of};
use crate::vcpu::Context;
use crate::vcpu::timers::Expiry;
use crate::vm::Vm;

/// Raises what the timer in `slot` of the VM in `place` is to raise, and sets its next deadline.
pub fn expire(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, (place, slot): (u8, u8), now: u64) {
    let found = machine.vms.get(usize::from(place)).and_then(|vm| vm.get(stay));
    let expiry = found.and_then(|vm| Some((vm, vm.timers()?.lock_leaf().expire(slot, cpu.number(), now)?)));
    let next = expiry.as_ref().map_or(NEVER, |(_, expiry)| expiry.next);
    cpu.set_deadline(Due::Timer { vm: place, slot }, next);
    if let Some((vm, expiry)) = expiry {
        raise(machine, cpu, vm, expiry.port);
    }
}

/// Raises the port of the virtual timer of vCPU `number`, which has expired.
pub fn expire_local(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, number: u16) {
    cpu.set_deadline(Due::Local(number), NEVER);
    let found = VcpuRef::from_number(number).and_then(|who| service::find(machine, stay, who));
    if let Some((vm, vcpu)) = found {
        raise(machine, cpu, vm, vcpu.public.local());
    }
}

/// What the short way from the vector leaves undone.
pub enum Left {
    /// The interrupt is none of a timer.
    Irq,
    /// What is due is not for the VM that has the core, or there is more to do.
    Due,
    /// The first deadline is an old one.
    Old,
    /// This port is not raised as simply.
    Raise(Handle),
}

/// Serves the virtual timer of the vCPU that has the core, from the vector.
#[inline(always)]
pub fn serve_local(cx: &Cx<'_>) -> Result<(), Left> {
    if !timer::mask_local() {
        return Ok(()); // turned off since
    }
    deliver(cx, cx.vm, cx.vcpu.public.local())
}

/// Ticks by which a timer is so late that its VM has more of them than it can be interrupted for one by one: without end, it would keep the
/// core from itself and from its equals.
const LATE: u64 = 4096;

/// Serves the timer that is due first, from the vector, when it is one of the VM that has the core.
#[inline(always)]
pub fn serve(cx: &mut Cx<'_>) -> Result<(), Left> {
    let (cpu, vm, me) = (&mut *cx.cpu, cx.vm, cx.me);
    let (deadline, place) = cpu.deadlines.earliest();
    let now = timer::now();
    let Some(slot) = timer_of(place, me.vm()) else { return Err(Left::Due) };
    // One that is not due, or that is late since there are many: the loop serves these in one go, has them rest, and ends slices.
    if now.wrapping_sub(deadline) >= LATE || cpu.reaping != 0 {
        return Err(Left::Due);
    }
    let Some(timers) = vm.timers() else { return Err(Left::Due) };
    let expiry = timers.lock_leaf().expire(slot, cpu.number(), now);
    let Some(Expiry { port, next }) = expiry else { return Err(Left::Old) };
    put_off(cpu, me, next);
    deliver(cx, vm, port)
}

/// Sets the first deadline anew, and arms the timer for what is first then, while the vCPU `me` has the core.
#[inline(always)]
fn put_off(cpu: &mut Cpu, me: VcpuRef, deadline: u64) {
    let mut first = cpu.deadlines.put_off(deadline);
    if cpu.queue.is_shared(me) {
        first = first.min(cpu.turn.as_ref().map_or(NEVER, |turn| turn.until));
    }
    cpu.arm_anew(first);
}

/// Raises `port` of the VM that has the core; its guest takes the upcall as it goes on.
#[inline(always)]
fn deliver(cx: &Cx<'_>, vm: &Vm, port: Handle) -> Result<(), Left> {
    if vm.raise_own(port, cx.vcpu, || guest::set_line(true)) { Ok(()) } else { Err(Left::Raise(port)) }
}

/// Does what is left of a timer of the VM that has the core. Returns whether the guest goes on; if not, the top of the loop sees to what
/// is due.
pub fn finish(cx: &mut Cx<'_>, left: Left) -> bool {
    match left {
        Left::Irq | Left::Due => {}
        Left::Old => {
            put_off(cx.cpu, cx.me, NEVER);
            return true;
        }
        Left::Raise(port) => {
            let told = if is_open(cx.vm, port) { cx.vm.raise_again(port.index()) } else { None };
            let Some(vcpu) = told else { return true };
            if vcpu == cx.me.vcpu() {
                cx.vm.refresh_line(cx.vcpu);
                return true;
            }
            cx.wakes.set(cx.me.vm(), 1 << (vcpu & 7));
        }
    }
    false
}

/// Returns whether `port` is an open one; whoever has its number after it was closed gets nothing.
#[inline(always)]
fn is_open(vm: &Vm, port: Handle) -> bool {
    vm.ports.get(usize::from(port.index())).is_some_and(|entry| entry.read().is_of(port))
}

/// Raises `port` of `vm` if it is open.
fn raise(machine: &Machine, cpu: &mut Cpu, vm: &Vm, port: Handle) {
    if is_open(vm, port)
        && let Some(vcpu) = vm.raise(port.index())
        && let Some(who) = VcpuRef::new(vm.place, vcpu)
    {
        service::tell(machine, cpu, vm, who);
    }
}

/// Puts the virtual timer of `who`, which has the core, on it. One that expired meanwhile is masked.
#[cold]
#[inline(never)]
pub fn load_local(cpu: &mut Cpu, who: VcpuRef, context: &mut Context) {
    let due = Due::Local(who.number());
    let local = &mut context.local;
    if core::mem::take(&mut local.is_parked) && !cpu.has_deadline(due) {
        local.control |= timer::LOCAL_MASK;
    }
    cpu.set_deadline(due, NEVER);
    timer::load_local(local.control, local.deadline);
}

/// Takes the virtual timer of `who`, a vCPU of `vm`, off the core; its deadline stands among those of the core until it comes back.
#[cold]
#[inline(never)]
pub fn park_local(cpu: &mut Cpu, vm: &Vm, who: VcpuRef, context: &mut Context) {
    let local = &mut context.local;
    (local.control, local.deadline) = timer::save_local();
    if local.control & (timer::LOCAL_ENABLE | timer::LOCAL_MASK) == timer::LOCAL_ENABLE {
        let moment = vm.moment_of(local.deadline);
        local.is_parked = moment != NEVER; // one that never comes is not found to have expired either
        cpu.set_deadline(Due::Local(who.number()), moment);
    }
}
