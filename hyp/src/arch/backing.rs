//! Backing: where RAM stands for EL2 and how it is scrubbed. Called by [`super::ram`] and its neighbors only.
//! Never knows who owns a frame.

use core::arch::asm;
use core::ptr;

use super::maintenance;
use super::ram::Pa;

/// Returns the pointer to a byte of RAM: EL2 maps RAM where it is (`mmu` keeps VA equal to PA).
#[inline(always)]
pub(super) fn pointer(pa: Pa) -> *mut u8 {
    // The target is 64-bit, so nothing is cut off.
    #[allow(clippy::cast_possible_truncation, reason = "metal is 64-bit")]
    ptr::with_exposed_provenance_mut(pa.bytes() as usize)
}

/// Returns the address that a pointer made by [`pointer`] stands for.
#[inline(always)]
pub(super) fn address(at: *const u8) -> Pa {
    Pa::of_entry(at.expose_provenance() as u64)
}

/// Notes frames lost by a drop; on metal the audit finds them.
#[inline(always)]
pub(super) fn lost(_first: Pa, _count: usize) {}

/// Makes `bytes` bytes zero and writes them back to the point of coherency, complete at return.
///
/// DC ZVA writes a block without reading it first; its size is DCZID_EL0.BS, and DCZID_EL0.DZP forbids it (DDI 0487).
///
/// # Safety
/// `start` starts a frame, `bytes` is a multiple of the frame size and not zero, and the caller alone may write the
/// range.
#[inline(never)]
pub(super) unsafe fn scrub(start: *mut u8, bytes: usize) {
    let dczid: usize;
    // SAFETY: reads an identification register that every exception level may read.
    unsafe { asm!("mrs {0}, dczid_el0", out(reg) dczid, options(nomem, nostack, preserves_flags)) };
    let block = 4usize << (dczid & 0xf);
    if dczid & 0x10 == 0 && block == maintenance::data_line() && block <= 128 {
        // SAFETY: the range is the caller's; 32 blocks of at most 128 bytes divide a frame; a block is a line.
        unsafe { zero_and_clean(start, bytes, block) };
        maintenance::dsb_sy(); // the write-back is complete before the frames get an owner
    } else {
        // SAFETY: the range is the caller's.
        unsafe { ptr::write_bytes(start, 0, bytes) };
        maintenance::clean_to_poc(start.addr(), bytes);
    }
}

/// Zeroes and cleans, 32 lines a turn: 3.06 instructions a line.
///
/// # Safety
/// As for [`scrub`]; `block` is the size of a DC ZVA block and of a data cache line, and 32 of them divide `bytes`.
unsafe fn zero_and_clean(start: *mut u8, bytes: usize, block: usize) {
    // SAFETY: the loop writes zeros to `start..start + bytes` and nothing else; the range is the caller's.
    unsafe {
        asm!(
            "2:",
            ".rept 32",
            "dc zva, {at}",
            "dc cvac, {at}",
            "add {at}, {at}, {block}",
            ".endr",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) start => _,
            block = in(reg) block,
            end = in(reg) start.wrapping_add(bytes),
            options(nostack),
        );
    }
}
