//! The event area: one page that a VM's guest and the hypervisor both write, with 512 bytes per vCPU.
//!
//! The hypervisor only ORs bits into it and trusts nothing in it. See SPEC.md, "Events", for the two protocols.

use ::core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes between the records of two vCPUs.
pub const EVENT_RECORD_STRIDE: u64 = 512;
/// Words of pending and of mask bits: 1,024 ports.
pub const EVENT_WORDS: usize = 16;
/// Bit of the selector that KICK sets.
pub const SELECTOR_KICK: u64 = 1 << 63;

/// The record of one vCPU: only ports bound to it have bits here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventRecord {
    /// Bit `n % 64` of word `n / 64`: port `n` was raised.
    pub pending: [u64; EVENT_WORDS],
    /// The guest's: a set bit keeps the port from raising selector and line.
    pub mask: [u64; EVENT_WORDS],
    /// Bit `w`: word `w` of pending has news. Bit 63: KICK.
    pub selector: u64,
    /// Zero.
    pub reserved: [u64; 31],
}

const _: () = assert!(size_of::<EventRecord>() == 512 && offset_of!(EventRecord, mask) == 128);
const _: () = assert!(offset_of!(EventRecord, selector) == 256);
const _: () = assert!(EVENT_RECORD_STRIDE * 8 == crate::addr::PAGE_SIZE);
