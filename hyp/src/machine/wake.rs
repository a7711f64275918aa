//! Wake: makes a vCPU ready on its own core while somebody else keeps that core, which is all that most events come to.

use super::Cx;
use crate::arch::timer;
use crate::scheduler::{RESERVED, VcpuRef};
use crate::sync::Ordering;
use crate::vcpu::Vcpu;

impl Cx<'_> {
    /// Makes `vcpu`, which an event is for, ready behind the vCPU that has this core. Returns whether that was all: not when it is at home
    /// elsewhere, runs by a reservation, does not block or has a deadline to be taken back, or when it comes first; nothing has changed then.
    #[inline(always)]
    pub fn wake(&mut self, vcpu: &Vcpu) -> bool {
        let public = &vcpu.public;
        let Some(turn) = self.cpu.turn else { return false };
        let (level, highest) = (public.level.load(Ordering::Relaxed), turn.priority & 63);
        // One with a reservation has to be admitted.
        let is_plain = level < RESERVED && u32::from(level) <= highest && public.orders.is_quiet_at(self.cpu.number());
        if !is_plain || !public.wake_plain() {
            return false;
        }
        let who = VcpuRef::from_masked(public.name);
        if let Some(vm) = self.machine.connected(self.stay, who.vm()) {
            vm.note_ready(who.vcpu(), public, timer::now(), false);
        }
        self.cpu.queue.append(who, level);
        if u32::from(level) == highest {
            self.cpu.arm_slice(turn.until);
        }
        true
    }
}
