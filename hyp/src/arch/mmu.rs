//! MMU: EL2's own address map, built from a [`Layout`] and switched to once. Called by boot alone; nothing is mapped or
//! unmapped at EL2 afterwards, so no other code edits these tables.
//!
//! Built by `aarch64-paging`, whose stage 1 tables are not live until [`install`] switches to them; the crate's
//! `activate` is not used, because leaving the boot map needs the MMU off for a moment (`entry.S`).

use core::mem;
use core::ptr::{self, NonNull};

use aarch64_paging::MapError;
use aarch64_paging::descriptor::{El23Attributes, PhysicalAddress};
use aarch64_paging::paging::{Constraints, El2, MemoryRegion, PageTable, RootTable, Translation};

use super::layout::Access;
use super::region::{PAGE, Region, native};

/// Level of the root table: 39-bit addresses (TCR_EL2.T0SZ = 25).
const ROOT_LEVEL: usize = 1;

/// Hands out the pages of a region as translation tables, in order. Where a table stands is its physical address.
#[derive(Debug)]
pub(super) struct Carve {
    next: u64,
    end: u64,
}

impl Carve {
    /// Returns the pages of `region`.
    ///
    /// # Safety
    /// The region is writable memory that nothing else uses.
    pub(super) unsafe fn new(region: Region) -> Self {
        Self { next: region.start, end: region.end }
    }
}

impl Translation<El23Attributes> for Carve {
    /// # Panics
    /// When the pages are used up; `Layout::plan` counts two tables for each edge of a range, more than can be needed.
    fn allocate_table(&mut self) -> (NonNull<PageTable<El23Attributes>>, PhysicalAddress) {
        assert!(self.next < self.end, "the layout has pages for every table of the EL2 map");
        let address = native(self.next);
        self.next += PAGE;
        let table = self.physical_to_virtual(PhysicalAddress(address));
        // SAFETY: the page lies in the region that `new` was promised, is aligned, and was not handed out before.
        unsafe { ptr::write_bytes(table.as_ptr(), 0, 1) };
        (table, PhysicalAddress(address))
    }

    unsafe fn deallocate_table(&mut self, _: NonNull<PageTable<El23Attributes>>) {}

    /// # Panics
    /// At address 0, which is never one of ours.
    fn physical_to_virtual(&self, address: PhysicalAddress) -> NonNull<PageTable<El23Attributes>> {
        let Some(table) = NonNull::new(ptr::with_exposed_provenance_mut(address.0)) else {
            panic!("an EL2 table never stands at address 0");
        };
        table
    }
}

/// Returns the attributes of a mapping. Bit 6 (AP\[1\]) is RES1 at EL2.
fn attributes(access: Access) -> El23Attributes {
    let all = El23Attributes::VALID | El23Attributes::ACCESSED | El23Attributes::USER_RES1;
    let normal = all | El23Attributes::ATTRIBUTE_INDEX_0 | El23Attributes::INNER_SHAREABLE;
    match access {
        Access::Execute => normal | El23Attributes::READ_ONLY,
        Access::Read => normal | El23Attributes::READ_ONLY | El23Attributes::XN,
        Access::Write => normal | El23Attributes::XN,
        Access::Device => all | El23Attributes::ATTRIBUTE_INDEX_1 | El23Attributes::XN,
    }
}

/// Builds the tables for `ranges`, identically mapped. Returns the address of the root table and the end of what was
/// used of `carve`.
pub(super) fn build(ranges: &[(Region, Access)], carve: Carve) -> Result<(u64, u64), MapError> {
    let mut map = RootTable::new(carve, ROOT_LEVEL, El2);
    for &(region, access) in ranges {
        let start = native(region.start);
        let pages = MemoryRegion::new(start, native(region.end));
        map.map_range(&pages, PhysicalAddress(start), attributes(access), Constraints::NO_CONTIGUOUS_HINT)?;
    }
    let result = (map.to_physical().0 as u64, map.translation().next);
    mem::forget(map); // the tables stay for good
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::{Layout, alloc};

    fn tables(pages: usize) -> Region {
        let layout = Layout::from_size_align(pages * 4096, 4096).unwrap();
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout) }.expose_provenance() as u64;
        Region::new(start, layout.size() as u64)
    }

    /// Walks as the MMU does; returns the leaf descriptor and its level.
    fn walk(root: u64, address: u64) -> Option<(u64, usize)> {
        let mut table = root;
        for level in 1..=3 {
            let index = address >> (12 + 9 * (3 - level)) & 511;
            let entry = ptr::with_exposed_provenance::<u64>((table + index * 8) as usize);
            // SAFETY: `table` came out of a table descriptor, so it is one of the pages in `tables`.
            let entry = unsafe { entry.read() };
            match (entry & 3, level) {
                (0 | 2, _) => return None,
                (3, 1 | 2) => table = entry & 0xffff_ffff_f000,
                _ => return Some((entry, level)),
            }
        }
        None
    }

    #[test]
    fn each_kind_of_access_has_its_descriptor() {
        let ranges = [
            (Region::new(0x4008_0000, 0x1000), Access::Execute),
            (Region::new(0x4008_1000, 0x1000), Access::Read),
            (Region::new(0x4008_2000, 0x1000), Access::Write),
            (Region::new(0x0900_0000, 0x1000), Access::Device),
        ];
        // SAFETY: fresh memory that only this test uses.
        let (root, end) = build(&ranges, unsafe { Carve::new(tables(8)) }).unwrap();
        assert_eq!(end - root, 5 * 4096);
        assert_eq!(walk(root, 0x4008_0000), Some((0x4008_07c3, 3)));
        assert_eq!(walk(root, 0x4008_1000), Some((0x0040_0000_4008_17c3, 3)));
        assert_eq!(walk(root, 0x4008_2000), Some((0x0040_0000_4008_2743, 3)));
        assert_eq!(walk(root, 0x0900_0000), Some((0x0040_0000_0900_0447, 3)));
        assert_eq!(walk(root, 0x4008_3000), None);
        assert_eq!(walk(root, 0x4000_0000), None);
    }

    #[test]
    fn large_ranges_use_blocks_and_keep_their_edges() {
        let ranges = [(Region { start: 0x3fff_f000, end: 0x1_0020_1000 }, Access::Write)];
        // SAFETY: fresh memory that only this test uses.
        let (root, end) = build(&ranges, unsafe { Carve::new(tables(8)) }).unwrap();
        assert_eq!(end - root, 5 * 4096);
        assert_eq!(walk(root, 0x3fff_f000).map(|(_, level)| level), Some(3));
        assert_eq!(walk(root, 0x4000_0000).map(|(_, level)| level), Some(1));
        assert_eq!(walk(root, 0x1_0000_0000).map(|(_, level)| level), Some(2));
        assert_eq!(walk(root, 0x1_0020_0000).map(|(_, level)| level), Some(3));
        assert_eq!(walk(root, 0x3fff_e000), None);
        assert_eq!(walk(root, 0x1_0020_1000), None);
    }
}
