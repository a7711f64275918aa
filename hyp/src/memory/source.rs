//! Source: what an address space needs from outside while it works: frames for tables, a word to the ledger about what is
//! no longer mapped, a look at the interrupt line. Called by [`super::stage2`].

use crate::allocator::{Account, AllocError, Allocator, Kind};
use crate::arch::ram::{Pa, Pages};

/// What an address space needs from outside. A caller may lock the allocator for each of these alone.
pub trait TableSource {
    /// Returns one zero frame for a table, charged before it is taken.
    ///
    /// # Errors
    /// [`AllocError::Quota`] or [`AllocError::NoMemory`].
    fn take_table(&mut self) -> Result<Pages, AllocError>;

    /// Takes the frame of a table back; no walker can reach it any more.
    fn give_table_back(&mut self, frame: Pages);

    /// Hears that `pages` pages from `pa` on, mapped by the address space until now, no longer are, with the invalidation
    /// complete.
    fn unmapped(&mut self, pa: Pa, pages: u64);

    /// Returns how many pages from `pa` on [`TableSource::unmapped`] takes as one piece, since they are of one extent; all where it
    /// counts none.
    fn piece(&mut self, pa: Pa) -> u64;

    /// Returns whether an interrupt waits, so that the work should stop here. Asked every 16 units.
    fn interrupt_pending(&mut self) -> bool;
}

/// The source that works on the allocator directly, on a VM's account.
pub struct Charged<'a> {
    allocator: &'a mut Allocator,
    account: &'a mut Account,
    interrupt_pending: fn() -> bool,
}

impl<'a> Charged<'a> {
    /// Returns the source of tables out of `allocator` on `account`.
    pub fn new(allocator: &'a mut Allocator, account: &'a mut Account, interrupt_pending: fn() -> bool) -> Self {
        Self { allocator, account, interrupt_pending }
    }
}

impl TableSource for Charged<'_> {
    fn take_table(&mut self) -> Result<Pages, AllocError> {
        self.allocator.take(0, Kind::Table, self.account)
    }

    fn give_table_back(&mut self, frame: Pages) {
        if self.allocator.give_back(frame, self.account).is_err() {
            unreachable!("a table's frame goes back to the account it was taken on")
        }
    }

    fn unmapped(&mut self, pa: Pa, pages: u64) {
        self.allocator.mem_unmapped(pa, pages);
    }

    fn piece(&mut self, pa: Pa) -> u64 {
        self.allocator.mem_piece(pa)
    }

    fn interrupt_pending(&mut self) -> bool {
        (self.interrupt_pending)()
    }
}
