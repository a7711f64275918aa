//! RAM: physical addresses and the one proof of owning frames, [`Pages`].
//!
//! Owns the step from a physical address to a pointer. Boot mints each free frame once; from then on frames only move:
//! a function that takes [`Pages`] has them, a function that returns them gave them up. Never decides who gets what.
//!
//! - [`Pa`] names a byte, owns nothing and gives no access.
//! - [`Pages`] owns frames that nobody else can reach; [`super::page_box`] places values there,
//!   [`super::shared`] lends them to a guest, [`super::table`] makes translation tables of them.

use core::fmt;
use core::mem::ManuallyDrop;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

use super::{backing, maintenance};

/// Bytes in a frame.
pub const FRAME_SIZE: usize = 4096;
/// Bits of a physical address that a translation table entry of this granule can hold (DDI 0487, VMSAv8-64).
pub const PA_BITS: u32 = 48;

const FRAME_SHIFT: u32 = FRAME_SIZE.trailing_zeros();

/// A physical byte address below `1 << PA_BITS`. It names memory; it is no permission to touch it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pa(u64);

impl Pa {
    /// The bits of a table entry that hold an address: 47:12.
    pub const ENTRY_BITS: u64 = 0x0000_ffff_ffff_f000;

    /// Returns the address, or `None` when `bytes` does not fit [`PA_BITS`].
    #[must_use]
    #[inline]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes >> PA_BITS == 0 { Some(Self(bytes)) } else { None }
    }

    /// Returns the address that a table entry holds: bits 47:12, whatever else the entry says.
    #[must_use]
    #[inline]
    pub const fn of_entry(bits: u64) -> Self {
        Self(bits & Self::ENTRY_BITS)
    }

    /// Returns the address as a number of bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the number of the frame that holds this byte.
    #[must_use]
    #[inline]
    pub const fn frame(self) -> u64 {
        self.0 >> FRAME_SHIFT
    }

    /// Returns the address `bytes` further on, or `None` past the last one.
    #[must_use]
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Self::new(sum),
            None => None,
        }
    }

    /// Returns whether the address is a multiple of `bytes`, a power of two.
    #[must_use]
    #[inline]
    pub const fn is_aligned(self, bytes: u64) -> bool {
        self.0 & bytes.wrapping_sub(1) == 0
    }
}

impl fmt::Debug for Pa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pa({:#x})", self.0)
    }
}

/// The only owner of `count` frames in a row, which nothing else can reach.
///
/// Linear: it cannot be copied, and dropping it loses the frames until the next boot, which stops a host test.
#[must_use = "frames that are dropped are lost: give them back"]
pub struct Pages {
    first: Pa,
    count: NonZeroUsize,
    /// Every byte is zero, and so is what a reader with its caches off would see.
    scrubbed: bool,
}

impl Pages {
    /// Returns the owner of the frames, or `None` when `pa` does not start a frame, is frame 0 (its pointer would be
    /// null), `count` is zero or the end does not fit [`PA_BITS`].
    ///
    /// # Safety
    /// The frames are RAM, mapped readable, writable and cached at EL2 where [`backing`] says, and nothing else refers
    /// to them: no other `Pages`, no part of the image, no device, no reserved region.
    #[must_use]
    pub unsafe fn mint(pa: u64, count: usize) -> Option<Self> {
        let first = Pa::new(pa)?;
        let bytes = u64::try_from(count.checked_mul(FRAME_SIZE)?).ok()?;
        first.checked_add(bytes.checked_sub(1)?)?;
        let starts_frame = pa != 0 && first.is_aligned(FRAME_SIZE as u64);
        starts_frame.then_some(Self { first, count: NonZeroUsize::new(count)?, scrubbed: false })
    }

    /// Returns the owner of frames whose former owner is gone.
    ///
    /// # Safety
    /// As for [`Pages::mint`]; `first` starts a frame and the range fits; `scrubbed` is true only if it holds.
    #[inline]
    pub(super) unsafe fn revive(first: Pa, count: NonZeroUsize, scrubbed: bool) -> Self {
        Self { first, count, scrubbed }
    }

    /// Returns the parts and ends this owner; the caller keeps the frames in another form.
    #[inline]
    pub(super) fn dissolve(self) -> (Pa, NonZeroUsize, bool) {
        let this = ManuallyDrop::new(self);
        (this.first, this.count, this.scrubbed)
    }

    /// Returns the physical address of the first frame.
    #[must_use]
    #[inline]
    pub const fn pa(&self) -> Pa {
        self.first
    }

    /// Returns the number of frames, at least 1.
    #[must_use]
    #[inline]
    pub const fn count(&self) -> usize {
        self.count.get()
    }

    /// Returns the number of bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(&self) -> usize {
        self.count.get() << FRAME_SHIFT // `mint` checked the product; parts of it are smaller
    }

    /// Returns whether every byte is known to be zero, in caches and behind them.
    #[must_use]
    #[inline]
    pub const fn is_scrubbed(&self) -> bool {
        self.scrubbed
    }

    /// Returns the first `count` frames and the rest.
    ///
    /// # Errors
    /// The frames unchanged, when one of the parts would be empty.
    pub fn split_at(self, count: usize) -> Result<(Self, Self), Self> {
        let rest = self.count().checked_sub(count).and_then(NonZeroUsize::new);
        let (Some(low), Some(high)) = (NonZeroUsize::new(count), rest) else { return Err(self) };
        let (first, _, scrubbed) = self.dissolve();
        let second = Pa(first.0.wrapping_add((count as u64) << FRAME_SHIFT)); // inside the range that `mint` checked
        Ok((Self { first, count: low, scrubbed }, Self { first: second, count: high, scrubbed }))
    }

    /// Returns `low` and `high` as one, which is scrubbed only if both are.
    ///
    /// # Errors
    /// Both unchanged, when `high` does not start where `low` ends.
    pub fn join(low: Self, high: Self) -> Result<Self, (Self, Self)> {
        let end = low.first.0.wrapping_add((low.count() as u64) << FRAME_SHIFT);
        let count = low.count.checked_add(high.count());
        let Some(count) = count.filter(|_| end == high.first.0) else { return Err((low, high)) };
        let (first, _, low_scrubbed) = low.dissolve();
        let (_, _, high_scrubbed) = high.dissolve();
        Ok(Self { first, count, scrubbed: low_scrubbed && high_scrubbed })
    }

    /// Makes every byte zero, through to the point of coherency: the next owner may read with its caches off.
    ///
    /// Does nothing to frames that are scrubbed already. Time grows with the count; [`Scrub`] is the form in steps.
    pub fn scrub(&mut self) {
        if !self.scrubbed {
            self.scrub_part(0, self.count());
            self.scrubbed = true;
        }
    }

    /// Scrubs `count` frames from number `first` on, as far as they exist.
    fn scrub_part(&mut self, first: usize, count: usize) {
        let count = count.min(self.count().saturating_sub(first));
        if count != 0 {
            // SAFETY: `first` is below the count, so the sum stays inside the frames.
            let start = unsafe { self.pointer().as_ptr().add(first << FRAME_SHIFT) };
            // SAFETY: the frames belong to `self`, which is borrowed alone, and `first + count` stays inside them.
            unsafe { backing::scrub(start, count << FRAME_SHIFT) };
        }
    }

    /// Returns the frames as ones that may hold anything: somebody could write to them.
    pub fn into_dirty(mut self) -> Self {
        self.scrubbed = false;
        self
    }

    /// Returns the pointer to the first byte, valid for all bytes of the frames as long as this owner exists.
    #[inline]
    pub(super) fn pointer(&self) -> NonNull<u8> {
        // SAFETY: `mint` refused frame 0, and no later frame has a null pointer.
        unsafe { NonNull::new_unchecked(backing::pointer(self.first)) }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({:#x} + {})", self.first.0, self.count)
    }
}

impl Drop for Pages {
    #[inline]
    fn drop(&mut self) {
        backing::lost(self.first, self.count());
    }
}

/// A scrub in bounded steps, the form for a caller whose time is bounded.
#[must_use = "frames that are dropped are lost: finish the scrub"]
#[derive(Debug)]
pub struct Scrub {
    pages: Pages,
    done: usize,
}

impl Scrub {
    /// Frames scrubbed in one step (ABI rule P5).
    pub const FRAMES_PER_STEP: usize = 16;

    /// Returns the scrub of `pages`, finished at once if they are clean already.
    pub fn new(pages: Pages) -> Self {
        let done = if pages.scrubbed { pages.count() } else { 0 };
        Self { pages, done }
    }

    /// Returns whether all frames are scrubbed, after scrubbing at most [`Scrub::FRAMES_PER_STEP`] more.
    pub fn step(&mut self) -> bool {
        if self.done < self.pages.count() {
            self.pages.scrub_part(self.done, Self::FRAMES_PER_STEP);
            self.done = self.done.saturating_add(Self::FRAMES_PER_STEP).min(self.pages.count());
        }
        self.done == self.pages.count()
    }

    /// Returns the scrubbed frames. What an instruction cache held of their former contents is gone, on all cores: the next
    /// owner may execute them unwritten.
    ///
    /// # Errors
    /// The scrub itself, when steps are still missing.
    pub fn finish(mut self) -> Result<Pages, Self> {
        if self.done < self.pages.count() {
            return Err(self);
        }
        if !self.pages.scrubbed {
            // Their former owner may have run code there: what instruction caches kept of it must not outlive the zeros
            // (DDI 0487, coherency of instruction fetches; the scrub ended with the DSB that has to come before).
            maintenance::ic_iallu_is();
            maintenance::dsb_ish(); // complete on all cores before anybody owns the frames
            maintenance::isb();
            self.pages.scrubbed = true;
        }
        Ok(self.pages)
    }

    /// Returns how many frames are not scrubbed yet.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.pages.count().saturating_sub(self.done)
    }

    /// Returns the frames on their way.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }
}
