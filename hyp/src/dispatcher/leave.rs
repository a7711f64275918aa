//! Leave: who has the core next, and what becomes of the vCPU that had it.

use core::mem;

use super::{deadlines, irq, reaper, reserve, service, timers};
use crate::arch::epoch::Stay;
use crate::arch::frame::Frame;
use crate::arch::{self, guest, native, timer};
use crate::machine::{Cpu, Cx, Machine};
use crate::scheduler::{self, VcpuRef};
use crate::sync::Ordering;
use crate::vcpu::{Context, Extras};
use crate::vm::Vm;

/// Settles who has the core after the vCPU of `cx`, which is still at hand: when it is somebody else, its registers go
/// where they belong without looking it up again.
#[inline(always)]
pub fn settle(cx: &mut Cx<'_>, frame: &mut Frame) {
    if cx.context.extras.intersects(Extras::SPECIAL) {
        return reserve::settle(cx, frame);
    }
    if cx.cpu.resident.is_none() {
        return; // it turned itself off, and may be asked to start again, for which its lease must be back
    }
    let now = choose_behind(cx);
    if cx.cpu.turn.is_none_or(|turn| turn.vcpu == cx.me) {
        return; // with nobody else its registers stay: it may be the next one
    }
    end(cx, now);
    if cx.cpu.resident.take().is_some() {
        save(cx.machine, cx.vm, cx.cpu, cx.me, frame, &mut cx.context);
    }
}

/// Says that the vCPU of `cx`, which loses the core to another at `now`, runs no more, if it did.
#[inline(never)]
pub fn end(cx: &mut Cx<'_>, now: u64) {
    if cx.vcpu.public.leave() {
        cx.vm.note_left(cx.me.vcpu(), &cx.vcpu.public, now);
    }
}

/// Chooses who has this core when nobody had it.
#[inline(never)]
pub fn begin(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if !service::wake_only(machine, cpu, stay) {
        begin_anew(machine, cpu, stay);
    }
}

/// The same with whatever there is to do.
#[inline(never)]
fn begin_anew(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    reserve::depart(machine, cpu, stay);
    if cpu.reaping != 0 {
        irq::take(machine, cpu); // no guest may be entered for long, where they would come
    }
    choose(machine, cpu, stay);
    if cpu.turn.is_some() && !machine.has_started.swap(true, Ordering::Relaxed) {
        log::info!("first guest instruction at {} ticks", timer::now());
        arch::sign::booted();
    }
}

/// Does as [`choose`] behind an exit of the vCPU of `cx`, which goes on no more when its VM ends: it is asked to stop.
#[inline(always)]
pub fn choose_behind(cx: &mut Cx<'_>) -> u64 {
    cx.cpu.was_long &= !cx.vm.is_ending();
    choose(cx.machine, cx.cpu, cx.stay)
}

/// Settles what others and time ask of this core, and chooses who has it. When the last exit was long to answer it chooses alone: what is
/// asked for comes by interrupts as a guest is entered, in a turn of its own. Returns when that was, in ticks.
#[inline(always)]
pub fn choose(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) -> u64 {
    if mem::take(&mut cpu.was_long) {
        put_off(machine, cpu);
    } else if cpu.reaping == 0 || !reaps(machine, cpu, stay) {
        service::requests(machine, cpu, stay);
        deadlines::serve(machine, cpu, stay);
    }
    let now = timer::now();
    scheduler::pick(&mut cpu.queue, &mut cpu.turn, now, machine.slice_ticks);
    now
}

/// Leaves what others and time ask for to the next turn.
#[inline(never)]
fn put_off(machine: &Machine, cpu: &Cpu) {
    if cpu.reaping != 0 {
        machine.nudge(1 << cpu.index.index()); // nobody else tells of these steps in time
    }
}

/// Does a step of giving an ended VM back, unless it is the turn of what others and time ask for: with both at once interrupts would be
/// masked for too long. Returns whether it did. It makes nobody wait who has reserved time, and none goes on whose VM ends.
#[cold]
#[inline(never)]
fn reaps(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) -> bool {
    let is_reserved = cpu.queue.has_reserved() || cpu.is_reserved_due();
    let is_asked = machine.mail_of(cpu).is_full() || cpu.deadlines.earliest().0 <= timer::now();
    let ends = |turn: scheduler::Turn| service::find(machine, stay, turn.vcpu).is_none_or(|(vm, _)| vm.is_ending());
    let is_others_turn = cpu.has_reaped && is_asked;
    cpu.has_reaped = !(is_others_turn || is_reserved || cpu.turn.is_some_and(ends));
    if !cpu.has_reaped {
        return false;
    }
    reaper::step(machine, cpu, stay);
    if machine.mail_of(cpu).is_full() {
        machine.nudge(1 << cpu.index.index()); // its interrupt may have been taken already
    }
    true
}

/// Saves what is on this core of the registers of `who`, a vCPU of `vm`; FP traps afterwards.
#[inline]
pub fn save(machine: &Machine, vm: &Vm, cpu: &mut Cpu, who: VcpuRef, frame: &mut Frame, context: &mut Context) {
    if context.extras.contains(Extras::DEVICES) {
        service::drain(machine, vm);
    }
    guest::save(&mut frame.el1);
    if context.extras.contains(Extras::LOCAL) {
        timers::park_local(cpu, vm, who, context);
    }
    if context.extras.contains(Extras::NATIVE) {
        native::leave(&mut context.stage1);
    }
    if context.extras.contains(Extras::FP) {
        context.extras.remove(Extras::FP);
        guest::save_fp(&mut context.fp);
    }
}
