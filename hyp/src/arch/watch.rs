//! Watch: where the page-table monitor listens on a PC (`fake/watch.rs`). On metal nobody listens and nothing is left.

use core::sync::atomic::AtomicU64;

use super::ram::Pa;

/// An entry is about to be written.
#[inline(always)]
pub(super) fn written(_table: Pa, _index: usize, _slot: &AtomicU64, _new: u64) {}

/// A table is about to be linked into an entry.
#[inline(always)]
pub(super) fn linked(_table: Pa, _index: usize, _child: Pa) {}

/// A table was taken out of its entry.
#[inline(always)]
pub(super) fn unlinked(_child: Pa) {}

/// A table gives its frame up.
#[inline(always)]
pub(super) fn freed(_table: Pa) {}

/// A table becomes the root of an address space.
#[inline(always)]
pub(super) fn rooted(_root: Pa, _vmid: u8) {}
