//! Wake: makes a vCPU ready on its own core while somebody else keeps that core, or tells another core of it, which is all that most events
//! come to. And to whom a budget may be lent.

use super::{Cx, name_of};
use crate::arch::timer;
use crate::scheduler::{RESERVED, VcpuRef};
use crate::sync::Ordering;
use crate::vcpu::{Vcpu, orders};
use crate::vm::Vm;

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
        self.machine.send_mail(home, name_of(vcpu));
        true
    }

    /// Returns whether `vcpu`, which an event is for and which blocks without a deadline, would be the next to have this core anyway once the
    /// vCPU that has it, and is about to block, is out of the way: it is at home here, at the same level, and nobody else is ready there. With
    /// somebody else, that one was ready first.
    #[inline(always)]
    #[must_use]
    pub fn takes_over(&self, vcpu: &Vcpu) -> bool {
        let public = &vcpu.public;
        let Some(turn) = &self.cpu.turn else { return false };
        u32::from(public.level.load(Ordering::Relaxed)) == turn.priority
            && !self.cpu.queue.is_shared(self.me)
            && public.orders.is_quiet_at(self.cpu.number())
    }

    /// Makes `vcpu` of `vm`, which an event is for and which blocks without a deadline, ready behind the vCPU that has this core. Returns whether
    /// that was all: not when it is at home elsewhere, runs by a reservation, or comes first; nothing has changed then.
    #[inline(always)]
    pub fn wake(&mut self, vm: &Vm, vcpu: &Vcpu) -> bool {
        let (cpu, public, who) = (&mut *self.cpu, &vcpu.public, name_of(vcpu));
        let Some(turn) = cpu.turn else { return false };
        let level = public.level.load(Ordering::Relaxed);
        // One with a reservation has to be admitted.
        if level >= RESERVED || !public.orders.is_quiet_at(cpu.number()) {
            return false;
        }
        let ready = || {
            public.wake_plain();
            vm.note_ready(who.vcpu(), public, timer::now(), false);
        };
        if u32::from(level) == turn.priority {
            ready();
            // Who has the core with its own priority is the first there.
            cpu.queue.append_behind(turn.vcpu, who, level);
            cpu.arm_slice(turn.until);
            return true;
        }
        let is_below = u32::from(level) <= turn.priority & 63;
        if is_below {
            ready();
            cpu.queue.append(who, level);
            if u32::from(level) == turn.priority & 63 {
                cpu.arm_slice(turn.until);
            }
        }
        is_below
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
