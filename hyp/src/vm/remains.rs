//! Remains: what a VM object itself consisted of, given back a few pieces at a time, after the last core that could look it up is done.
//! Called by the dispatcher's reaper.

use heapless::{String, Vec};

use super::{Ending, Inner, VCPUS_MAX, Vm};
use crate::allocator::{Account, AllocError, Allocator};
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
        Self { place, label, ending, pieces, account }
    }

    /// Gives some pieces back. Returns `None` while there are more; then the pages that the VM's account still counts: 0, or the hypervisor
    /// lost some.
    ///
    /// # Errors
    /// [`AllocError`] when the ledger contradicts the VM: a bug of the hypervisor.
    pub fn step(&mut self, allocator: &mut Allocator) -> Result<Option<u64>, AllocError> {
        for _ in 0..PER_STEP {
            let Some(pages) = self.pieces.pop() else { break };
            allocator.give_back(pages, &mut self.account).map_err(|_| AllocError::Busy)?;
        }
        Ok(self.pieces.is_empty().then(|| self.account.used()))
    }
}
