//! Reservations: how much time the holders of a core's scheduling handles have left, and when they get more. Pure.
//!
//! Each is a deferrable server: a budget that is whole again at every multiple of its period, whatever was left of it. In any
//! window `W` it supplies at most `Q * (ceil(W / T) + 1)`: one budget at the end of a period, the next at its beginning. What was
//! taken too much, since a timer is late or a call is long, is taken from the next budget.

use strato_abi::vcpu::SCHED_PER_CORE;
use zerocopy::FromZeros;

use super::{RunQueue, VcpuRef};
use crate::timer::{Deadlines, Due, NEVER};

/// Reservations of a core.
pub const PLACES: usize = SCHED_PER_CORE;

/// All of a core's time.
const WHOLE: u64 = 1 << 20;

/// The budget of one scheduling handle.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
struct Reservation {
    // Ticks in each period, and ticks of a period.
    budget: u64,
    period: u64,
    // Ticks taken of the budget; more than all of it is a debt.
    used: u64,
    // When the budget is whole again.
    next: u64,
    vm: u8,
    // One bit for each vCPU of the VM that runs by it, and for each that is ready and waits for the next budget.
    members: u8,
    held: u8,
    // At which level each runs.
    levels: [u8; 8],
    // Who ran by it last.
    last: u8,
    reserved: [u8; 4],
}

impl Reservation {
    const fn left(&self) -> u64 {
        self.budget.saturating_sub(self.used)
    }

    /// Begins the periods that have begun until `now`.
    fn advance(&mut self, now: u64) {
        let Some(late) = now.checked_sub(self.next) else { return };
        let periods = late.checked_div(self.period).unwrap_or(0).saturating_add(1);
        self.next = self.next.saturating_add(periods.saturating_mul(self.period));
        self.used = self.used.saturating_sub(periods.saturating_mul(self.budget));
    }

    /// Takes the time from `since` to `now` off the budgets of the periods in which it lies.
    fn charge(&mut self, since: u64, now: u64) {
        let border = self.next.min(now).max(since);
        self.used = self.used.saturating_add(border.saturating_sub(since));
        self.advance(now);
        self.used = self.used.saturating_add(now.saturating_sub(border));
    }
}

/// The reservations of one core, and which of them runs. Every operation takes constant time, or time by the eight vCPUs of a
/// VM at most. All zeros is a core without any.
///
/// One stays where it is when its VM ends: nobody runs by it then, so that its time is what is left for the others. It is never
/// another VM's, since all shares of a core were admitted together. When the VM is made again it is as used up as it was, so that no
/// window has more of it because of that.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct Reservations {
    places: [Reservation; PLACES],
    // Parts of `WHOLE` that are given away.
    shares: u64,
    // Ticks that a vCPU which becomes ready takes of its budget.
    price: u64,
    // What the vCPU that has the core is charged to, plus one; since when.
    since: u64,
    running: u16,
    count: u16,
    // Who runs on the budget of another, plus one, and what that is charged to.
    borrower: u16,
    lender: u16,
    // Places of the VMs that have a reservation, one bit each.
    vms: u64,
    // What is due for these, and of the reservations.
    due: Deadlines,
}

impl Reservations {
    /// Adds a reservation of `budget` ticks in each `period` for vCPUs of the VM in place `vm`. Returns its place, or `None`
    /// when there are as many as there can be, or all together would be more than the core's time.
    pub fn add(&mut self, vm: u8, budget: u64, period: u64) -> Option<u8> {
        let number = self.count;
        let share = budget.checked_mul(WHOLE)?.checked_div(period)?;
        self.shares = self.shares.checked_add(share).filter(|shares| *shares <= WHOLE)?;
        let place = self.places.get_mut(usize::from(number))?;
        *place = Reservation { vm, budget, period, ..Reservation::default() };
        self.count = number.wrapping_add(1);
        self.vms |= 1 << (vm & 63);
        u8::try_from(number).ok()
    }

    /// Sets what becoming ready takes of a budget, in ticks: what the hypervisor does then is done for nobody else, and one that
    /// waits as often as it can would have more of the core than its budget.
    pub const fn set_price(&mut self, ticks: u64) {
        self.price = ticks;
    }

    fn at(&mut self, place: u8) -> Option<&mut Reservation> {
        self.places.get_mut(usize::from(place))
    }

    /// Makes the budget `budget` ticks in each `period` from `now` on. What is taken of it stays taken, and the period that runs ends when it
    /// would have, or a period from now if that is earlier: nobody gets more by asking often, and nobody waits for the end of a longer one.
    pub fn set(&mut self, place: u8, (budget, period): (u64, u64), now: u64) {
        if let Some(at) = self.at(place) {
            (at.budget, at.period) = (budget, period);
            at.next = at.next.min(now.saturating_add(period));
        }
    }

    /// Lets `vcpu` run by the reservation, at `level`.
    pub fn join(&mut self, place: u8, vcpu: VcpuRef, level: u8) {
        let Some(at) = self.at(place) else { return };
        at.members |= 1 << vcpu.vcpu();
        if let Some(own) = at.levels.get_mut(usize::from(vcpu.vcpu())) {
            *own = level;
        }
    }

    /// Returns whether `due` stands among the deadlines that are kept here: of the reservations, and of the VMs that have one. All of
    /// such a VM's, since a port of a timer may be bound to any of its vCPUs.
    #[inline(always)]
    #[must_use]
    pub const fn keeps(&self, due: Due) -> bool {
        due.is_of(self.vms)
    }

    /// Sets such a deadline in ticks, or [`NEVER`]. Returns the earliest of them all then.
    pub fn set_due(&mut self, due: Due, moment: u64) -> u64 {
        self.due.set(due.place(), moment);
        self.due.earliest().0
    }

    /// Returns these deadlines.
    #[inline]
    #[must_use]
    pub fn due(&self) -> &Deadlines {
        &self.due
    }

    /// Lets `vcpu` run by it no more.
    pub fn leave(&mut self, place: u8, vcpu: VcpuRef) {
        let Some(at) = self.at(place) else { return };
        at.members &= !(1 << vcpu.vcpu());
        at.held &= !(1 << vcpu.vcpu());
    }

    /// Returns until when `vcpu`, which has become ready at `now`, is held, since nothing of its budget is left; `None` when it may
    /// be queued at once.
    pub fn holds(&mut self, place: u8, vcpu: VcpuRef, now: u64) -> Option<u64> {
        let price = self.price;
        self.hold(place, vcpu, now, price)
    }

    /// The same for one that ran by another's budget and has been ready all the time, so that it pays no price.
    pub fn holds_again(&mut self, place: u8, vcpu: VcpuRef, now: u64) -> Option<u64> {
        self.hold(place, vcpu, now, 0)
    }

    fn hold(&mut self, place: u8, vcpu: VcpuRef, now: u64, price: u64) -> Option<u64> {
        let is_running = self.running == u16::from(place).wrapping_add(1);
        let at = self.at(place)?;
        if !is_running {
            at.advance(now);
        }
        at.used = at.used.saturating_add(price);
        if at.left() != 0 {
            return None;
        }
        at.held |= 1 << vcpu.vcpu();
        Some(at.next)
    }

    /// Returns the level of `vcpu` if it is ready and waits for the next budget of the reservation.
    #[must_use]
    pub fn held(&self, place: u8, vcpu: VcpuRef) -> Option<u8> {
        let at = self.places.get(usize::from(place))?;
        let is_held = at.vm == vcpu.vm() && at.held & 1 << vcpu.vcpu() != 0;
        if is_held { at.levels.get(usize::from(vcpu.vcpu())).copied() } else { None }
    }

    /// Lets `vcpu` wait for the next budget no more: it runs by that of another.
    pub fn release(&mut self, place: u8, vcpu: VcpuRef) {
        if let Some(at) = self.at(place) {
            at.held &= !(1 << vcpu.vcpu());
        }
    }

    /// Charges from `now` on what `vcpu` runs to the reservation, unless that is charged already. Returns when it must be looked at.
    pub fn begin(&mut self, place: u8, vcpu: VcpuRef, now: u64) -> u64 {
        let running = u16::from(place).wrapping_add(1);
        let is_new = core::mem::replace(&mut self.running, running) != running;
        if is_new {
            self.since = now;
        }
        let since = self.since;
        let Some(at) = self.at(place) else { return u64::MAX };
        at.last = vcpu.vcpu();
        if is_new {
            at.advance(now);
        }
        since.saturating_add(at.left()).min(at.next)
    }

    /// Takes the time until `now` off what runs. Returns its place, and whether nothing of it is left: then those who run by it
    /// leave `queue`, and when it is whole again.
    pub fn charge(&mut self, queue: &mut RunQueue, now: u64) -> Option<(u8, Option<u64>)> {
        let place = u8::try_from(self.running.checked_sub(1)?).ok()?;
        let since = core::mem::replace(&mut self.since, now);
        let at = self.at(place)?;
        at.charge(since, now);
        if at.left() != 0 {
            return Some((place, None));
        }
        for number in (0..8).filter(|number| at.members & 1 << number != 0) {
            if VcpuRef::new(at.vm, number).is_some_and(|vcpu| queue.remove(vcpu)) {
                at.held |= 1 << number;
            }
        }
        Some((place, Some(at.next)))
    }

    /// Charges nothing any more. Returns what was charged, and when that is to be looked at: at once if others wait for its budget.
    pub fn end(&mut self) -> Option<(u8, u64)> {
        let place = u8::try_from(core::mem::take(&mut self.running).checked_sub(1)?).ok()?;
        let is_awaited = self.at(place).is_some_and(|at| at.held != 0);
        Some((place, if is_awaited { 0 } else { NEVER }))
    }

    /// Gives a reservation the budget of the period that has begun, and queues those that waited for it. Returns when they are to
    /// be looked at again, when there is still nothing for them.
    pub fn renew(&mut self, place: u8, queue: &mut RunQueue, now: u64) -> Option<u64> {
        let is_running = self.running == u16::from(place).wrapping_add(1);
        let at = self.at(place)?;
        if !is_running {
            at.advance(now);
        }
        if at.left() == 0 {
            return (at.held != 0).then_some(at.next);
        }
        let held = core::mem::take(&mut at.held);
        // Who ran last comes last, so that those that share a budget take turns.
        for number in (1..=8).map(|n| at.last.wrapping_add(n) & 7).filter(|number| held & 1 << number != 0) {
            if let Some((vcpu, level)) = VcpuRef::new(at.vm, number).zip(at.levels.get(usize::from(number))) {
                queue.push(vcpu, *level, false);
            }
        }
        None
    }

    /// Charges `to` to the reservation while the turn that it has just got lasts.
    pub fn lend(&mut self, place: u8, to: VcpuRef) {
        self.borrower = to.number().wrapping_add(1);
        self.lender = u16::from(place);
    }

    /// Returns what `vcpu` is charged to instead of its own reservation.
    #[must_use]
    pub fn lent_to(&self, vcpu: VcpuRef) -> Option<u8> {
        if self.borrower == vcpu.number().wrapping_add(1) { u8::try_from(self.lender).ok() } else { None }
    }

    /// Returns who runs on the budget of another.
    #[must_use]
    pub fn borrower(&self) -> Option<VcpuRef> {
        VcpuRef::from_number(self.borrower.checked_sub(1)?)
    }

    /// Ends what was lent.
    pub fn end_loan(&mut self) {
        self.borrower = 0;
    }
}

#[cfg(test)]
#[path = "reserve_tests.rs"]
mod tests;
