//! Backlog: when more is due on a core than is served in one go, what concerns those with a share of its time is served before the rest:
//! otherwise 64 VMs with 32 timers each, all due at once, could make one late by any time. Called by [`service`].

use strato_abi::time::TIMERS_PER_VM;

use super::service;
use crate::arch::epoch::Stay;
use crate::machine::{Cpu, Machine};
use crate::scheduler::VcpuRef;
use crate::timer::Due;

/// Serves what is due at `now` of the reservations of this core, and of the vCPUs that run by one.
#[cold]
#[inline(never)]
pub fn serve_reserved(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, now: u64) {
    for place in 0..cpu.reserved.count() {
        serve(machine, cpu, stay, Due::Reservation(place), now);
        let (vm, members) = cpu.reserved.members(place);
        for vcpu in (0..8).filter(|vcpu| members >> vcpu & 1 != 0) {
            if let Some(who) = VcpuRef::new(vm, vcpu) {
                serve(machine, cpu, stay, Due::Wait(who.number()), now);
                serve(machine, cpu, stay, Due::Local(who.number()), now);
            }
        }
        // A timer may be what such a vCPU waits for.
        #[allow(clippy::cast_possible_truncation, reason = "32")]
        let slots = if members == 0 { 0 } else { TIMERS_PER_VM as u8 };
        for slot in 0..slots {
            serve(machine, cpu, stay, Due::Timer { vm, slot }, now);
        }
    }
}

fn serve(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>, due: Due, now: u64) {
    if cpu.deadlines.of(due.place()) <= now {
        service::serve_due(machine, cpu, stay, due.place(), now);
    }
}
