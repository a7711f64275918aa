//! Pending: what a caller left to be invalidated later, so that one invalidation does for several calls.
//!
//! Broken leaves keep their address and count as mapped until it is made: nobody gets their pages before. It is bounded: at
//! most [`UNITS`] leaves in a few runs wait, then the next call makes the invalidation.

use heapless::Vec;
use strato_abi::addr::Ipa;

use super::run::{Budget, Run, Runs, searches};
use super::teardown::State;
use super::unmap::Emptied;
use super::{AddressSpace, SpaceError, UNITS};
use crate::arch::stage2::Scope;
use crate::memory::descriptor::Attr;
use crate::memory::source::TableSource;

/// Leaves that are broken, not all from one call.
pub(super) type Pending = Vec<Run, 4>;

/// Returns the units that completing `pending` counts as: less than one for a leaf, which only has to be cleared, and some for a
/// table, which may go.
fn units(pending: &[Run]) -> usize {
    let leaves = pending.iter().fold(0usize, |sum, run| sum.saturating_add(run.count));
    searches(pending).saturating_add(leaves / 4).saturating_add(pending.len().saturating_mul(16))
}

/// Returns whether `more` runs fit beside what is there.
fn has_room(pending: &Pending, more: &Runs) -> bool {
    let leaves = pending.iter().chain(more).fold(0usize, |sum, run| sum.saturating_add(run.count));
    let weight = leaves.saturating_add(searches(pending)).saturating_add(searches(more));
    weight <= UNITS && pending.len().saturating_add(more.len()) <= pending.capacity()
}

impl AddressSpace {
    /// The same as [`AddressSpace::unmap`] for a call that has used `used` units already, but cores may reach the pages until [`AddressSpace::sync`], or a call on the
    /// address space that needs it, makes the invalidation. They count as mapped until then.
    ///
    /// # Errors
    /// Those of [`AddressSpace::unmap`].
    pub fn unmap_later(
        &mut self,
        ipa: Ipa,
        pages: u64,
        used: usize,
        source: &mut impl TableSource,
    ) -> Result<u64, SpaceError> {
        let budget = Budget::after(used.saturating_add(units(&self.pending))); // which this call may have to complete
        let runs = self.runs_to_unmap(ipa, pages, budget, source)?;
        if !has_room(&self.pending, &runs) {
            self.complete(source); // of other leaves, in tables that these runs keep in use
        }
        let broken = self.break_runs(&runs, source);
        let done = broken.iter().fold(0u64, |sum, run| sum.saturating_add(run.pages()));
        if self.pending.extend_from_slice(&broken).is_ok() {
            self.state = State::Late;
        } else {
            // In more pieces than are kept: at once.
            self.invalidate(Scope::All);
            self.sweep_runs(&broken, source);
        }
        Ok(done)
    }

    /// The same as [`AddressSpace::protect`] for a call that has used `used` units already, but the old rights may hold until [`AddressSpace::sync`], or a call on the
    /// address space that needs it, makes the invalidation.
    ///
    /// # Errors
    /// Those of [`AddressSpace::protect`].
    pub fn protect_later(
        &mut self,
        ipa: Ipa,
        pages: u64,
        attr: Attr,
        used: usize,
        source: &mut impl TableSource,
    ) -> Result<u64, SpaceError> {
        let runs = self.runs_to_protect(ipa, pages, attr, Budget::after(used), source)?;
        self.state = State::Late;
        Ok(self.rewrite_runs(&runs, attr, source))
    }

    /// Completes what was left to be invalidated: no core can use an old translation any more, and pages that were unmapped
    /// count as that.
    ///
    /// # Errors
    /// [`SpaceError::Dying`].
    pub fn sync(&mut self, source: &mut impl TableSource) -> Result<(), SpaceError> {
        self.check_alive()?;
        self.complete(source);
        Ok(())
    }

    /// The same for one that may be at its end, where nothing is left; returns the units that it counts as.
    pub fn settle(&mut self, source: &mut impl TableSource) -> usize {
        self.complete(source)
    }

    /// Returns whether something waits for [`AddressSpace::sync`].
    #[must_use]
    pub fn is_sync_due(&self) -> bool {
        self.state == State::Late
    }

    /// Completes what was left to be invalidated, if anything was; returns the units that this counts as.
    #[inline(always)]
    pub(super) fn complete(&mut self, source: &mut impl TableSource) -> usize {
        if self.is_sync_due() { self.complete_pending(source) } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn complete_pending(&mut self, source: &mut impl TableSource) -> usize {
        let pending = core::mem::take(&mut self.pending);
        self.state = State::Alive;
        self.invalidate(Scope::All);
        self.sweep_runs(&pending, source);
        units(&pending)
    }

    /// Clears the leaves of `broken`, whose invalidation is complete, and gives the tables back that this empties.
    pub(super) fn sweep_runs(&mut self, broken: &[Run], source: &mut impl TableSource) {
        let (mut emptied, mut is_linked): (Emptied, _) = (Vec::new(), false);
        for run in broken {
            is_linked |= self.sweep_run(*run, &mut emptied, source);
        }
        if is_linked {
            self.invalidate(Scope::All); // a table that walkers could reach until now
        }
        for table in emptied {
            self.put_table(table, source);
        }
    }
}
