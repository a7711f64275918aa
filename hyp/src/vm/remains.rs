//! Remains: what a VM object itself consisted of, given back a few pieces at a time, after the last core that could look it up is done.
//! Called by the dispatcher's reaper.

use heapless::{String, Vec};

use super::{Ending, Inner, VCPUS_MAX, Vm};
use crate::allocator::{Account, AllocError, Allocator, Owner, Scrub};
use crate::arch::page_box::PageBox;
use crate::arch::ram::Pages;

/// Pieces that a VM has besides its vCPUs.
const OTHERS: usize = 6;
/// Pieces that one step gives back.
const PER_STEP: usize = 4;

/// A VM that nobody can look up any more. Its pieces are never dropped, but given back.
#[derive(Debug)]
pub struct Remains {
    /// Its place.
    pub place: u8,
    /// Its name.
    pub label: String<31>,
    /// How it ended.
    pub ending: Ending,
    pieces: Vec<Pages, { VCPUS_MAX + OTHERS }>,
    account: Account,
    /// What was kept for its next life, when there is none.
    kept: Option<Scrub>,
}

impl Remains {
    /// Takes `vm` apart.
    #[must_use]
    pub fn of(vm: PageBox<Vm>) -> Self {
        let ending = vm.ending.lock_leaf().unwrap_or(Ending::Stopped);
        let (vm, own) = vm.into_parts();
        let Vm { place, label, vcpus, ports, area, pages: [info, records], inner, .. } = vm;
        let Inner { account, handles, .. } = inner.into_inner();
        let others: [Pages; OTHERS] = [
            ports.into_pages(),
            handles.into_pages(),
            area.into_pages().into_pages(),
            info.into_pages(),
            records.into_pages(),
            own,
        ];
        let pieces = vcpus.into_boxes().map(PageBox::into_pages).chain(others).collect();
        Self { place, label, ending, pieces, account, kept: None }
    }

    /// Returns what is left of a VM that could not be made again: what was kept for it.
    #[must_use]
    pub fn unmade(place: u8, label: String<31>) -> Self {
        let account = Account::new(Owner::Vm(place.into()), 0);
        Self { place, label, ending: Ending::Unmade, pieces: Vec::new(), account, kept: None }
    }

    /// Gives some pieces back, and, if it `is_over` and not made again, what was kept for that; `own` is the hypervisor's account. Returns `None` while
    /// there are more; then the pages that the VM's account still counts: 0, or the hypervisor lost some.
    ///
    /// # Errors
    /// [`AllocError`] when the ledger contradicts the VM: a bug of the hypervisor.
    pub fn step(
        &mut self,
        (allocator, own): (&mut Allocator, &mut Account),
        is_over: bool,
    ) -> Result<Option<u64>, AllocError> {
        if self.pieces.is_empty() && is_over {
            return self.forsake(allocator, own);
        }
        for _ in 0..PER_STEP {
            let Some(pages) = self.pieces.pop() else { break };
            allocator.give_back(pages, &mut self.account).map_err(|_| AllocError::Busy)?;
        }
        Ok((self.pieces.is_empty() && !is_over).then(|| self.account.used()))
    }

    fn forsake(&mut self, allocator: &mut Allocator, own: &mut Account) -> Result<Option<u64>, AllocError> {
        if self.kept.as_mut().is_some_and(|scrub| !scrub.step()) {
            return Ok(None);
        }
        if let Some(scrub) = self.kept.take() {
            let pages = scrub.finish().map_err(|_| AllocError::Busy)?;
            allocator.give_back(pages, own).map_err(|_| AllocError::Busy)?;
        }
        self.kept = allocator.forsake(self.place, own);
        Ok(self.kept.is_none().then(|| self.account.used()))
    }
}
