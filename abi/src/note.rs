//! The ELF note that a guest's image carries: what it needs, checked before it starts.
//!
//! Section `.note.strato`, owner [`OWNER`], type [`NOTE_TYPE`]; the descriptor is [`Header`], then [`Header::groups`]
//! records [`GroupNeed`], then [`Header::handles`] records [`HandleNeed`].

use ::core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::info_page::NAME_LEN;

/// Name of the ELF section.
pub const SECTION: &str = ".note.strato";
/// Owner name of the note, without its terminating zero.
pub const OWNER: &str = "Strato";
/// Type of the note.
pub const NOTE_TYPE: u32 = 1;

/// Header flag: the guest installs a fault handler, so refused accesses are delivered to it.
pub const FLAG_FAULT_HANDLER: u32 = 1;
/// Header flag: the guest uses FP and SIMD.
pub const FLAG_FP: u32 = 2;
/// Header flag: the guest can run with `mmu = "native"`: it turns its MMU on before anything that needs caches.
pub const FLAG_NATIVE: u32 = 4;

/// First part of the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// ABI version the guest was built for, `major << 16 | minor`.
    pub abi_version: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// Number of [`GroupNeed`] records.
    pub groups: u16,
    /// Number of [`HandleNeed`] records.
    pub handles: u16,
    /// Zero.
    pub reserved: u32,
    /// Bytes of stack that the image reserves for its first vCPU.
    pub stack_size: u64,
}

/// A group of calls that the guest needs, at this version or a later minor one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GroupNeed {
    /// Number of the group.
    pub group: u16,
    /// Major version, which must be the same.
    pub major: u16,
    /// Least minor version.
    pub minor: u16,
    /// Zero.
    pub reserved: u16,
}

/// A handle that the guest asks for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HandleNeed {
    /// [`crate::handle::Kind`].
    pub kind: u16,
    /// Zero.
    pub reserved: [u16; 3],
    /// The name, padded with zeros.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<Header>() == 24 && size_of::<GroupNeed>() == 8 && size_of::<HandleNeed>() == 48);
