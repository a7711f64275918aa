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
    /// that is mapped there stays.
    ///
    /// # Errors
    /// [`SpaceError::Dying`]; [`SpaceError::NoMemory`] and [`SpaceError::Quota`] when a block must be split and nothing
    /// was taken away before.
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
            let done = match self.unmap(first, wanted, source) {
                Ok(done) => done,
                Err(error) if gone == 0 => return Err(error),
                Err(_) => break,
            };
            gone = gone.saturating_add(done);
            at = from.saturating_add(done.saturating_mul(PAGE_SIZE));
            if done < wanted || gone >= UNITS as u64 {
                break;
            }
        }
        Ok(Part { pages: gone, settled: at.min(end).saturating_sub(start) / PAGE_SIZE })
    }

    /// Returns the first stretch of addresses from `at` on that translate to `memory`; an empty one where it stopped to
    /// look.
    fn stretch(&self, at: u64, end: u64, memory: Memory, looks: &mut usize) -> (u64, u64) {
        let (mut at, mut found, mut leaves) = (at, None, 0usize);
        while at < end && *looks != 0 && leaves < UNITS {
            *looks = looks.saturating_sub(1);
            let (table, level) = self.leaf_table(at);
            let leaf = at & !level.bytes().wrapping_sub(1);
            let next = leaf.saturating_add(level.bytes()).min(end);
            let part =
                decode(table.entry(level.index(at))).and_then(|(pa, _)| overlap(leaf, pa.bytes(), at, next, memory));
            match (part, found) {
                (None, None) => at = next,
                (Some((from, to)), None) => (found, at) = (Some(from), to),
                (Some((from, to)), Some(_)) if from == at => at = to,
                (_, Some(_)) => break,
            }
            leaves = if found.is_some() { leaves.saturating_add(1) } else { 0 };
            // What ends inside a leaf is followed by other memory.
            if found.is_some() && at < next {
                break;
            }
        }
        (found.unwrap_or(at), at)
    }
}

/// Returns the addresses of `at..next`, in the leaf that maps `pa` at `leaf`, that translate to `memory`.
fn overlap(leaf: u64, pa: u64, at: u64, next: u64, (base, bytes): Memory) -> Option<(u64, u64)> {
    let first = pa.saturating_add(at.saturating_sub(leaf));
    let last = pa.saturating_add(next.saturating_sub(leaf));
    let (from, to) = (first.max(base), last.min(base.saturating_add(bytes)));
    let place = |pa: u64| at.saturating_add(pa.saturating_sub(first));
    (from < to).then(|| (place(from), place(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_leaf_has_in_common_with_the_memory_is_taken() {
        let memory = (0x8000_2000, 0x3000);
        assert_eq!(overlap(0x1000, 0x8000_2000, 0x1000, 0x2000, memory), Some((0x1000, 0x2000)));
        assert_eq!(overlap(0x1000, 0x8000_5000, 0x1000, 0x2000, memory), None);
        let block = |at, next| overlap(0x20_0000, 0x8000_0000, at, next, memory);
        assert_eq!(block(0x20_0000, 0x40_0000), Some((0x20_2000, 0x20_5000)));
        assert_eq!(block(0x20_3000, 0x20_4000), Some((0x20_3000, 0x20_4000)));
        assert_eq!(block(0x20_5000, 0x40_0000), None);
    }
}
