//! Shared: frames that a guest may change at any moment. [`SharedPages`] owns them, [`SharedFrames`] is a look at them.
//!
//! Every access is a relaxed atomic one of 8 bytes, so that a guest's store in between is a value like another,
//! never a broken rule of the language. Copy once, then check: a second read may give something else.

use core::hint::black_box;
use core::mem::size_of;
use core::num::NonZeroUsize;
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

use super::ram::{FRAME_SIZE, Pa, Pages};
use super::{backing, maintenance};

const WORD: usize = size_of::<u64>();
/// Attempts to change a part of a word that a guest keeps changing too.
const RACES: u32 = 32;

/// The owner of frames that a guest can reach too.
#[must_use = "frames that are dropped are lost: use into_pages"]
#[derive(Debug)]
pub struct SharedPages {
    pages: Pages,
}

impl SharedPages {
    /// Returns the frames as ones that a guest may be given.
    pub fn new(pages: Pages) -> Self {
        Self { pages }
    }

    /// Returns a look at the frames.
    #[must_use]
    #[inline]
    pub fn frames(&self) -> SharedFrames<'_> {
        // SAFETY: the frames belong to `self` and are only ever reached as atomics while it lives.
        unsafe { SharedFrames::over(&self.pages) }
    }

    /// Returns the words of the first frame: there always is one.
    #[must_use]
    #[inline(always)]
    pub fn first(&self) -> &[AtomicU64; FRAME_SIZE / WORD] {
        // SAFETY: `pages` is at least one frame of RAM, aligned, initialized and mapped, and reached as atomics only while
        // `self` lives.
        unsafe { self.pages.pointer().cast().as_ref() }
    }

    /// Returns the physical address of the first frame.
    #[must_use]
    #[inline]
    pub fn pa(&self) -> Pa {
        self.pages.pa()
    }

    /// Returns word `index` (8 bytes each), or `None` past the end.
    #[must_use]
    #[inline]
    pub fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.frames().word(index)
    }

    /// Returns the frames as private ones, dirty. The caller has unmapped them everywhere and completed the
    /// invalidation; the allocator's mapped counts and the page-table rules hold this.
    pub fn into_pages(self) -> Pages {
        let (first, count, _) = self.pages.dissolve();
        // SAFETY: the owner was dissolved the line before; the guest may have written, so nothing is known to be zero.
        unsafe { Pages::revive(first, count, false) }
    }
}

/// A look at frames that a guest may change at any moment.
#[derive(Clone, Copy)]
pub struct SharedFrames<'a> {
    words: &'a [AtomicU64],
}

impl<'a> SharedFrames<'a> {
    /// Returns a look at the frames of `pages`.
    ///
    /// # Safety
    /// As long as the look is used, EL2 reaches the frames as atomics only, and `pages` is not used otherwise.
    pub(super) unsafe fn over(pages: &'a Pages) -> Self {
        let words = pages.pointer().cast::<AtomicU64>().as_ptr();
        // SAFETY: frames are RAM that is aligned, initialized and mapped; atomics allow changes by others.
        Self { words: unsafe { slice::from_raw_parts(words, pages.bytes() / WORD) } }
    }

    /// Returns the physical address of the first frame.
    #[must_use]
    pub fn pa(self) -> Pa {
        backing::address(self.words.as_ptr().cast::<u8>())
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.words.len().wrapping_mul(WORD) // a slice is never larger than the address space
    }

    /// Returns word `index` (8 bytes each), or `None` past the end.
    #[must_use]
    #[inline]
    pub fn word(self, index: usize) -> Option<&'a AtomicU64> {
        self.words.get(index)
    }

    /// Copies `bytes` to the frames from byte `offset` on. Time grows with the length: the caller bounds it.
    ///
    /// Returns whether it fitted; if not, nothing was written.
    #[inline(never)]
    #[must_use]
    pub fn write(self, offset: usize, bytes: &[u8]) -> bool {
        let Some(end) = offset.checked_add(bytes.len()).filter(|&end| end <= self.bytes()) else { return false };
        let (head, words) = bytes.split_at(bytes.len().min(offset.wrapping_neg() % WORD));
        self.write_part(offset, head);
        let (words, tail) = words.as_chunks::<WORD>();
        let start = offset.saturating_add(head.len()) / WORD;
        let slots = self.words.iter().skip(start);
        // The target loads what may be unaligned byte by byte, so images, which are aligned, go another way.
        match <[u64]>::ref_from_bytes(words.as_flattened()) {
            Ok(words) => slots.zip(words).for_each(|(slot, word)| slot.store(u64::from_le(*word), Ordering::Relaxed)),
            Err(_) => {
                slots.zip(words).for_each(|(slot, word)| slot.store(u64::from_le_bytes(*word), Ordering::Relaxed))
            }
        }
        self.write_part(end.saturating_sub(tail.len()), tail);
        true
    }

    /// Writes a part of one word; the guest's bytes beside it stay, unless it wins 32 races for the word in a row. All
    /// accesses are of words, since the language knows no order between atomics of different sizes.
    #[inline(never)]
    fn write_part(self, offset: usize, part: &[u8]) {
        let Some(slot) = self.words.get(offset / WORD).filter(|_| !part.is_empty()) else { return };
        let merge = |old: u64| {
            let mut word = old.to_le_bytes();
            word.iter_mut().skip(offset % WORD).zip(part).for_each(|(byte, &new)| *byte = new);
            u64::from_le_bytes(word)
        };
        let mut old = slot.load(Ordering::Relaxed);
        // Opaque, or the compiler writes the attempts out one by one.
        for _ in 0..black_box(RACES) {
            match slot.compare_exchange_weak(old, merge(old), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
        slot.store(merge(old), Ordering::Relaxed);
    }

    /// Copies from byte `offset` of the frames on into `bytes`, once. Time grows with the length: the caller bounds it.
    ///
    /// Returns whether the range exists; if not, `bytes` is unchanged.
    #[must_use]
    pub fn read(self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(bytes.len()).filter(|&end| end <= self.bytes()) else { return false };
        let (head, words) = bytes.split_at_mut(bytes.len().min(offset.wrapping_neg() % WORD));
        self.read_part(offset, head);
        let start = offset.saturating_add(head.len()) / WORD;
        let (words, tail) = words.as_chunks_mut::<WORD>();
        for (slot, word) in self.words.iter().skip(start).zip(words) {
            *word = slot.load(Ordering::Relaxed).to_le_bytes();
        }
        self.read_part(end.saturating_sub(tail.len()), tail);
        true
    }

    /// Reads a part of one word.
    #[inline(never)]
    fn read_part(self, offset: usize, part: &mut [u8]) {
        let Some(slot) = self.words.get(offset / WORD).filter(|_| !part.is_empty()) else { return };
        let word = slot.load(Ordering::Relaxed).to_le_bytes();
        part.iter_mut().zip(word.iter().skip(offset % WORD)).for_each(|(byte, &new)| *byte = new);
    }

    /// Makes `bytes` bytes from `offset` on, freshly written by EL2, visible to a guest with or without caches: cleaned to the
    /// point of coherency.
    pub fn publish(self, offset: usize, bytes: usize) {
        let offset = offset.min(self.bytes());
        let bytes = bytes.min(self.bytes().saturating_sub(offset));
        maintenance::clean_to_poc(self.words.as_ptr().addr().saturating_add(offset), bytes);
    }

    /// Makes `bytes` bytes from `offset` on, freshly written by EL2, fit to be run by a guest with or without caches:
    /// cleaned to the point of coherency (which lies behind that of unification), and every core's instruction cache
    /// emptied (DDI 0487, coherency of instruction fetches).
    pub fn publish_code(self, offset: usize, bytes: usize) {
        self.publish(offset, bytes);
        maintenance::ic_iallu_is();
        maintenance::dsb_ish(); // the invalidation is complete on all cores
        maintenance::isb();
    }
}

/// Room for one [`Pages`] of a power-of-two size in 8 bytes, which still tells where the frames are after they left.
#[derive(Debug)]
pub struct PagesSlot {
    /// PA in bits 47:12, order in bits 6:2, [`SCRUBBED`], [`HELD`].
    bits: u64,
}

const HELD: u64 = 1;
const SCRUBBED: u64 = 2;
const ORDER_SHIFT: u32 = 2;
const MAX_ORDER: u64 = 0x1f;

impl PagesSlot {
    /// A slot that never held anything: frame 0, which nobody owns.
    pub const EMPTY: Self = Self { bits: 0 };

    /// Puts frames into the slot.
    ///
    /// # Errors
    /// The frames, when the slot is taken or their number is no power of two.
    pub fn put(&mut self, pages: Pages) -> Result<(), Pages> {
        let order = u64::from(pages.count().trailing_zeros());
        if self.is_held() || !pages.count().is_power_of_two() || order > MAX_ORDER {
            return Err(pages);
        }
        let (first, _, scrubbed) = pages.dissolve();
        self.bits = first.bytes() | order << ORDER_SHIFT | HELD | if scrubbed { SCRUBBED } else { 0 };
        Ok(())
    }

    /// Returns the frames, or `None` when they are elsewhere.
    #[must_use]
    pub fn take(&mut self) -> Option<Pages> {
        if !self.is_held() {
            return None;
        }
        self.bits &= !HELD;
        let count = NonZeroUsize::new(1 << self.order())?;
        // SAFETY: `put` dissolved the owner of exactly these frames, and HELD made sure that they leave once.
        Some(unsafe { Pages::revive(self.base(), count, self.is_scrubbed()) })
    }

    /// Returns whether the frames are here.
    #[must_use]
    #[inline]
    pub const fn is_held(&self) -> bool {
        self.bits & HELD != 0
    }

    /// Returns whether the frames were scrubbed when they came.
    #[must_use]
    #[inline]
    pub const fn is_scrubbed(&self) -> bool {
        self.bits & SCRUBBED != 0
    }

    /// Returns the address of the first frame of those that are or were here.
    #[must_use]
    #[inline]
    pub const fn base(&self) -> Pa {
        Pa::of_entry(self.bits)
    }

    /// Returns the order of those frames: their number is `1 << order`.
    #[must_use]
    #[inline]
    pub const fn order(&self) -> u32 {
        (self.bits >> ORDER_SHIFT & MAX_ORDER) as u32
    }

    /// Returns a look at the frames as ones that a guest may change, or `None` when they are elsewhere.
    #[must_use]
    pub fn shared(&self) -> Option<SharedFrames<'_>> {
        if !self.is_held() {
            return None;
        }
        let words = backing::pointer(self.base()).cast::<AtomicU64>().cast_const();
        let count = (FRAME_SIZE / WORD) << self.order();
        // SAFETY: the slot owns the frames, `take` needs it alone, and looks reach them as atomics only.
        Some(SharedFrames { words: unsafe { slice::from_raw_parts(words, count) } })
    }
}
