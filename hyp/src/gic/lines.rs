//! Lines: the interrupts of devices that VMs drive: whose each is, which port it raises, and whether it may come.
//!
//! Owns the table. Called by boot, by `dispatcher::irq` and by the calls of group EVT. Never raises a port itself.
//!
//! An interrupt is acknowledged and stays active until its owner says that the device was served, so that it comes once for
//! each EVT.IRQ_DONE, whatever its device does. A level whose line is still raised each time is masked in the end.

use strato_abi::Handle;
use strato_abi::event::IRQ_ROUNDS_MAX;

use super::{Gic, GicError, IntId};
use crate::arch::core_base::CoreIndex;
use crate::lock::{Held, IRQ, Lock};
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// Most interrupts that VMs can be given: a core notes in one word which of them have come.
pub const LINES_MAX: usize = 32;

/// A VM, in one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its place.
    pub place: u8,
    /// Its incarnation.
    pub incarnation: u32,
}

/// Why an interrupt cannot be given to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// The hypervisor uses it.
    Kept,
    /// It was given to a VM before.
    Taken,
    /// The controller does not have it.
    Unknown,
    /// As many are given as can be.
    Full,
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

/// All interrupts that VMs are given.
#[derive(Debug)]
pub struct Lines {
    lines: [Line; LINES_MAX],
    /// Places behind this one were never used. Relaxed: as for [`Line::intid`].
    used: AtomicUsize,
}

/// The place of one interrupt.
#[derive(Debug)]
pub struct Line {
    /// INTID, or 0. Relaxed: it is set before the interrupt is unmasked for the first time, and stays when its owner goes, since
    /// a core may have acknowledged it just then.
    intid: AtomicU32,
    state: Lock<LineState, IRQ>,
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
}

impl Lines {
    /// Returns the table without any interrupt. A constant, so that the machine is made where it is to stand.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a constant")]
    pub const fn new() -> Self {
        Self { lines: [const { Line::new() }; LINES_MAX], used: AtomicUsize::new(0) }
    }

    fn used(&self) -> &[Line] {
        self.lines.get(..self.used.load(Ordering::Relaxed)).unwrap_or(&[])
    }

    /// Returns the number of the interrupt in this table.
    #[must_use]
    pub fn find(&self, intid: IntId) -> Option<u8> {
        let at = self.used().iter().position(|line| line.intid.load(Ordering::Relaxed) == intid.number())?;
        u8::try_from(at).ok()
    }

    /// Returns the interrupt of this number.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&Lock<LineState, IRQ>> {
        self.lines.get(usize::from(number)).map(|line| &line.state)
    }

    /// Gives an interrupt to a VM, masked; returns its number. One that no VM had before is given while no other is.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim<const H: u8>(
        &self,
        intid: IntId,
        is_edge: bool,
        owner: Owner,
        gic: &Gic,
        held: &mut Held<'_, H>,
    ) -> Result<u8, ClaimError> {
        if gic.keeps(intid) {
            return Err(ClaimError::Kept);
        }
        let at = self.find(intid).map_or_else(|| self.used.load(Ordering::Relaxed), usize::from);
        let line = self.lines.get(at).ok_or(ClaimError::Full)?;
        let (mut state, _held) = line.state.lock(held);
        if state.owner.is_some() {
            return Err(ClaimError::Taken);
        }
        gic.mask(intid);
        gic.set_trigger(intid, is_edge).map_err(|_: GicError| ClaimError::Unknown)?;
        line.intid.store(intid.number(), Ordering::Relaxed);
        self.used.fetch_max(at.saturating_add(1), Ordering::Relaxed);
        *state = LineState { owner: Some(owner), is_edge, ..LineState::free(Some(intid)) };
        u8::try_from(at).map_err(|_| ClaimError::Full)
    }

    /// Returns the interrupts that are given, or were.
    pub fn iter(&self) -> impl Iterator<Item = &Lock<LineState, IRQ>> {
        self.used().iter().map(|line| &line.state)
    }
}

impl Line {
    const fn new() -> Self {
        Self { intid: AtomicU32::new(0), state: Lock::new(LineState::free(None)) }
    }
}

impl LineState {
    const fn free(intid: Option<IntId>) -> Self {
        Self { intid, owner: None, port: None, is_edge: false, phase: Phase::Masked, rounds: 0 }
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

    /// Lets it raise `port` from now on, on `core`. One that was masked comes for what its device does from now on, or has
    /// raised its line for; one that is open, or active, only moves.
    pub fn bind(&mut self, gic: &Gic, port: Handle, core: CoreIndex) {
        let Some(intid) = self.intid else { return };
        self.port = Some(port);
        // Refused for interrupts that the controller does not have, of which none is given.
        let _ = gic.route(intid, core);
        if matches!(self.phase, Phase::Masked | Phase::Stuck) {
            gic.forget_pending(intid);
            gic.deactivate(intid);
            (self.phase, self.rounds) = (Phase::Armed, 0);
            gic.unmask(intid);
        }
    }

    /// Sends it to `core` from now on, where the vCPU of its port has moved.
    pub fn reroute(&mut self, gic: &Gic, core: CoreIndex) {
        if let Some(intid) = self.intid {
            let _ = gic.route(intid, core);
        }
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

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
