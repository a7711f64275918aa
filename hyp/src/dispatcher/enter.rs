//! Enter: what must hold before a guest goes on: its registers are on the core, its line and the timer are set.

use strato_abi::vcpu::RunState;

use super::{leave, service, timers};
use crate::arch::frame::Frame;
use crate::arch::{guest, native, timer};
use crate::machine::Cx;
use crate::scheduler::{self, Turn};
use crate::sync::{Ordering, fence};
use crate::timer::NEVER;

/// Makes the guest of `cx` ready to go on.
pub fn prepare(cx: &mut Cx<'_>, frame: &mut Frame, turn: &Turn) {
    let public = &cx.vcpu.public;
    if public.begin() {
        cx.vm.note_state(turn.vcpu.vcpu(), RunState::Running, timer::now(), NEVER);
        if cx.context.tells_stolen {
            cx.vm.tell_stolen(turn.vcpu.vcpu(), timer::frequency());
        }
        fence(Ordering::SeqCst); // a sender sees that we run, or we see its line below; pairs with `Vm::post`
    }
    if cx.cpu.resident != Some((turn.vcpu, cx.vm.incarnation)) {
        make_resident(cx);
    }
    if cx.context.is_waiting {
        cx.context.is_waiting = false;
        let selector = cx.vm.area.take(cx.me.vcpu(), &public.sink);
        frame.write(1, selector);
        frame.write(2, timer::now());
    }
    cx.vm.refresh_line(cx.vcpu);
    let (deadline, _) = cx.cpu.deadlines.earliest();
    let slice = scheduler::slice_end(&cx.cpu.queue, turn);
    // While an ended VM is given back, guests and steps of that take turns.
    let work = if cx.cpu.reaping == 0 { NEVER } else { timer::now().saturating_add(cx.machine.slice_ticks / 8) };
    cx.cpu.arm(deadline.min(slice).min(work));
}

/// Loads what EL1 has of `cx`.
#[inline]
fn make_resident(cx: &mut Cx<'_>) {
    if cx.cpu.resident.is_some() {
        evict(cx);
    }
    guest::load(&cx.context.el1, cx.me.vcpu());
    if cx.context.local.is_used {
        timers::load_local(cx.cpu, cx.me, cx.context);
    }
    if cx.context.is_native {
        select_native(cx);
    } else {
        cx.select_space();
    }
    cx.cpu.resident = Some((cx.me, cx.vm.incarnation));
}

/// Selects the address space of a vCPU that runs stage 1 itself, and what that translates by.
#[cold]
#[inline(never)]
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
        && vm.incarnation == incarnation
        && let Some(mut owned) = vcpu.owned.lease()
    {
        leave::save(cx.cpu, who, &mut owned.context);
    }
    guest::trap_fp(true);
}
