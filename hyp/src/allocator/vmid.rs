//! VMIDs: 8 bits on the cores that Strato runs on, given to address spaces in generations. 0 belongs to cores that run none.
//!
//! A number is an address space's own for one generation. When all are used up, the next generation begins: what a core
//! translates by at that moment keeps its number, everybody else's is free, and all entries of all cores are invalidated.
//! So nobody gives a number back, and there can be more address spaces than numbers.
//!
//! [`Vmids`] is what cores look at without a lock; [`VmidPool`] changes under the allocator's. A core first says what it is
//! about to translate by, then looks whether the generation still is the one in which that was given; the core that begins
//! a generation first says so, then looks what the others translate by. So one of the two sees the other.

use crate::arch::CoreIndex;
use crate::arch::core_base::MAX_CORES;
use crate::arch::ram::Pa;
use crate::arch::stage2::{self, Vttbr};
use crate::sync::{AtomicU64, Ordering, fence};

/// VMIDs there are, 0 included.
const COUNT: usize = 256;

/// What selects an address space, and the generation up to which that is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The value of VTTBR_EL2.
    pub vttbr: Vttbr,
    /// The generation in which the VMID was given, or kept; 0 before the first.
    pub generation: u64,
}

impl Selector {
    /// Selects nothing, in no generation.
    pub const NONE: Self = Self { vttbr: Vttbr::NONE, generation: 0 };

    /// Returns the selector of an address space that has no VMID yet.
    #[must_use]
    pub fn without_vmid(root: Pa) -> Self {
        Self { vttbr: Vttbr::new(root, 0), generation: 0 }
    }
}

/// What every core looks at: the generation, and what each core translates by.
#[derive(Debug)]
pub struct Vmids {
    generation: AtomicU64,
    live: [AtomicU64; MAX_CORES],
}

impl Default for Vmids {
    fn default() -> Self {
        Self { generation: AtomicU64::new(1), live: Default::default() }
    }
}

impl Vmids {
    /// Says that `core` is about to translate by `selector`. Returns whether its VMID still is its own, and stays so as long
    /// as the core does; if not, [`super::Allocator::renew_vmid`] gives it one.
    #[inline(always)]
    #[must_use]
    pub fn claim(&self, core: CoreIndex, selector: Selector) -> bool {
        let Some(live) = self.live.get(core.index() & (MAX_CORES - 1)) else { return false };
        live.store(selector.vttbr.bits(), Ordering::Relaxed);
        fence(Ordering::SeqCst); // who begins a generation sees the above, or we see the generation; pairs with `roll_over`
        self.generation.load(Ordering::Relaxed) == selector.generation
    }

    /// Says that `core` translates by nothing: VTTBR_EL2 selects the empty table already.
    pub fn release(&self, core: CoreIndex) {
        if let Some(live) = self.live.get(core.index()) {
            live.store(0, Ordering::Release); // after the walks by what was selected before
        }
    }
}

/// Who has which number in this generation: the root table's address, 0 for nobody.
#[derive(Debug)]
pub(super) struct VmidPool {
    owners: [u64; COUNT],
    /// The number that is looked at next: numbers are given in rising order until there are no more.
    next: usize,
}

impl VmidPool {
    pub(super) const fn new() -> Self {
        Self { owners: [0; COUNT], next: 1 }
    }

    /// Returns `selector` with a VMID of this generation, which `core` translates by from now on.
    pub(super) fn renew(&mut self, vmids: &Vmids, core: CoreIndex, selector: Selector) -> Selector {
        let (root, own) = (selector.vttbr.root(), selector.vttbr.vmid());
        // Its own still, because a core translated by it when the generation began: there may be entries under it.
        let is_kept = own != 0 && self.owner(own) == root.bytes();
        let vmid = if is_kept { own } else { self.give(vmids, root) };
        let generation = vmids.generation.load(Ordering::Relaxed); // it changes under the caller's lock alone
        let renewed = Selector { vttbr: Vttbr::new(root, vmid), generation };
        if let Some(live) = vmids.live.get(core.index()) {
            live.store(renewed.vttbr.bits(), Ordering::Relaxed); // the next generation begins under the same lock
        }
        renewed
    }

    fn owner(&self, vmid: u8) -> u64 {
        self.owners.get(usize::from(vmid)).copied().unwrap_or(0)
    }

    /// Gives `root` a number that nobody has.
    fn give(&mut self, vmids: &Vmids, root: Pa) -> u8 {
        loop {
            let free = self.owners.iter_mut().enumerate().skip(self.next).find(|(_, owner)| **owner == 0);
            let found = free.and_then(|(vmid, owner)| Some((u8::try_from(vmid).ok()?, owner)));
            if let Some((vmid, owner)) = found {
                *owner = root.bytes();
                self.next = usize::from(vmid).saturating_add(1);
                return vmid;
            }
            // Cores keep at most `MAX_CORES` of the numbers, so that the second look finds one.
            self.roll_over(vmids);
        }
    }

    /// Begins the next generation.
    fn roll_over(&mut self, vmids: &Vmids) {
        let generation = vmids.generation.load(Ordering::Relaxed).wrapping_add(1); // 64 bits: no machine runs that long
        vmids.generation.store(generation, Ordering::Relaxed);
        fence(Ordering::SeqCst); // pairs with `claim`
        let live: [Vttbr; MAX_CORES] = core::array::from_fn(|core| {
            Vttbr::from_bits(vmids.live.get(core).map_or(0, |live| live.load(Ordering::Acquire)))
        });
        for (vmid, owner) in self.owners.iter_mut().enumerate() {
            // The root too: a core may say a number that it finds lost in its next step, and another has that by now.
            let is_live = |live: &Vttbr| usize::from(live.vmid()) == vmid && live.root().bytes() == *owner;
            if !live.iter().any(is_live) {
                *owner = 0;
            }
        }
        self.next = 1;
        stage2::invalidate_everything();
    }
}
