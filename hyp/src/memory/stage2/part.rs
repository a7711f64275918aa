//! Part: what is mapped of a given stretch of memory, taken away in bounded parts, for memory that goes back to its owner.

use strato_abi::addr::{Ipa, PAGE_SIZE};

use super::{AddressSpace, SpaceError, UNITS};
use crate::arch::ram::Pa;
use crate::memory::descriptor::decode;
use crate::memory::source::TableSource;

/// Entries that one call looks at, besides those it takes away.
const LOOKS: usize = 192;
/// Stretches of neighboring pages that one call takes away: each costs an invalidation.
const STRETCHES: usize = 4;

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Pages taken away.
    pub pages: u64,
    /// Pages of the range that are settled, from the first on.
    pub settled: u64,
}

/// Physical memory: first byte, and bytes.
type Memory = (u64, u64);

impl AddressSpace {
    /// Takes away what is mapped of the `memory_pages` pages from `memory` on, among `pages` pages from `ipa` on; all else
    /// that is mapped there stays. A block goes as a whole, so that no table is needed: a VM without quota would hold up who
    /// takes memory away from it.
    ///
    /// # Errors
    /// [`SpaceError::Dying`].
    pub fn unmap_part(
        &mut self,
        ipa: Ipa,
        pages: u64,
        (memory, memory_pages): (Pa, u64),
        source: &mut impl TableSource,
    ) -> Result<Part, SpaceError> {
        self.check_alive()?;
        self.complete(source); // what was left to be invalidated counts as mapped until it is
        let memory = (memory.bytes(), memory_pages.saturating_mul(PAGE_SIZE));
        let start = ipa.bytes();
        let end = start.saturating_add(pages.saturating_mul(PAGE_SIZE));
        let (mut at, mut gone, mut looks) = (start, 0u64, LOOKS);
        for _ in 0..STRETCHES {
            let (from, to) = self.stretch(at, end, memory, &mut looks);
            at = from;
            if from == to {
                break;
            }
            let wanted = to.saturating_sub(from) / PAGE_SIZE;
            let Some(first) = Ipa::new(from) else { break };
            let done = self.unmap(first, wanted, source)?;
            gone = gone.saturating_add(done);
            at = from.saturating_add(done.saturating_mul(PAGE_SIZE));
            if done < wanted || gone >= UNITS as u64 {
                break;
            }
        }
        Ok(Part { pages: gone, settled: at.min(end).saturating_sub(start) / PAGE_SIZE })
    }

    /// Returns the first stretch of leaves from the one of `at` on that have something in common with `memory`; an empty one
    /// where it stopped to look.
    fn stretch(&self, at: u64, end: u64, memory: Memory, looks: &mut usize) -> (u64, u64) {
        let (mut at, mut found, mut leaves) = (at, None, 0usize);
        while at < end && *looks != 0 && leaves < UNITS {
            *looks = looks.saturating_sub(1);
            let (table, level) = self.leaf_table(at);
            let leaf = at & !level.bytes().wrapping_sub(1);
            let is_part = decode(table.entry(level.index(at)))
                .is_some_and(|(pa, _)| overlaps((pa.bytes(), level.bytes()), memory));
            if is_part {
                found = found.or(Some(leaf));
                leaves = leaves.saturating_add(1);
            } else if found.is_some() {
                break;
            }
            at = leaf.saturating_add(level.bytes());
        }
        (found.unwrap_or(at), at)
    }
}

/// Returns whether two stretches of memory have something in common.
fn overlaps((a, a_bytes): Memory, (b, b_bytes): Memory) -> bool {
    a < b.saturating_add(b_bytes) && b < a.saturating_add(a_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_memory_overlap_by_a_byte_or_not_at_all() {
        let memory = (0x8000_2000, 0x3000);
        for (other, expected) in [
            ((0x8000_1000, 0x1000), false),
            ((0x8000_1000, 0x1001), true),
            ((0x8000_3000, 0x1000), true),
            ((0x8000_0000, 0x20_0000), true),
            ((0x8000_4fff, 1), true),
            ((0x8000_5000, 0x1000), false),
        ] {
            assert_eq!((overlaps(memory, other), overlaps(other, memory)), (expected, expected), "{other:x?}");
        }
    }
}
