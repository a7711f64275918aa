//! Page: one page into or out of a table that exists and stays, by the shortest way there is.
//!
//! Both functions check everything first and refuse whatever is not that simple, without a reason: the caller then asks
//! [`AddressSpace::map`] or [`AddressSpace::unmap`], which know reasons, tables and blocks.

use strato_abi::addr::{Ipa, PAGE_SIZE};

use super::AddressSpace;
use super::teardown::State;
use crate::arch::ram::Pa;
use crate::arch::stage2::{self, Scope};
use crate::arch::table::Counted;
use crate::memory::descriptor::{Attr, Level, decode, encode};

/// A page of an address space that nothing is mapped on, in a table that exists.
pub struct Vacant<'a> {
    table: Counted<'a>,
    index: usize,
}

impl AddressSpace {
    /// Returns page `ipa` when it only needs an entry: `None` when it is not page aligned, is page 0, is mapped, or has no table
    /// of pages. For an address space that [is settled](AddressSpace::is_settled).
    #[inline(always)]
    #[must_use]
    pub fn vacant(&mut self, ipa: Ipa) -> Option<Vacant<'_>> {
        let index = Level::Three.index(ipa.bytes());
        let table = self.table_of(ipa)?;
        (table.entry(index) == 0).then_some(Vacant { table, index })
    }

    /// Takes the mapping of page `ipa` away, if it is to a page that `may_take` accepts, and returns what was mapped there, the
    /// invalidation complete. `None`, and nothing done, when it is not mapped as a page, is the last of its table, or in the
    /// cases of [`AddressSpace::vacant`].
    #[inline(always)]
    #[must_use]
    pub fn take_page(&mut self, ipa: Ipa, may_take: impl FnOnce(Pa) -> bool) -> Option<Pa> {
        let (vttbr, index) = (self.selector.vttbr, Level::Three.index(ipa.bytes()));
        let mut table = self.table_of(ipa)?;
        let (pa, _) = decode(table.entry(index)).filter(|(pa, _)| table.used() > 1 && may_take(*pa))?;
        table.remove_leaf(index);
        stage2::invalidate(vttbr, Scope::Page(ipa.bytes()));
        Some(pa)
    }

    /// Returns whether it is in use and has nothing left to be invalidated.
    #[inline(always)]
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == State::Alive
    }

    /// Returns the table with the entry of page `ipa`.
    #[inline(always)]
    fn table_of(&mut self, ipa: Ipa) -> Option<Counted<'_>> {
        if !ipa.is_page_aligned() || ipa.bytes() < PAGE_SIZE {
            return None;
        }
        self.root.edit().into_child(Level::One.index(ipa.bytes()))?.into_counted(Level::Two.index(ipa.bytes()))
    }
}

impl Vacant<'_> {
    /// Maps the page to `pa`, which the caller may map so.
    #[inline(always)]
    pub fn fill(mut self, pa: Pa, attr: Attr) {
        self.table.add_leaf(self.index, encode(pa.bytes(), attr, Level::Three));
        stage2::publish();
    }
}
