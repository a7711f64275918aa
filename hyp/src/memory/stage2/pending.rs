//! Pending: what a caller left to be invalidated later, so that one invalidation does for several calls.
//!
//! Broken leaves keep their address and count as mapped until it is made: nobody gets their pages before. It is bounded: at
//! most [`UNITS`] leaves in a few runs wait, then the next call makes the invalidation.

use heapless::Vec;
use strato_abi::addr::Ipa;

use super::run::Runs;
use super::unmap::Emptied;
use super::{AddressSpace, SpaceError, UNITS};
use crate::arch::stage2::Scope;
use crate::memory::descriptor::Attr;
use crate::memory::source::TableSource;

/// What is to be invalidated.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Something is.
    is_due: bool,
    /// Leaves that are broken, not all from one call.
    broken: Runs,
}

impl Pending {
    /// Returns whether `more` runs fit beside what is there.
    fn has_room(&self, more: &Runs) -> bool {
        let leaves = self.broken.iter().chain(more).fold(0usize, |sum, run| sum.saturating_add(run.count));
        leaves <= UNITS && self.broken.len().saturating_add(more.len()) <= more.capacity()
    }
}

impl AddressSpace {
    /// The same as [`AddressSpace::unmap`], but cores may reach the pages until [`AddressSpace::sync`], or a call on the
    /// address space that needs it, makes the invalidation. They count as mapped until then.
    ///
    /// # Errors
    /// Those of [`AddressSpace::unmap`].
    pub fn unmap_later(&mut self, ipa: Ipa, pages: u64, source: &mut impl TableSource) -> Result<u64, SpaceError> {
        let runs = self.runs_to_unmap(ipa, pages, source)?;
        if !self.pending.has_room(&runs) {
            self.complete(source); // of other leaves, in tables that these runs keep in use
        }
        let broken = self.break_runs(&runs, source);
        let done = broken.iter().fold(0u64, |sum, run| sum.saturating_add(run.pages()));
        self.pending.is_due = true;
        if self.pending.broken.extend_from_slice(&broken).is_err() {
            unreachable!("there is room for as many runs")
        }
        Ok(done)
    }

    /// The same as [`AddressSpace::protect`], but the old rights may hold until [`AddressSpace::sync`], or a call on the
    /// address space that needs it, makes the invalidation.
    ///
    /// # Errors
    /// Those of [`AddressSpace::protect`].
    pub fn protect_later(
        &mut self,
        ipa: Ipa,
        pages: u64,
        attr: Attr,
        source: &mut impl TableSource,
    ) -> Result<u64, SpaceError> {
        let runs = self.runs_to_protect(ipa, pages, attr, source)?;
        self.pending.is_due = true;
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

    /// Returns whether something waits for [`AddressSpace::sync`].
    #[must_use]
    pub const fn is_sync_due(&self) -> bool {
        self.pending.is_due
    }

    /// Completes what was left to be invalidated, if anything was.
    #[inline(always)]
    pub(super) fn complete(&mut self, source: &mut impl TableSource) {
        if self.pending.is_due {
            self.complete_pending(source);
        }
    }

    #[cold]
    #[inline(never)]
    fn complete_pending(&mut self, source: &mut impl TableSource) {
        let pending = core::mem::take(&mut self.pending);
        self.invalidate(Scope::All);
        self.sweep_runs(&pending.broken, source);
    }

    /// Clears the leaves of `broken`, whose invalidation is complete, and gives the tables back that this empties.
    pub(super) fn sweep_runs(&mut self, broken: &Runs, source: &mut impl TableSource) {
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
