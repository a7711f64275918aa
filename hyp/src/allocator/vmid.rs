//! VMIDs: one for each address space, 8 bits on the cores that Strato runs on. 0 belongs to cores that run no guest.

use core::num::NonZeroU8;

/// A VMID that belongs to one address space. Linear: dropping it loses it.
#[must_use = "a VMID that is dropped is lost: give it back"]
#[derive(Debug, PartialEq, Eq)]
pub struct Vmid(NonZeroU8);

impl Vmid {
    /// Returns the number, 1 to 255, as VTTBR_EL2 holds it.
    #[must_use]
    pub const fn get(&self) -> u8 {
        self.0.get()
    }
}

/// The VMIDs that nobody has: a bit for each.
#[derive(Debug)]
pub(super) struct VmidPool {
    free: [u64; 4],
}

impl VmidPool {
    pub(super) const fn new() -> Self {
        Self { free: [!1, !0, !0, !0] }
    }

    pub(super) fn take(&mut self) -> Option<Vmid> {
        let (place, word) = self.free.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= word.wrapping_sub(1);
        let number = u8::try_from(place).ok()?.checked_mul(64)?.checked_add(u8::try_from(bit).ok()?)?;
        NonZeroU8::new(number).map(Vmid)
    }

    pub(super) fn give_back(&mut self, vmid: Vmid) {
        if let Some(word) = self.free.get_mut(usize::from(vmid.get() / 64)) {
            *word |= 1 << (vmid.get() % 64);
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.free.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vmid_but_0_is_given_once_and_then_none_until_one_comes_back() {
        let mut pool = VmidPool::new();
        let mut taken: Vec<Vmid> = core::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.iter().map(Vmid::get).collect::<Vec<_>>(), (1..=255).collect::<Vec<_>>());
        assert_eq!((pool.count(), pool.take()), (0, None));
        pool.give_back(taken.swap_remove(99));
        assert_eq!(pool.take().map(|vmid| vmid.get()), Some(100));
    }
}
