//! Group 3, AS: attributes of a mapping and flags.

use crate::error::Reason;
use crate::regs::Argument;

bitflags::bitflags! {
    /// Attributes of a mapping: permissions in bits 2:0, memory type in bits 7:4.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Attributes: u64 {
        /// Loads are allowed.
        const READ = 1;
        /// Stores are allowed.
        const WRITE = 2;
        /// Instruction fetches are allowed.
        const EXECUTE = 4;
    }

    /// Flags of AS.UNMAP and AS.PROTECT.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct UnmapFlags: u64 {
        /// Other vCPUs may go on using the old translation until AS.SYNC; the pages stay in use until then.
        const NO_SYNC = 1;
    }
}

macro_rules! flags_argument {
    ($($name:ident),*) => { $(
        impl Argument for $name {
            const REGS: usize = 1;

            fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
                Self::from_bits(u64::take(regs)?).ok_or((Reason::ReservedBits, Self::all().bits()))
            }

            fn put(&self, regs: &mut [u64]) {
                self.bits().put(regs);
            }
        }
    )* };
}
flags_argument!(Attributes, UnmapFlags);

/// Most pages that one MAP, UNMAP or PROTECT works on; a caller loops over the rest.
pub const PAGES_PER_CALL: u64 = 128;

/// Why an address last faulted, as AS.QUERY reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u64)]
pub enum LastFault {
    /// It did not.
    None = 0,
    /// Nothing was mapped.
    Translation = 1,
    /// The permissions did not allow the access.
    Permission = 2,
    /// What was mapped there was borrowed, and its owner took it back.
    Revoked = 3,
}
