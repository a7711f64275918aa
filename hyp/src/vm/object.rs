//! Objects: what a handle can name, taken apart. Pure; `entry` packs it.

use strato_abi::handle::{Handle, Rights};
use strato_abi::share::{ShareState, Terms};

use crate::allocator::MemId;
use crate::arch::ram::Pa;

bitflags::bitflags! {
    /// How a handle to memory stands.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// Own: lent, or offered to be lent or donated: it cannot be mapped.
        const LENT = 1;
        /// It is being freed or given back: nothing can be done but to go on with that.
        const FREEING = 2;
        /// Borrowed: its owner takes it back, or has.
        const REVOKED = 4;
        /// It was got by accepting an offer, and is not owned.
        const BORROWED = 8;
        /// Borrowed: nothing of it is mapped any more and the ledger no longer counts the handle.
        const OVER = 16;
        /// Borrowed: its owner has ended, and there is no share to go with it.
        const ORPHANED = 32;
    }
}

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The port of the same index.
    Port,
    /// Memory: an object of the VM's own, or one that the manifest shares.
    Mem(MemRef),
    /// Memory that a peer shares or lends; the peer's share.
    Borrowed(MemRef, Far),
    /// An offer of memory to a peer.
    Share(ShareRef),
    /// The address space in this slot of the VM.
    Space(u8),
    /// The interrupt of a device, by its number among the machine's.
    Irq(u8),
    /// Registers of a device.
    Device(DeviceRef),
    /// A share of a core's time.
    Sched(SchedRef),
    /// The VM in a place, in one incarnation.
    Peer {
        /// Place of the VM.
        place: u8,
        /// Its incarnation.
        incarnation: u32,
    },
}

/// Memory as a handle names it, with what a mapping needs at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemRef {
    /// The object.
    pub id: MemId,
    /// Its first byte, or that of the part that was shared.
    pub base: Pa,
    /// Its length, or that of the part, in pages.
    pub pages: u64,
    /// What the holder may do with it.
    pub rights: Rights,
    /// How it stands.
    pub flags: Flags,
}

/// Registers of a device, whole pages of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRef {
    /// The first byte.
    pub base: Pa,
    /// Pages.
    pub pages: u32,
    /// Whether the hypervisor answers each access, and nothing is mapped.
    pub is_filtered: bool,
}

/// A share of a core's time, and the most that those who run by it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedRef {
    /// The core.
    pub core: u8,
    /// Its place among the reservations of that core.
    pub place: u8,
    /// The highest priority.
    pub priority: u8,
    /// The largest budget, in ticks.
    pub budget: u64,
    /// The shortest period, in ticks.
    pub period: u64,
}

/// An entry in the table of another VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Far {
    /// Place of the VM; below 64.
    pub place: u8,
    /// Its incarnation; below 2^30.
    pub incarnation: u32,
    /// Index of the entry there.
    pub index: u16,
}

const INCARNATION: u64 = (1 << 30) - 1;
impl Far {
    #[inline(always)]
    pub(in crate::vm) fn pack(self) -> u64 {
        u64::from(self.place & 0x3f) | (u64::from(self.incarnation) & INCARNATION) << 6 | u64::from(self.index) << 36
    }

    #[allow(clippy::cast_possible_truncation, reason = "each field is masked to its width")]
    pub(in crate::vm) const fn unpack(word: u64) -> Self {
        Self {
            place: (word & 0x3f) as u8,
            incarnation: (word >> 6 & INCARNATION) as u32,
            index: (word >> 36 & 0xffff) as u16,
        }
    }
}

/// An offer of memory, as its owner holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareRef {
    /// The object.
    pub id: MemId,
    /// First byte of the part that is shared.
    pub base: Pa,
    /// Its pages.
    pub pages: u64,
    /// The peer, and once it has accepted, its handle.
    pub far: Far,
    /// The tag that goes with the offer.
    pub tag: u64,
    /// What was offered.
    pub terms: Terms,
    /// The owner's own handle to the object.
    pub mem: Handle,
    /// How it stands.
    pub state: ShareState,
    /// How far a revoke has come: the range that is next, and the page in it.
    pub cursor: (u8, u32),
}
