//! Orphan: memory whose owner has ended, scrubbed in steps by the VM that was the last to hold it.
//!
//! Called by SHARE.RELINQUISH, one step per call, and finished by `stop` when the VM ends meanwhile.

use super::Inner;
use crate::allocator::{Account, AllocError, Allocator, MemId, Owner};
use crate::arch::ram::Scrub;

/// An orphan on its way back to the pool.
#[derive(Debug)]
pub struct Orphan {
    /// Index of the handle that named it.
    pub index: u16,
    /// Its frames.
    pub scrub: Scrub,
}

/// Lets go of memory that the handle of entry `index` names and whose owner has ended; does the next step when that has
/// begun. Returns whether nothing is left to be done.
///
/// # Errors
/// [`AllocError::Busy`] while another orphan is on its way: nothing changed then. [`AllocError::Stale`].
pub fn let_go(
    inner: &mut Inner,
    index: u16,
    id: MemId,
    allocator: &mut Allocator,
    own: &mut Account,
) -> Result<bool, AllocError> {
    let is_under_way = inner.orphan.as_ref().is_some_and(|orphan| orphan.index == index);
    if !is_under_way {
        let info = allocator.mem_info(id).ok_or(AllocError::Stale)?;
        if info.references > 1 || info.owner != Owner::Hypervisor {
            // Others hold it still, its owner among them while that one is being taken down.
            return allocator.mem_drop_reference(id).map(|_| true);
        }
        if inner.orphan.is_some() {
            return Err(AllocError::Busy);
        }
        allocator.mem_drop_reference(id)?;
        inner.orphan = Some(Orphan { index, scrub: allocator.mem_free(id, own)? });
    }
    let is_done = inner.orphan.as_mut().is_none_or(|orphan| orphan.scrub.step());
    if is_done && let Some(orphan) = inner.orphan.take() {
        let pages = orphan.scrub.finish().map_err(|_| AllocError::Busy)?;
        allocator.give_back(pages, own).map_err(|_| AllocError::Busy)?;
    }
    Ok(is_done)
}
