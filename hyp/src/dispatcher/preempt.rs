//! Preempt: time takes the core from a vCPU, from the vector: a wait of another one is over, or its slice is. Who has the core then
//! goes on by [`pass`](super::pass); what is not that simple is left to the top of the loop, with nothing done twice.

use super::service;
use crate::arch::frame::Answer;
use crate::machine::Cx;
use crate::scheduler::{self, RESERVED, VcpuRef};
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vcpu::Extras;

/// Serves the hypervisor's timer, whose interrupt came at `now` and is for no timer of the VM that has the core. `Stay` when that
/// keeps the core, `Pass` when another vCPU has got the turn; the timer is armed anew then. `Leave` when there is more to do. `IS_SHORT` says what [`is_short`](crate::timer::Deadlines::is_short) does.
#[inline(always)]
pub fn serve<const IS_SHORT: bool>(cx: &mut Cx<'_>, now: u64) -> Answer {
    let (cpu, all) = (&mut *cx.cpu, cx.machine);
    let core = cpu.number();
    let Some(turn) = &mut cpu.turn else { return Answer::Leave };
    if cx.context.extras.intersects(Extras::BUSY) || cpu.reaping != 0 || turn.is_lent() {
        return Answer::Leave;
    }
    let (deadline, place) = cpu.deadlines.earliest();
    if deadline > now {
        if !scheduler::end_slice(&mut cpu.queue, turn, now, all.slice_ticks) {
            let first = deadline.min(scheduler::slice_end(&cpu.queue, turn));
            cpu.arm_anew(first);
            return Answer::Stay;
        }
        cx.heir = service::find_queued(all, cx.stay, turn.vcpu);
        let first = deadline.min(turn.until);
        cpu.arm_anew(first);
        return Answer::Pass;
    }
    let Due::Wait(number) = Due::at(place) else { return Answer::Leave };
    let who = VcpuRef::from_masked(number);
    let Some((vm, vcpu)) = service::find_queued(all, cx.stay, who) else { return Answer::Leave };
    let public = &vcpu.public;
    let level = public.level.load(Ordering::Relaxed);
    // One with a reservation has to be admitted; a watchdog has its deadline in the same place.
    let is_plain = level < RESERVED && public.watchdog.load(Ordering::Relaxed) == NEVER;
    if !is_plain || !public.orders.is_quiet_at(core) || !public.wake() {
        return Answer::Leave;
    }
    let next = if IS_SHORT {
        cpu.deadlines.drop_only();
        NEVER
    } else {
        cpu.deadlines.put_off(NEVER)
    };
    vm.note_ready(who.vcpu(), public, now, false);
    if !scheduler::join(&mut cpu.queue, turn, who, level, now, all.slice_ticks) {
        let end = scheduler::slice_end(&cpu.queue, turn);
        if next.min(end) <= now {
            return Answer::Leave; // a row of deadlines, or its slice is over too: the loop sees to that
        }
        cpu.arm_anew(next.min(end));
        return Answer::Stay;
    }
    if !IS_SHORT && next <= now {
        return Answer::Leave;
    }
    cpu.arm_anew(next); // it is alone at its level
    cx.heir = Some((vm, vcpu));
    Answer::Pass
}
