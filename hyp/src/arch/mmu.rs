//! MMU: EL2's own address map, built from a `Layout` and switched to once. Called by `install` alone; nothing is mapped or
//! unmapped at EL2 afterwards, so no other code edits these tables, and none of them is live while it is edited.
//!
//! Own code: aarch64-paging, which fits otherwise, takes 74 instructions for an entry, and a machine with 512 MiB has
//! 900 of them. That was half of all that boot executes up to the hand-over.

use core::ptr;

use super::backing;
use super::layout::Access;
use super::region::{PAGE, Region, native};

/// Level of the root table: 39-bit addresses (TCR_EL2.T0SZ = 25).
const ROOT_LEVEL: u32 = 1;
/// Level whose entries map pages; those of the levels above map blocks or name tables.
const LAST_LEVEL: u32 = 3;

// Descriptors of stage 1 (DDI 0487, VMSAv8-64). AP[1] is RES1 at EL2.
const VALID: u64 = 1;
/// In the last level a page, above it a table.
const TABLE_OR_PAGE: u64 = 1 << 1;
const DEVICE: u64 = 1 << 2;
const AP1: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NEVER_EXECUTED: u64 = 1 << 54;
const ADDRESS: u64 = 0xffff_ffff_f000;

/// Hands out the pages of a region as translation tables, in order.
#[derive(Debug)]
pub(super) struct Carve {
    next: u64,
    end: u64,
}

/// The pages for tables are used up. `Layout::plan` counts two for each edge of a range, more than can be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfTables;

impl Carve {
    /// Returns the pages of `region`.
    ///
    /// # Safety
    /// The region is writable memory, mapped where its address says, that nothing else uses.
    pub(super) unsafe fn new(region: Region) -> Self {
        Self { next: region.start, end: region.end }
    }

    /// Returns the address of an empty table.
    fn table(&mut self) -> Result<u64, OutOfTables> {
        let table = self.next;
        if table >= self.end {
            return Err(OutOfTables);
        }
        self.next += PAGE;
        let start = ptr::with_exposed_provenance_mut(native(table));
        // SAFETY: a whole page of the region that `new` was promised, handed out once.
        unsafe { backing::scrub(start, native(PAGE)) };
        Ok(table)
    }

    /// Maps `region` identically in the table at `table`, in blocks where it covers them whole.
    fn map(&mut self, table: u64, level: u32, region: Region, attributes: u64) -> Result<(), OutOfTables> {
        let shift = 12 + 9 * (LAST_LEVEL - level);
        let bytes = 1 << shift;
        let mut at = region.start;
        while at < region.end {
            let end = region.end.min((at | (bytes - 1)) + 1);
            let entry = ptr::with_exposed_provenance_mut::<u64>(native(table + (at >> shift & 511) * 8));
            if end - at == bytes {
                let kind = if level == LAST_LEVEL { TABLE_OR_PAGE } else { 0 };
                // SAFETY: an entry of a table that `table` made, which nothing refers to until it is switched to.
                unsafe { entry.write(at | attributes | kind) };
            } else {
                // SAFETY: as above.
                let mut child = unsafe { entry.read() };
                if child == 0 {
                    child = self.table()? | TABLE_OR_PAGE | VALID;
                    // SAFETY: as above.
                    unsafe { entry.write(child) };
                }
                self.map(child & ADDRESS, level + 1, Region { start: at, end }, attributes)?;
            }
            at = end;
        }
        Ok(())
    }
}

/// Returns the attributes of a mapping: attribute 0 of MAIR_EL2 is Normal memory, 1 is device memory (`el2.rs`).
fn attributes(access: Access) -> u64 {
    let all = VALID | ACCESSED | AP1;
    match access {
        Access::Execute => all | INNER_SHAREABLE | READ_ONLY,
        Access::Read => all | INNER_SHAREABLE | READ_ONLY | NEVER_EXECUTED,
        Access::Write => all | INNER_SHAREABLE | NEVER_EXECUTED,
        Access::Device => all | DEVICE | NEVER_EXECUTED,
    }
}

/// Builds the tables for `ranges`, which do not overlap, identically mapped. Returns the address of the root table and
/// the end of what was used of `carve`.
///
/// # Errors
/// [`OutOfTables`].
pub(super) fn build(ranges: &[(Region, Access)], mut carve: Carve) -> Result<(u64, u64), OutOfTables> {
    let root = carve.table()?;
    for &(region, access) in ranges {
        carve.map(root, ROOT_LEVEL, region, attributes(access))?;
    }
    Ok((root, carve.next))
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
            let entry = ptr::with_exposed_provenance::<u64>(usize::try_from(table + index * 8).unwrap());
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
    fn tables_that_do_not_fit_are_refused() {
        let ranges = [(Region::new(0x4008_0000, 0x1000), Access::Execute)];
        // SAFETY: fresh memory that only this test uses.
        assert_eq!(build(&ranges, unsafe { Carve::new(tables(2)) }), Err(OutOfTables));
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
