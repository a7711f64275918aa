//! Mail: which vCPUs at home on a core others want it to look at. Whoever sees no letter is interrupted when there is one.
//!
//! Written by every core, emptied by its own. `hyp/models` runs this file under loom.

use super::VM_PLACES;
use crate::scheduler::VcpuRef;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A core's letter box, in cache lines of its own: others say here which vCPUs to look at, then send [`SGI_MAIL`](super::SGI_MAIL).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Mail {
    is_full: AtomicBool,
    vcpus: [AtomicU64; VM_PLACES / 8],
}

impl Mail {
    /// Puts `vcpu` into the box. The caller sends the interrupt afterwards.
    pub fn put(&self, vcpu: VcpuRef) {
        if let Some(word) = self.vcpus.get(vcpu.index() / 64) {
            // AcqRel: `is_full` below comes after the clearing by the `take` that missed this bit.
            word.fetch_or(1 << (vcpu.index() % 64), Ordering::AcqRel);
        }
        self.is_full.store(true, Ordering::Release);
    }

    /// Makes the core itself look, though there is no letter.
    pub fn remind(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    /// Returns whether there is something in the box.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Returns the numbers of all vCPUs in the box, 64 to a word, and empties it.
    pub fn take(&self) -> [u64; VM_PLACES / 8] {
        self.is_full.store(false, Ordering::Relaxed);
        // Acquire by the swaps: what the senders wrote before is seen. A letter put in after the flag was cleared sets it again.
        core::array::from_fn(|n| self.vcpus.get(n).map_or(0, |word| word.swap(0, Ordering::AcqRel)))
    }
}
