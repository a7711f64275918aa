//! Watch, off: where the page-table monitor (`watch/`) listens. In a release image nobody listens and nothing is left.

use core::sync::atomic::AtomicU64;

use super::ram::Pa;
use super::stage2::Vttbr;

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

/// VTTBR_EL2 is written.
#[inline(always)]
pub(super) fn selecting(_space: Vttbr) {}

/// The last VTTBR_EL2 acts.
#[inline(always)]
pub(super) fn synchronized() {}
