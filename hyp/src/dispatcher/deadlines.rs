//! Deadlines: what time asks of this core, served a bounded amount in a turn, and that of VMs with a share of the core first.

use super::service::{UNITS_PER_TURN, end_vm, find, make_ready};
use super::{beat, reaper, reserve, timers};
use crate::arch::epoch::Stay;
use crate::arch::timer;
use crate::machine::{Cpu, Machine};
use crate::scheduler::VcpuRef;
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vm::Ending;

/// Makes those ready whose deadline has come, a bounded number of them.
#[inline]
pub fn serve(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if cpu.deadlines.earliest().0 != NEVER {
        wake_due(machine, cpu, stay);
    }
}

#[inline(never)]
fn wake_due(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    let now = timer::now();
    let mut units = core::mem::replace(&mut cpu.units, UNITS_PER_TURN);
    while cpu.reserved.due().earliest().0 <= now && units != 0 {
        serve_due(machine, cpu, stay, cpu.reserved.due().earliest().1, now);
        units = units.wrapping_sub(1);
    }
    let is_reserved = cpu.queue.has_reserved() || cpu.reserved.due().earliest().0 <= now;
    if is_reserved || cpu.turn.is_some() && now < cpu.rests_until {
        return; // what is due for the others would have to wait all the same, or rests
    }
    while cpu.deadlines.earliest().0 <= now && units != 0 {
        serve_due(machine, cpu, stay, cpu.deadlines.earliest().1, now);
        units = units.wrapping_sub(1);
    }
    let end = timer::now();
    cpu.rests_until = end.saturating_add(end.saturating_sub(now));
}

/// Serves the deadline in `place`, which has come.
fn serve_due(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, place: usize, now: u64) {
    match Due::at(place) {
        Due::Timer { vm, slot } => timers::expire(machine, cpu, stay, (vm, slot), now),
        Due::Local(number) => timers::expire_local(machine, cpu, stay, number),
        Due::Reservation(place) => reserve::renew(cpu, place, now),
        Due::Beat => beat::beat(machine, cpu, now),
        Due::Limit => reaper::give_up(machine),
        Due::Wait(number) => {
            cpu.set_deadline(Due::Wait(number), NEVER);
            wake(machine, cpu, stay, number, now);
        }
        Due::Shares => {} // it stands for others, and goes with them
    }
}

/// Serves the deadline of vCPU `number`, which has come: of its wait, or of its watchdog, which stops its VM.
fn wake(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, number: u16, now: u64) {
    let Some(who) = VcpuRef::from_number(number) else { return };
    let Some((vm, vcpu)) = find(machine, stay, who) else { return };
    if now >= vcpu.public.watchdog.load(Ordering::Relaxed) {
        // Said as the VM is given back: a line takes longer than all else that is done in a turn.
        end_vm(machine, vm, Ending::Watchdog(who.vcpu()));
    } else if vcpu.public.wake() {
        make_ready(machine, cpu, vm, vcpu, who);
    }
}
