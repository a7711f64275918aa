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
mod tests {
    use super::*;

    const MEMORIES: [MemoryType; 2] = [MemoryType::Normal, MemoryType::Device];

    /// Every combination of rights, memory type and `jit`.
    fn all() -> impl Iterator<Item = (Attributes, MemoryType, bool)> {
        let rights = (0..8).map(Attributes::from_bits_truncate);
        rights.flat_map(|rights| {
            MEMORIES.into_iter().flat_map(move |memory| [false, true].map(|jit| (rights, memory, jit)))
        })
    }

    #[test]
    fn every_combination_of_rights_is_accepted_or_refused_as_the_abi_says() {
        for (rights, memory, jit) in all() {
            let write = rights.contains(Attributes::WRITE);
            let execute = rights.contains(Attributes::EXECUTE);
            let expected = if !rights.contains(Attributes::READ) {
                Some(AttrError::NotReadable)
            } else if write && execute && !jit {
                Some(AttrError::WriteExecute)
            } else if execute && memory == MemoryType::Device {
                Some(AttrError::ExecutableDevice)
            } else {
                None
            };
            assert_eq!(Attr::new(rights, memory, jit).err(), expected, "{rights:?} {memory:?} {jit}");
        }
    }

    #[test]
    fn every_accepted_attribute_comes_back_out_of_the_entry_at_every_level() {
        let pas = [0, 0x4000_0000, 0xffff_c000_0000];
        for (rights, memory, jit) in all() {
            let Ok(attr) = Attr::new(rights, memory, jit) else { continue };
            assert_eq!((attr.rights(), attr.memory()), (rights, memory));
            for (pa, level) in pas.into_iter().flat_map(|pa| [Level::One, Level::Two, Level::Three].map(|l| (pa, l))) {
                let entry = encode(pa, attr, level);
                assert_eq!(decode(entry), Some((Pa::new(pa).unwrap(), attr)));
                assert_eq!(entry & 0b11, if level == Level::Three { 0b11 } else { 0b01 });
            }
        }
    }

    #[test]
    fn entries_have_the_bits_that_the_manual_gives() {
        let entry = |rights, memory, jit| encode(0x8000_0000, Attr::new(rights, memory, jit).unwrap(), Level::Three);
        let read_write = Attributes::READ | Attributes::WRITE;
        // MemAttr 1111, S2AP 11, SH 11, AF, XN.
        assert_eq!(entry(read_write, MemoryType::Normal, false), 0x0040_0000_8000_07ff);
        assert_eq!(entry(Attributes::READ, MemoryType::Normal, false), 0x0040_0000_8000_077f);
        assert_eq!(entry(Attributes::READ | Attributes::EXECUTE, MemoryType::Normal, false), 0x8000_077f);
        assert_eq!(entry(Attributes::all(), MemoryType::Normal, true), 0x8000_07ff);
        // MemAttr 0001, SH 00.
        assert_eq!(entry(read_write, MemoryType::Device, false), 0x0040_0000_8000_04c7);
    }

    #[test]
    fn the_most_rights_stand_beside_the_rights_and_change_nothing_for_the_walker() {
        let plain = Attr::new(Attributes::READ, MemoryType::Normal, false).unwrap();
        assert_eq!(plain.most(), Attributes::READ);
        for most in (0..8).map(|bits| Attributes::from_bits_truncate(bits | 1)) {
            let attr = plain.up_to(most);
            assert_eq!((attr.rights(), attr.most(), attr.acts_like(plain)), (Attributes::READ, most, true));
            let entry = encode(0x8000_0000, attr, Level::Two);
            assert_eq!(decode(entry), Some((Pa::new(0x8000_0000).unwrap(), attr)));
            // Bits 58:55 are the software's.
            assert_eq!(entry & !(0b1111 << 55), encode(0x8000_0000, plain, Level::Two));
            assert_eq!(attr.up_to(Attributes::READ), plain);
        }
    }

    #[test]
    fn an_entry_that_is_not_valid_or_leads_to_a_table_is_no_leaf() {
        assert_eq!(decode(0), None);
        assert_eq!(decode(0x8000_07fe), None);
        assert_eq!(decode(1 << 58 | 0x8000_0003), None);
    }
}
