//! Wake: makes a vCPU ready on its own core while somebody else keeps that core, or tells another core of it, which is all that most events
//! come to. And to whom a budget may be lent.

use super::Cx;
use crate::arch::timer;
use crate::scheduler::{RESERVED, VcpuRef};
use crate::sync::Ordering;
use crate::vcpu::{Vcpu, orders};

impl Cx<'_> {
    /// Tells another core of an event for `vcpu`, if it is at home there. Returns whether that was all.
    #[inline]
    pub fn tell_other_core(&self, vcpu: &Vcpu) -> bool {
        let (public, here) = (&vcpu.public, self.cpu.number());
        if public.orders.home() == here {
            return false;
        }
        let home = public.orders.ask(orders::WAKE);
        if home == here {
            return false; // it has come meanwhile, with what was asked
        }
        self.machine.send_mail(home, VcpuRef::from_masked(public.name));
        true
    }

    /// Returns whether `vcpu`, which an event is for, would be the next to have this core anyway once the vCPU that has it, and is about to
    /// block, is out of the way: it blocks here without a deadline, at the same level, and nobody else is ready there. With somebody else,
    /// that one was ready first.
    #[inline(always)]
    #[must_use]
    pub fn takes_over(&self, vcpu: &Vcpu) -> bool {
        let public = &vcpu.public;
        let Some(turn) = &self.cpu.turn else { return false };
        u32::from(public.level.load(Ordering::Relaxed)) == turn.priority
            && !self.cpu.queue.is_shared(self.me)
            && public.orders.is_quiet_at(self.cpu.number())
            && public.is_blocked_plain()
    }

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

    /// Returns by which reservation `to` would run, and at which level, if it is a sibling that is ready here and waits for its budget,
    /// while the vCPU of this context has another one, which it can lend.
    #[must_use]
    pub fn may_lend_to(&self, to: VcpuRef) -> Option<(u8, u8)> {
        let lender = self.vcpu.public.reservation()?;
        let own = self.vm.vcpu(to.vcpu()).filter(|_| to.vm() == self.me.vm())?.public.reservation()?;
        self.cpu.reserved.held(own, to).filter(|_| own != lender).map(|level| (own, level))
    }
}
