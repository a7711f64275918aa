//! Enter: what must hold before a guest goes on: its registers are on the core, its line and the timer are set.

use core::mem;

use super::{leave, reserve, service, timers};
use crate::arch::frame::Frame;
use crate::arch::{self, firmware, guest, native, timer};
use crate::machine::Cx;
use crate::scheduler::{self, Turn};
use crate::sync::{Ordering, fence};
use crate::timer::NEVER;
use crate::vcpu::Extras;

/// Makes the guest of `cx`, whose turn it is at `now`, ready to go on.
#[inline(never)]
pub fn prepare(cx: &mut Cx<'_>, frame: &mut Frame, turn: &Turn, now: u64) {
    begin(cx, now);
    if cx.cpu.resident != cx.resident() {
        if cx.cpu.resident.is_some() {
            evict(cx);
        }
        guest::load(&frame.el1);
        load(cx);
    } else if cx.context.extras.intersects(Extras::SPECIAL) {
        reserve::begin(cx);
    }
    finish(cx, frame, turn, now);
}

/// Says that the vCPU of `cx` runs, if it did not.
#[inline(always)]
pub fn begin(cx: &mut Cx<'_>, now: u64) {
    if cx.vcpu.public.begin() {
        cx.vm.note_running(cx.me.vcpu(), &cx.vcpu.public, now, cx.vm.time_base());
        tell_stolen(cx);
        fence(Ordering::SeqCst); // a sender sees that we run, or we see its line below; pairs with `Vm::post`
    }
}

/// Says how much time was stolen from the vCPU of `cx`, if it has asked for it.
#[inline(always)]
pub fn tell_stolen(cx: &mut Cx<'_>) {
    if cx.context.extras.contains(Extras::STOLEN) {
        cx.vm.tell_stolen(cx.me.vcpu(), timer::frequency());
    }
}

/// Loads what EL1 has of `cx` besides the frame; nobody else's is on this core any more.
#[inline(always)]
pub fn load(cx: &mut Cx<'_>) {
    if !cx.cpu.manner.guesses_like(cx.vm.manner) {
        change_guesses(cx);
    }
    timer::stop_local(); // what the last one left there, which cannot be trapped
    timer::set_offset(cx.vm.time_base());
    if cx.context.extras.contains(Extras::LOCAL) {
        timers::load_local(cx.cpu, cx.me, &mut cx.context);
    }
    if cx.context.extras.intersects(Extras::SPECIAL) {
        load_special(cx);
    } else {
        cx.select_space();
    }
    cx.cpu.resident = cx.resident();
}

/// Clears what the VM that was here left in this core's predictors, if that is to be done, and selects the vectors by which the guests of
/// the one that comes enter EL2.
#[cold]
#[inline(never)]
fn change_guesses(cx: &mut Cx<'_>) {
    if mem::replace(&mut cx.cpu.manner, cx.vm.manner).is_apart() {
        firmware::clear_predictors();
    }
    arch::select_vectors(cx.vm.speculation.guard(arch::needed_guard()));
}

/// Answers a wait, and sets the line and the timer.
#[inline(always)]
pub fn finish(cx: &mut Cx<'_>, frame: &mut Frame, turn: &Turn, now: u64) {
    if cx.context.extras.contains(Extras::WAITING) {
        cx.context.extras.remove(Extras::WAITING);
        let (area, number, sink) = (&cx.vm.area, cx.me.vcpu(), &cx.vcpu.public.sink);
        let selector = area.take_once(number, sink).unwrap_or_else(|| area.take(number, sink));
        let shown = cx.vm.ticks_at(now);
        frame.write(1, selector);
        frame.write(2, shown);
    }
    cx.vm.refresh_line(cx.vcpu);
    let (deadline, _) = cx.cpu.deadlines.earliest();
    let slice = scheduler::slice_end(&cx.cpu.queue, turn);
    // While an ended VM is given back, guests and steps of that take turns.
    let work = if cx.cpu.reaping == 0 { NEVER } else { now.saturating_add(cx.machine.slice_ticks / 8) };
    let other = deadline.min(work);
    if slice < other {
        cx.cpu.arm_slice(slice);
    } else if other != cx.cpu.armed {
        cx.cpu.arm_for(turn, other, slice, now);
    }
}

/// The rest of [`load`] for a vCPU that is native or runs by a reservation.
#[cold]
#[inline(never)]
fn load_special(cx: &mut Cx<'_>) {
    if cx.context.extras.contains(Extras::NATIVE) {
        select_native(cx);
    } else {
        cx.select_space();
    }
    reserve::begin(cx);
}

/// Selects the address space of a vCPU that runs stage 1 itself, and what that translates by.
fn select_native(cx: &mut Cx<'_>) {
    let closed = native::close();
    cx.select_space();
    native::enter(&cx.context.stage1, cx.vm.vcpu_count() > 1, &closed);
}

/// Saves whose EL1 state stayed on the core when it had nobody else to run, if that vCPU still exists.
#[cold]
#[inline(never)]
fn evict(cx: &mut Cx<'_>) {
    let Some((who, incarnation)) = cx.cpu.resident.take() else { return };
    if let Some((vm, vcpu)) = service::find(cx.machine, cx.stay, who)
        && vm.incarnation == incarnation.get()
        && let Some((mut frame, mut context)) = vcpu.owned.lease()
    {
        leave::save(cx.machine, vm, cx.cpu, who, &mut frame, &mut context);
        frame.end(context);
    }
    guest::trap_fp(true);
}
