//! Registers on a PC: plain memory that keeps what is written, in place of a device.

use crate::arch::mmio::Device;

impl Device {
    /// Returns registers that are plain memory of `bytes` zero bytes. The memory is never freed.
    ///
    /// # Panics
    /// Never: leaked memory does not stand at address 0.
    #[must_use]
    pub fn simulated(bytes: usize) -> Self {
        Self::simulated_with(bytes, &[])
    }

    /// Returns the same with these 32-bit words in it, each at its offset in bytes.
    ///
    /// # Panics
    /// A word is outside of them.
    #[must_use]
    pub fn simulated_with(bytes: usize, held: &[(usize, u32)]) -> Self {
        let words = vec![0_u128; bytes.div_ceil(16)].leak();
        for &(offset, word) in held {
            let Some(place) = words.get_mut(offset / 16) else { panic!("there is no word at {offset:#x}") };
            *place |= u128::from(word) << (offset % 16 * 8);
        }
        let start = core::ptr::with_exposed_provenance_mut(words.as_mut_ptr().expose_provenance());
        // SAFETY: leaked memory is valid for good, aligned to 16 bytes, and owned by nobody else.
        let Some(device) = (unsafe { Self::mint(start, bytes) }) else {
            panic!("leaked memory stands at address 0");
        };
        device
    }
}
