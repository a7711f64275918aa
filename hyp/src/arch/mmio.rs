//! MMIO: device registers as values that other rooms may hold. A [`Device`] is the one owner of a range of registers
//! that the EL2 map covers; it turns into the pointer type of a driver crate or into a register block.
//!
//! Never decides which devices exist: `mmu::install` mints them from the layout, once.

use core::fmt;
use core::mem::{align_of, size_of};
use core::ops::Deref;
use core::ptr::NonNull;

use safe_mmio::UniqueMmioPointer;
use tock_registers::registers::ReadWrite;

/// The one owner of a range of device registers, mapped as device memory. Linear, as `Pages` are for RAM.
pub struct Device {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: registers may be accessed from any core, and this is their only owner.
unsafe impl Send for Device {}

impl Device {
    /// Returns the owner of `bytes` bytes of registers at `base`, or `None` for a null pointer.
    ///
    /// # Safety
    /// The range is mapped as device memory for as long as the program runs, and no other owner of any of it exists. A
    /// write to these registers changes no memory that Rust code uses (the device is not a DMA master, or is idle).
    pub(super) unsafe fn mint(base: *mut u8, bytes: usize) -> Option<Self> {
        Some(Self { base: NonNull::new(base)?, bytes })
    }

    /// Returns the physical address of the first register.
    #[must_use]
    pub fn address(&self) -> usize {
        self.base.addr().get()
    }

    /// Returns the first `bytes` bytes and the rest as two owners.
    ///
    /// # Errors
    /// This owner again when nothing would be left for the second.
    pub fn split(self, bytes: usize) -> Result<(Self, Self), Self> {
        let Some(rest) = self.bytes.checked_sub(bytes).filter(|&rest| rest > 0) else {
            return Err(self);
        };
        // SAFETY: the offset stays inside the range, which is one mapping.
        let second = unsafe { self.base.add(bytes) };
        Ok((Self { base: self.base, bytes }, Self { base: second, bytes: rest }))
    }

    /// Returns the pointer that driver crates take, or `None` when `T` is larger than the range or badly aligned.
    #[must_use]
    pub fn unique<T>(self) -> Option<UniqueMmioPointer<'static, T>> {
        let pointer = self.typed::<T>()?;
        // SAFETY: `self` was the only owner and is consumed; the range is mapped for good and large enough.
        Some(unsafe { UniqueMmioPointer::new(pointer) })
    }

    /// Returns a register block that all cores may share, or `None` when `T` is larger than the range or badly aligned.
    #[must_use]
    pub fn shared<T: Block>(self) -> Option<Registers<T>> {
        self.typed().map(Registers)
    }

    fn typed<T>(&self) -> Option<NonNull<T>> {
        let fits = size_of::<T>() <= self.bytes && self.address().is_multiple_of(align_of::<T>());
        fits.then(|| self.base.cast())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({:#x}, {} bytes)", self.address(), self.bytes)
    }
}

/// A register block made of tock-registers fields only, each of them volatile and behind an `UnsafeCell`.
///
/// # Safety
/// The type has no other fields, and any bit pattern is a value of it.
pub unsafe trait Block {}

/// A page of 32-bit registers, each found by its offset.
#[repr(transparent)]
pub struct RegisterPage([ReadWrite<u32>; 1024]);

// SAFETY: every field is a tock-registers field, and every bit pattern is a value of it.
unsafe impl Block for RegisterPage {}

impl RegisterPage {
    /// Returns the register `offset` bytes from the first; `None` between two registers and beyond the last.
    #[must_use]
    pub fn word(&self, offset: u64) -> Option<&ReadWrite<u32>> {
        let is_one = offset.is_multiple_of(4);
        self.0.get(usize::try_from(offset / 4).ok()?).filter(|_| is_one)
    }
}

/// Register blocks that all cores share. An access is one volatile load or store; what two cores write at once is the
/// device's affair, and its room says why that is right.
pub struct Registers<T: Block>(NonNull<T>);

// SAFETY: a `Block` is accessed by single volatile loads and stores, which any core may do at any time.
unsafe impl<T: Block> Send for Registers<T> {}
// SAFETY: as above.
unsafe impl<T: Block> Sync for Registers<T> {}

impl<T: Block> Deref for Registers<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: mapped for good and large enough (`Device::shared`); shared references to cells may coexist.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Block> fmt::Debug for Registers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registers({:p})", self.0)
    }
}

/// Returns the word at an address of simulated registers.
#[cfg(test)]
pub(crate) fn peek(address: usize) -> u32 {
    let word = core::ptr::with_exposed_provenance::<u32>(address);
    // SAFETY: tests pass addresses inside memory that `simulated` leaked.
    unsafe { word.read_volatile() }
}

/// Changes the word at an address of simulated registers.
#[cfg(test)]
pub(crate) fn poke(address: usize, value: u32) {
    let word = core::ptr::with_exposed_provenance_mut::<u32>(address);
    // SAFETY: tests pass addresses inside memory that `simulated` leaked.
    unsafe { word.write_volatile(value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_larger_than_the_range_is_refused() {
        assert!(Device::simulated(64).unique::<[u32; 17]>().is_none());
        assert!(Device::simulated(64).unique::<[u32; 16]>().is_some());
    }

    #[test]
    fn a_register_of_a_page_is_found_by_its_offset_alone() {
        let page = Device::simulated(4096).shared::<RegisterPage>().unwrap();
        assert!(page.word(0).is_some() && page.word(0xffc).is_some());
        assert!([1, 2, 0xfff, 0x1000, u64::MAX, u64::MAX - 3].iter().all(|&offset| page.word(offset).is_none()));
        assert!(Device::simulated(4080).shared::<RegisterPage>().is_none());
    }

    #[test]
    fn a_split_gives_two_ranges_in_a_row_and_never_an_empty_one() {
        let device = Device::simulated(64);
        let base = device.address();
        let (first, second) = device.split(16).unwrap();
        assert_eq!((first.address(), second.address()), (base, base + 16));
        assert_eq!((first.bytes, second.bytes), (16, 48));
        assert!(Device::simulated(64).split(64).is_err());
    }
}
