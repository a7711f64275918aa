//! Free lists: the pool's extents by order, those known to be clean apart from the rest. Owns the heads; the links stand
//! in the ledger's entries. Called by the allocator only.

use super::MAX_ORDER;
use super::ledger::{Ledger, NONE};

const ORDERS: usize = MAX_ORDER as usize + 1;

/// Two lists for each order: dirty, clean.
#[derive(Debug)]
pub(super) struct FreeLists {
    heads: [[u16; ORDERS]; 2],
    /// One bit for each order whose list has an extent.
    filled: [u32; 2],
}

impl FreeLists {
    pub(super) const fn new() -> Self {
        Self { heads: [[NONE; ORDERS]; 2], filled: [0; 2] }
    }

    /// Returns the first extent of list `clean`, `order`.
    pub(super) fn head(&self, clean: bool, order: u32) -> u16 {
        self.heads.get(usize::from(clean)).and_then(|heads| heads.get(order as usize)).copied().unwrap_or(NONE)
    }

    /// Returns a smallest extent of at least `order`, a clean one if there is a choice.
    pub(super) fn smallest(&self, order: u32) -> Option<u16> {
        let at_least = u32::MAX.checked_shl(order)?;
        let [dirty, clean] = self.filled.map(|filled| (filled & at_least).trailing_zeros());
        let head = self.head(clean <= dirty, clean.min(dirty));
        (head != NONE).then_some(head)
    }

    /// Puts the extent of entry `index`, whose slot holds its frames, into its list.
    pub(super) fn insert(&mut self, ledger: &mut Ledger, index: u16) {
        let Some(entry) = ledger.get_mut(index) else { return };
        let (clean, order) = (entry.slot.is_scrubbed(), entry.slot.order());
        let head = self.head(clean, order);
        (entry.previous, entry.next) = (NONE, head);
        if let Some(second) = ledger.get_mut(head) {
            second.previous = index;
        }
        self.set_head(clean, order, index);
    }

    /// Takes the extent of entry `index` out of its list; its slot still holds the frames.
    pub(super) fn remove(&mut self, ledger: &mut Ledger, index: u16) {
        let Some(entry) = ledger.get(index) else { return };
        let (clean, order, previous, next) = (entry.slot.is_scrubbed(), entry.slot.order(), entry.previous, entry.next);
        match ledger.get_mut(previous) {
            Some(before) => before.next = next,
            None => self.set_head(clean, order, next),
        }
        if let Some(after) = ledger.get_mut(next) {
            after.previous = previous;
        }
    }

    fn set_head(&mut self, clean: bool, order: u32, index: u16) {
        let list = usize::from(clean);
        if let Some(head) = self.heads.get_mut(list).and_then(|heads| heads.get_mut(order as usize)) {
            *head = index;
        }
        if let Some(filled) = self.filled.get_mut(list) {
            *filled = *filled & !(1 << order) | u32::from(index != NONE) << order;
        }
    }
}
