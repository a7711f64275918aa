//! Timers: what is done when one is due, and the virtual timer that goes with a vCPU.

use strato_abi::Handle;

use super::service;
use crate::arch::epoch::Stay;
use crate::arch::frame::Answer;
use crate::arch::timer;
use crate::machine::{Cpu, Cx, Machine};
use crate::scheduler::{self, VcpuRef};
use crate::timer::{Due, NEVER};
use crate::vcpu::Context;
use crate::vm::Vm;
use crate::vm::records::Cause;

/// Raises what the timer in `slot` of the VM in `place` is to raise, and sets its next deadline.
pub fn expire(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, (place, slot): (u8, u8), now: u64) {
    let found = machine.vms.get(usize::from(place)).and_then(|vm| vm.get(stay));
    let expiry = found.and_then(|vm| Some((vm, vm.timers().lock_leaf().expire(slot, cpu.number(), now)?)));
    let next = expiry.as_ref().and_then(|(_, expiry)| expiry.next).unwrap_or(NEVER);
    cpu.deadlines.set(Due::Timer { vm: place, slot }.place(), next);
    if let Some((vm, expiry)) = expiry {
        raise(machine, cpu, vm, expiry.port);
    }
}

/// Raises the port of the virtual timer of vCPU `number`, which has expired.
pub fn expire_local(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, number: u16) {
    cpu.deadlines.set(Due::Local(number).place(), NEVER);
    let found = VcpuRef::from_number(number).and_then(|who| service::find(machine, stay, who));
    if let Some((vm, vcpu)) = found {
        raise(machine, cpu, vm, vcpu.public.local());
    }
}

/// Serves the virtual timer of the vCPU that has the core, from the vector.
#[inline]
pub fn serve_local(cx: &mut Cx<'_>) -> Answer {
    if !timer::mask_local() {
        return Answer::Stay; // turned off since
    }
    let port = cx.vcpu.public.local();
    deliver(cx, port)
}

/// Serves the timer that is due first, from the vector, when it is one of the VM that has the core.
#[inline]
pub fn serve(cx: &mut Cx<'_>) -> Answer {
    let (deadline, place) = cx.cpu.deadlines.earliest();
    let now = timer::now();
    let due = Due::at(place);
    let (Due::Timer { vm, slot }, Some(turn)) = (due, cx.cpu.turn) else { return stop(cx) };
    if vm != cx.me.vm() || deadline > now || cx.cpu.reaping != 0 {
        return stop(cx);
    }
    let expiry = cx.vm.timers().lock_leaf().expire(slot, cx.cpu.number(), now);
    cx.cpu.deadlines.set(place, expiry.and_then(|expiry| expiry.next).unwrap_or(NEVER));
    let next = cx.cpu.deadlines.earliest().0.min(scheduler::slice_end(&cx.cpu.queue, &turn));
    cx.cpu.arm(next);
    timer::synchronize();
    expiry.map_or(Answer::Stay, |expiry| deliver(cx, expiry.port))
}

/// Leaves a deadline to the top of the loop.
#[cold]
fn stop(cx: &mut Cx<'_>) -> Answer {
    timer::disarm(); // the line falls before the interrupt is ended
    cx.cpu.armed = NEVER;
    Answer::Leave
}

/// Raises `port` of the VM that has the core. The guest is left when somebody else is to be told.
#[inline(always)]
fn deliver(cx: &mut Cx<'_>, port: Handle) -> Answer {
    let told = if is_open(cx.vm, port) { cx.vm.raise(port.index()) } else { None };
    let Some(vcpu) = told else { return stay(cx) };
    if vcpu == cx.me.vcpu() {
        cx.vm.refresh_line(cx.vcpu);
        return stay(cx);
    }
    cx.wakes.set(cx.me.vm(), 1 << (vcpu & 7));
    Answer::Leave
}

#[inline(always)]
fn stay(cx: &Cx<'_>) -> Answer {
    cx.vm.count_exit(cx.me.vcpu(), Cause::Interrupt);
    Answer::Stay
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
    let place = Due::Local(who.number()).place();
    let local = &mut context.local;
    if core::mem::take(&mut local.is_parked) && !cpu.deadlines.is_set(place) {
        local.control |= timer::LOCAL_MASK;
    }
    cpu.deadlines.set(place, NEVER);
    timer::load_local(local.control, local.deadline);
}

/// Takes the virtual timer of `who` off the core; its deadline stands among those of the core until it comes back.
#[cold]
#[inline(never)]
pub fn park_local(cpu: &mut Cpu, who: VcpuRef, context: &mut Context) {
    let local = &mut context.local;
    (local.control, local.deadline) = timer::save_local();
    if local.control & (timer::LOCAL_ENABLE | timer::LOCAL_MASK) == timer::LOCAL_ENABLE {
        local.is_parked = true;
        cpu.deadlines.set(Due::Local(who.number()).place(), local.deadline);
    }
}
