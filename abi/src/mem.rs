//! Group 2, MEM: values that its calls carry.

use crate::error::Reason;
use crate::regs::Argument;

/// What kind of memory an object is, for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MemoryType {
    /// RAM: Normal, write-back cacheable, coherent between all cores.
    Normal = 0,
}

crate::regs::argument_enum!(MemoryType { 0 => Normal });

bitflags::bitflags! {
    /// How the caller stands to a Mem object, as MEM.INFO reports it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemState: u64 {
        /// The caller is the owner.
        const OWNED = 1;
        /// The caller got it by SHARE.ACCEPT and gives it back by SHARE.RELINQUISH.
        const BORROWED = 2;
        /// It is lent, or offered to be lent or donated: its owner cannot map it.
        const LENT = 4;
        /// The owner took it back: nothing of it is mapped, and it can only be given back.
        const REVOKED = 8;
    }
}

/// Most pages of a Mem object: 1 GiB.
pub const MEM_PAGES_MAX: u64 = 1 << 18;
/// Pages that one call zeroes; a caller loops over the rest.
pub const SCRUB_PAGES_PER_CALL: u64 = 16;
