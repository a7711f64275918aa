//! Descriptor: a stage-2 leaf entry and what it says (Arm ARM DDI 0487, VMSAv8-64 block and page descriptors, stage 2).
//! Pure. Entries that lead to tables are `arch::table`'s.

use strato_abi::address_space::Attributes;
use strato_abi::handle::Rights;

use crate::arch::ram::Pa;
use crate::arch::table::{VALID, owns};

/// Bit 1 of a leaf at level 3; clear in a block.
const PAGE: u64 = 1 << 1;
/// MemAttr, bits 5:2: Normal, write-back cacheable inside and outside.
const NORMAL_WRITE_BACK: u64 = 0b1111 << 2;
/// MemAttr, bits 5:2: Device-nGnRE.
const DEVICE_NGNRE: u64 = 0b0001 << 2;
const MEMORY: u64 = 0b1111 << 2;
/// S2AP, bits 7:6.
const READABLE: u64 = 1 << 6;
const WRITABLE: u64 = 1 << 7;
/// SH, bits 9:8: Inner Shareable. Under HCR_EL2.DC stage 1 says Non-shareable, so stage 2 must supply it.
const INNER_SHAREABLE: u64 = 0b11 << 8;
/// AF, bit 10: without it the first access faults.
const ACCESSED: u64 = 1 << 10;
/// XN, bits 54:53; without FEAT_XNX bit 54 alone counts and bit 53 is RES0.
const EXECUTE_NEVER: u64 = 1 << 54;
/// Bits 55 and 56, free for software: what the permissions may be changed to, by the rights of the handle that it was
/// mapped with. Reading is always among them.
const MAY_WRITE: u64 = 1 << 55;
const MAY_EXECUTE: u64 = 1 << 56;

const _: () = assert!(MAY_EXECUTE / MAY_WRITE == (Rights::EXECUTE.bits() / Rights::WRITE.bits()) as u64);

/// Bits that a change of permissions changes.
pub(super) const PERMISSIONS: u64 = READABLE | WRITABLE | EXECUTE_NEVER;

/// Kind of memory behind a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryType {
    /// RAM: Normal, write-back, Inner Shareable.
    Normal,
    /// Device registers: Device-nGnRE.
    Device,
}

/// Why rights and memory type do not go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrError {
    /// Nothing, or writing or execution without reading, which the ABI does not have.
    NotReadable,
    /// Writable and executable, and the VM's manifest does not say `jit = true`.
    WriteExecute,
    /// Executable device registers.
    ExecutableDevice,
}

/// Rights and memory type of a mapping, checked to go together, and the most rights that it can get: all of a leaf but its
/// address and level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    bits: u64,
}

impl Attr {
    /// Returns the attributes of a mapping with `rights` of `memory`; `jit` allows what is both writable and executable.
    ///
    /// # Errors
    /// See [`AttrError`].
    pub const fn new(rights: Attributes, memory: MemoryType, jit: bool) -> Result<Self, AttrError> {
        let write = rights.contains(Attributes::WRITE);
        let execute = rights.contains(Attributes::EXECUTE);
        if !rights.contains(Attributes::READ) {
            return Err(AttrError::NotReadable);
        }
        if write && execute && !jit {
            return Err(AttrError::WriteExecute);
        }
        let memory = match memory {
            MemoryType::Normal => NORMAL_WRITE_BACK | INNER_SHAREABLE,
            MemoryType::Device if execute => return Err(AttrError::ExecutableDevice),
            MemoryType::Device => DEVICE_NGNRE,
        };
        let write = if write { WRITABLE } else { 0 };
        let execute = if execute { 0 } else { EXECUTE_NEVER };
        Ok(Self { bits: ACCESSED | READABLE | write | execute | memory })
    }

    /// Returns the rights.
    #[must_use]
    pub const fn rights(self) -> Attributes {
        let mut rights = Attributes::empty();
        if self.bits & READABLE != 0 {
            rights = rights.union(Attributes::READ);
        }
        if self.bits & WRITABLE != 0 {
            rights = rights.union(Attributes::WRITE);
        }
        if self.bits & EXECUTE_NEVER == 0 {
            rights = rights.union(Attributes::EXECUTE);
        }
        rights
    }

    /// Returns the same as a mapping that can get no more than `most`.
    #[must_use]
    pub const fn up_to(self, most: Attributes) -> Self {
        let write = if most.contains(Attributes::WRITE) { MAY_WRITE } else { 0 };
        let execute = if most.contains(Attributes::EXECUTE) { MAY_EXECUTE } else { 0 };
        Self { bits: self.bits & !(MAY_WRITE | MAY_EXECUTE) | write | execute }
    }

    /// Returns the same as [`Attr::up_to`] for attributes that no bound was set for yet.
    #[inline(always)]
    #[must_use]
    const fn bounded_by(self, rights: Rights) -> Self {
        let most = (rights.bits() & (Rights::WRITE.bits() | Rights::EXECUTE.bits())) as u64;
        Self { bits: self.bits | most << (MAY_WRITE.trailing_zeros() - Rights::WRITE.bits().trailing_zeros()) }
    }

    /// Returns the most rights that the mapping can get.
    #[must_use]
    pub const fn most(self) -> Attributes {
        let mut most = Attributes::READ;
        if self.bits & MAY_WRITE != 0 {
            most = most.union(Attributes::WRITE);
        }
        if self.bits & MAY_EXECUTE != 0 {
            most = most.union(Attributes::EXECUTE);
        }
        most
    }

    /// Returns the same as a mapping that lets nothing through: the hypervisor does each access up to the most rights.
    #[must_use]
    pub const fn answered(self) -> Self {
        Self { bits: self.bits & !(READABLE | WRITABLE) }
    }

    /// Returns whether nothing is let through.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        self.bits & READABLE == 0
    }

    /// Returns whether the two let a guest do the same now.
    #[must_use]
    pub const fn acts_like(self, other: Self) -> bool {
        (self.bits ^ other.bits) & !(MAY_WRITE | MAY_EXECUTE) == 0
    }

    /// Returns the memory type.
    #[must_use]
    pub const fn memory(self) -> MemoryType {
        if self.bits & MEMORY == NORMAL_WRITE_BACK { MemoryType::Normal } else { MemoryType::Device }
    }

    /// Returns the bits of the entry that the attributes are.
    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.bits
    }
}

/// What [`Attr::new`] says of RAM, by rights: for where a look must do.
#[derive(Debug)]
pub struct RamAttrs([u64; 8]);

impl RamAttrs {
    /// Returns the table for a VM that may or may not have what is both writable and executable.
    #[must_use]
    pub fn new(jit: bool) -> Self {
        Self(core::array::from_fn(|rights| {
            let rights = Attributes::from_bits_truncate(rights as u64);
            Attr::new(rights, MemoryType::Normal, jit).map_or(0, Attr::bits)
        }))
    }

    /// Returns the attributes with `rights` that a mapping of memory held with `most` can get no more than, or `None` when
    /// these do not go together.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, rights: Attributes, most: Rights) -> Option<Attr> {
        let bits = *self.0.get(usize::try_from(rights.bits()).ok()?)?;
        let is_allowed = bits != 0 && rights.bits() & u64::from(most.bits()) == rights.bits();
        is_allowed.then_some(Attr { bits }.bounded_by(most))
    }
}

/// Level of a table in the walk, which starts at level 1: what one of its entries translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Level {
    /// 1 GiB.
    One = 1,
    /// 2 MiB.
    Two = 2,
    /// 4 KiB.
    Three = 3,
}

impl Level {
    /// Returns the number of address bits below an entry.
    #[must_use]
    #[inline]
    pub const fn shift(self) -> u32 {
        match self {
            Self::One => 30,
            Self::Two => 21,
            Self::Three => 12,
        }
    }

    /// Returns the bytes that an entry translates.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// Returns the pages that an entry translates.
    #[must_use]
    #[inline]
    pub const fn pages(self) -> u64 {
        1 << (self.shift() - 12)
    }

    /// Returns the index of the entry that translates the address `ipa`, in bytes.
    #[must_use]
    #[inline]
    pub const fn index(self, ipa: u64) -> usize {
        (ipa >> self.shift() & 0x1ff) as usize
    }

    /// Returns the number of the level, as the manual counts.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Returns the entry that maps `pa` with `attr` at `level`.
#[inline]
pub(super) const fn encode(pa: u64, attr: Attr, level: Level) -> u64 {
    pa | attr.bits | VALID | if matches!(level, Level::Three) { PAGE } else { 0 }
}

/// Returns the address and the attributes of a valid leaf; `None` when the entry is something else.
#[inline]
pub(super) const fn decode(entry: u64) -> Option<(Pa, Attr)> {
    if entry & VALID == 0 || owns(entry) {
        return None;
    }
    const ATTRIBUTES: u64 = MEMORY | PERMISSIONS | INNER_SHAREABLE | ACCESSED | MAY_WRITE | MAY_EXECUTE;
    Some((Pa::of_entry(entry), Attr { bits: entry & ATTRIBUTES }))
}

#[cfg(test)]
#[path = "descriptor_tests.rs"]
mod tests;
