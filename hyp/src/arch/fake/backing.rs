//! Backing on a PC: one window of simulated RAM for the whole test process. PA `RAM_BASE` is the window's first byte.
//! Frames are handed out once, by [`ram`], filled with a pattern, so that a missing scrub shows.

use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::vec;

use super::ram::{FRAME_SIZE, Pa, Pages};

/// Physical address of the window's first byte, where QEMU's `virt` has its RAM.
pub const RAM_BASE: u64 = 0x4000_0000;
/// Byte that fills frames that nobody wrote yet.
pub const DIRT: u8 = 0xa5;

/// Bytes of the window; the PC commits them when they are touched. Miri commits them at once.
const WINDOW: usize = if cfg!(miri) { 64 << 20 } else { 4 << 30 };

/// The window's first byte, frame aligned. Every pointer to simulated RAM derives from this one, so that Miri can follow
/// who may use it.
struct Window(*mut u8);

// SAFETY: the pointer is only the base of others; what they may touch is decided by who owns the frames.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

fn window() -> *mut u8 {
    static BASE: OnceLock<Window> = OnceLock::new();
    let window = BASE.get_or_init(|| {
        let bytes = vec![0u8; WINDOW + FRAME_SIZE].leak().as_mut_ptr();
        Window(bytes.wrapping_add(bytes.align_offset(FRAME_SIZE)))
    });
    window.0
}

/// Returns the pointer to a byte of simulated RAM.
#[inline]
pub(super) fn pointer(pa: Pa) -> *mut u8 {
    let offset = pa.bytes().checked_sub(RAM_BASE).and_then(|offset| usize::try_from(offset).ok());
    let offset = offset.filter(|&offset| offset < WINDOW);
    let Some(offset) = offset else { panic!("{pa:?} is not in the simulated RAM") };
    window().wrapping_add(offset)
}

/// Returns the address that a pointer made by [`pointer`] stands for.
#[inline]
pub(super) fn address(at: *const u8) -> Pa {
    Pa::of_entry((at.addr() - window().addr()) as u64 + RAM_BASE)
}

/// Stops the test that dropped frames: on metal they would be lost.
pub(super) fn lost(first: Pa, count: usize) {
    assert!(thread::panicking(), "{count} frames from {first:?} on were dropped: give them back");
}

/// Makes `bytes` bytes zero.
///
/// # Safety
/// The caller alone may write the range.
pub(super) unsafe fn scrub(start: *mut u8, bytes: usize) {
    // SAFETY: the range is the caller's.
    unsafe { ptr::write_bytes(start, 0, bytes) };
}

/// Returns `count` dirty frames of simulated RAM that nobody had before, the first at a multiple of `align` frames, a
/// power of two.
///
/// # Panics
/// When the window is used up: more RAM than one test process should want.
pub fn ram(count: usize, align: usize) -> Pages {
    static NEXT: Mutex<usize> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let first = next.next_multiple_of(align);
    *next = first + count;
    assert!(*next * FRAME_SIZE <= WINDOW, "the simulated RAM is used up");
    drop(next);
    let start = window().wrapping_add(first * FRAME_SIZE);
    // SAFETY: the cursor only moves on, so nobody else has these bytes of the window.
    unsafe { ptr::write_bytes(start, DIRT, count * FRAME_SIZE) };
    // SAFETY: as above; the window is never unmapped.
    let pages = unsafe { Pages::mint(RAM_BASE + (first * FRAME_SIZE) as u64, count) };
    let Some(pages) = pages else { panic!("the window is inside the physical address space") };
    pages
}
