//! Line: what the interrupt of a device may do, and which port it raises. Never raises a port itself.
//!
//! Called by `dispatcher::irq`, by the calls of group EVT, and as a VM ends.
//!
//! An interrupt is acknowledged and stays active until its owner says that the device was served, so that it comes once for
//! each EVT.IRQ_DONE, whatever its device does. A level whose line is still raised each time is masked in the end.
//!
//! Its priority is low, so that it waits while reserved time runs on its core, unless its VM has a share of that core's time; and one that
//! came sooner behind the last time than it may waits all the same, until it comes later. So what it takes of the shares of others is bounded.

use strato_abi::Handle;
use strato_abi::event::{IRQ_PERIOD_MIN_NS, IRQ_ROUNDS_MAX};

use super::{Gic, IntId, Priority};
use crate::arch::core_base::CoreIndex;
use crate::arch::timer;

/// A VM, in one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its place.
    pub place: u8,
    /// Its incarnation.
    pub incarnation: u32,
}

/// Where an interrupt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// To this core.
    pub core: CoreIndex,
    /// Whether its VM has a share of that core's time.
    pub has_share: bool,
}

/// What came of EVT.IRQ_DONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The interrupt may come again.
    Open,
    /// It had not come.
    Idle,
    /// It is masked: its line did not fall. Whether that is new.
    Stuck(bool),
}

/// What an interrupt may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is masked.
    Masked,
    /// It may come.
    Armed,
    /// It has come and is active, until its owner is done.
    Active,
    /// It is masked, because its line did not fall.
    Stuck,
}

/// What an interrupt does, under its lock.
#[derive(Debug)]
pub struct LineState {
    intid: Option<IntId>,
    owner: Option<Owner>,
    port: Option<Handle>,
    is_edge: bool,
    phase: Phase,
    /// How often in a row the line was still raised.
    rounds: u64,
    /// Whether its VM has a share of the time of the core that it is sent to.
    has_share: bool,
    /// When it came last, in ticks, and whether that was too soon behind the time before.
    came: u64,
    is_early: bool,
}

impl LineState {
    /// Returns the state of one that no VM has.
    #[must_use]
    pub const fn free(intid: Option<IntId>) -> Self {
        Self {
            intid,
            owner: None,
            port: None,
            is_edge: false,
            phase: Phase::Masked,
            rounds: 0,
            has_share: false,
            came: 0,
            is_early: false,
        }
    }

    /// Returns the state of one that `owner` has been given, masked.
    #[must_use]
    pub const fn owned(intid: IntId, owner: Owner, is_edge: bool) -> Self {
        Self { owner: Some(owner), is_edge, ..Self::free(Some(intid)) }
    }

    /// Returns whose it is.
    #[must_use]
    pub const fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Returns its INTID.
    #[must_use]
    pub const fn intid(&self) -> Option<IntId> {
        self.intid
    }

    /// Returns the port that it raises.
    #[must_use]
    pub const fn port(&self) -> Option<Handle> {
        self.port
    }

    /// Takes note that it was acknowledged. Returns whose port is to be raised; nobody's, and it is masked, when the port is not
    /// open any more, as `is_open` says.
    pub fn come(&mut self, gic: &Gic, is_open: impl FnOnce(Owner, Handle) -> bool) -> Option<(Owner, Handle)> {
        self.note(gic, timer::now());
        let target = self.owner.zip(self.port).filter(|_| self.phase == Phase::Armed);
        match target.filter(|&(owner, port)| is_open(owner, port)) {
            Some(target) => {
                self.phase = Phase::Active;
                Some(target)
            }
            None => {
                match self.phase {
                    Phase::Active => {}
                    // It was acknowledged just when it was masked.
                    Phase::Masked | Phase::Stuck => self.quiet(gic),
                    Phase::Armed => self.close(gic),
                }
                None
            }
        }
    }

    /// Takes note that it has come at `now`, whatever becomes of it: it has taken the core's time.
    fn note(&mut self, gic: &Gic, now: u64) {
        let least = timer::frequency().saturating_mul(IRQ_PERIOD_MIN_NS) / 1_000_000_000;
        let is_early = now.saturating_sub(self.came) < least;
        self.came = now;
        if self.is_early != is_early {
            self.is_early = is_early;
            self.settle_priority(gic);
        }
    }

    /// Returns how urgent it is.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        if self.has_share && !self.is_early { Priority::Usual } else { Priority::Low }
    }

    fn settle_priority(&self, gic: &Gic) {
        if let Some(intid) = self.intid {
            gic.set_priority(intid, self.priority());
        }
    }

    /// Lets it raise `port` from now on, by `route`. One that was masked comes for what its device does from now on, or has
    /// raised its line for; one that is open, or active, only moves.
    pub fn bind(&mut self, gic: &Gic, port: Handle, route: Route) {
        let Some(intid) = self.intid else { return };
        self.port = Some(port);
        self.reroute(gic, route);
        if matches!(self.phase, Phase::Masked | Phase::Stuck) {
            gic.forget_pending(intid);
            gic.deactivate(intid);
            (self.phase, self.rounds) = (Phase::Armed, 0);
            gic.unmask(intid);
        }
    }

    /// Sends it by `route` from now on: the vCPU of its port has moved.
    pub fn reroute(&mut self, gic: &Gic, route: Route) {
        let Some(intid) = self.intid else { return };
        // Refused for interrupts that the controller does not have, of which none is given.
        let _ = gic.route(intid, route.core);
        self.has_share = route.has_share;
        self.settle_priority(gic);
    }

    /// Masks it; it raises nothing any more. What was active is not.
    pub fn close(&mut self, gic: &Gic) {
        self.quiet(gic);
        (self.port, self.phase) = (None, Phase::Masked);
    }

    fn quiet(&self, gic: &Gic) {
        if let Some(intid) = self.intid {
            gic.mask(intid);
            gic.deactivate(intid);
            gic.forget_pending(intid);
        }
    }

    /// Takes note that its device was served.
    pub fn done(&mut self, gic: &Gic) -> Done {
        let Some(intid) = self.intid else { return Done::Idle };
        match self.phase {
            Phase::Active => {}
            Phase::Masked | Phase::Armed => return Done::Idle,
            Phase::Stuck => return Done::Stuck(false),
        }
        // What the guest wrote to its device is done before the line is looked at; see `Gic::deactivate`.
        gic.deactivate(intid);
        self.phase = Phase::Armed;
        self.rounds = if !self.is_edge && gic.is_pending(intid) { self.rounds.saturating_add(1) } else { 0 };
        if self.rounds < IRQ_ROUNDS_MAX {
            return Done::Open;
        }
        self.quiet(gic);
        self.phase = Phase::Stuck;
        Done::Stuck(true)
    }

    /// Takes it from its owner. Returns whether it was masked because its line did not fall.
    pub fn release(&mut self, gic: &Gic) -> bool {
        let was_stuck = self.phase == Phase::Stuck;
        self.close(gic);
        *self = Self::free(self.intid);
        was_stuck
    }
}
