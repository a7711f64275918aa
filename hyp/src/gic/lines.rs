//! Lines: the interrupts of devices that VMs drive: whose each is. What one may do is [`LineState`]'s.
//!
//! Owns the table. Called by boot, by `dispatcher::irq` and by the calls of group EVT.

use super::line::{LineState, Owner};
use super::{Gic, GicError, IntId};
use crate::lock::{Held, IRQ, Lock};
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// Most interrupts that VMs can be given: a core notes in one word which of them have come.
pub const LINES_MAX: usize = 32;

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
        if state.owner().is_some() {
            return Err(ClaimError::Taken);
        }
        gic.mask(intid);
        gic.set_trigger(intid, is_edge).map_err(|_: GicError| ClaimError::Unknown)?;
        line.intid.store(intid.number(), Ordering::Relaxed);
        self.used.fetch_max(at.saturating_add(1), Ordering::Relaxed);
        *state = LineState::owned(intid, owner, is_edge);
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

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
