//! Core base: what a core knows about itself through TPIDR_EL2, and the numbers by which cores are called.
//!
//! Written before the core runs, read by `entry.S`, `own_el.S` and the backtrace walk. Never holds anything of a VM.

use core::mem::{offset_of, size_of};

/// Most cores that Strato uses; further ones stay off.
pub const MAX_CORES: usize = 8;
/// Bytes of a core's stack.
pub const STACK_BYTES: usize = 32 * 1024;
/// Bytes of the stack on which exceptions of EL2 itself are reported.
pub const EMERGENCY_BYTES: usize = 4096;

/// Number of a core in the order of use: 0 is the one that booted. An enumeration, so that the compiler knows that each is below
/// [`MAX_CORES`] wherever one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CoreIndex {
    /// The first one.
    First,
    /// The second one.
    Second,
    /// The third one.
    Third,
    /// The fourth one.
    Fourth,
    /// The fifth one.
    Fifth,
    /// The sixth one.
    Sixth,
    /// The seventh one.
    Seventh,
    /// The eighth one.
    Eighth,
}

impl CoreIndex {
    /// The core that booted.
    pub const BOOT: Self = Self::First;

    /// Returns core number `index`, or `None` at [`MAX_CORES`] and above.
    #[must_use]
    #[inline]
    pub const fn new(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::First,
            1 => Self::Second,
            2 => Self::Third,
            3 => Self::Fourth,
            4 => Self::Fifth,
            5 => Self::Sixth,
            6 => Self::Seventh,
            7 => Self::Eighth,
            _ => return None,
        })
    }

    /// Returns the number, below [`MAX_CORES`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A core's own record, in memory of its own cache line. TPIDR_EL2 points to it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CoreBase {
    /// Number of the core.
    pub index: u64,
    /// Highest address of the emergency stack.
    pub emergency_top: u64,
    /// Lowest address of the emergency stack.
    pub emergency_bottom: u64,
    /// Highest address of the stack.
    pub stack_top: u64,
    /// Lowest address of the stack.
    pub stack_bottom: u64,
    /// Physical address of the EL2 root table that the core starts with.
    pub table: u64,
    /// Not 0 once the core runs on its emergency stack.
    pub in_emergency: u64,
    /// Not 0 while the core takes an SError that somebody left behind, see `entry::drain_serror`.
    pub draining: u64,
}

const _: () = assert!(size_of::<CoreBase>() == 64);
// The record of the boot core is written in entry.S, in this order.
const _: () = assert!(offset_of!(CoreBase, index) == 0 && offset_of!(CoreBase, emergency_top) == 8);
const _: () = assert!(offset_of!(CoreBase, emergency_bottom) == 16 && offset_of!(CoreBase, stack_top) == 24);
const _: () = assert!(offset_of!(CoreBase, stack_bottom) == 32 && offset_of!(CoreBase, table) == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_number_of_eight_is_refused() {
        assert_eq!(CoreIndex::new(7).map(CoreIndex::index), Some(7));
        assert_eq!(CoreIndex::new(8), None);
        assert_eq!(CoreIndex::new(256), None);
    }
}
