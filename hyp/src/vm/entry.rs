//! Entry: one handle as it stands in the table, 64 bytes, and the words it is taken apart into.
//!
//! Pure. Used by `handles` alone, which re-exports what others see.

use strato_abi::handle::{Handle, Kind, Rights};
use strato_abi::regs::Argument;
use strato_abi::share::{ShareState, Steps, Terms};
use zerocopy::FromZeros;

#[path = "object.rs"]
mod object;

use super::ranges::Ranges;
use crate::allocator::MemId;
use crate::arch::ram::Pa;

pub use object::{DeviceRef, Far, Flags, MemRef, Object, SchedRef, ShareRef};

/// Registers are never executed.
#[allow(clippy::cast_possible_truncation, reason = "rights have four bits")]
const DEVICE_RIGHTS: u8 = Rights::READ.union(Rights::WRITE).bits() as u8;

/// A handle's entry.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) generation: u16,
    pub(super) rights: u8,
    /// Steps for which the port `port` is raised.
    pub(super) steps: u8,
    /// Mem, Share: index of the object's name. Space: slot. Device: 1 when filtered.
    pub(super) index: u16,
    /// Mem, Share: generation of its name.
    pub(super) id: u64,
    /// Mem, Share: first byte.
    pub(super) base: u64,
    /// Mem, Share: pages.
    pub(super) pages: u32,
    /// Bits of the handle to the port that is bound to the object; 0 is none.
    pub(super) port: u32,
    /// Borrowed: the owner's share. Share: the borrower's handle. Peer: its VM.
    pub(super) link: u64,
    /// Borrowed: ranges of addresses at which it is mapped. Share: tag, terms below the cursor, handle to the memory below the state.
    /// Sched: budget, period, priority; `index` is its core below its place there.
    pub(super) words: [u64; 3],
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    /// Returns whether the entry, when it names memory, may name `id`: a quick look before a closer one.
    #[inline(always)]
    pub(super) fn may_name(&self, id: MemId) -> bool {
        self.index == id.to_parts().0
    }

    /// Returns the entry that names `object`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "rights have four bits, an object at most 2^18 pages")]
    pub(super) fn new(object: Object, generation: u16) -> Self {
        let free = Self::free(generation);
        match object {
            Object::Port => Self { kind: Kind::Port as u8, ..free },
            Object::Mem(mem) => free.with_mem(&mem),
            Object::Borrowed(mem, far) => {
                let flags = mem.flags | Flags::BORROWED;
                Self { link: far.pack(), ..free.with_mem(&MemRef { flags, ..mem }) }
            }
            Object::Share(share) => {
                let (index, id) = share.id.to_parts();
                let words = [
                    share.tag,
                    share.terms.bits() | u64::from(share.cursor.0) << 8 | u64::from(share.cursor.1) << 32,
                    u64::from(share.mem.bits()) | (share.state as u64) << 32,
                ];
                let (base, pages, link) = (share.base.bytes(), share.pages as u32, share.far.pack());
                Self { kind: Kind::Share as u8, index, id, base, pages, link, words, ..free }
            }
            Object::Space(slot) => Self { kind: Kind::AddressSpace as u8, index: u16::from(slot), ..free },
            Object::Irq(line) => Self { kind: Kind::Irq as u8, index: u16::from(line), ..free },
            Object::Device(DeviceRef { base, pages, is_filtered }) => {
                let index = u16::from(is_filtered);
                Self { kind: Kind::Device as u8, rights: DEVICE_RIGHTS, index, base: base.bytes(), pages, ..free }
            }
            Object::Sched(SchedRef { core, place, priority, budget, period }) => {
                let index = u16::from_le_bytes([core, place]);
                let words = [budget, period, u64::from(priority)];
                Self { kind: Kind::Sched as u8, index, words, ..free }
            }
            Object::Peer { place, incarnation } => {
                Self { kind: Kind::Peer as u8, link: Far { place, incarnation, index: 0 }.pack(), ..free }
            }
        }
    }

    pub(super) const fn free(generation: u16) -> Self {
        Self {
            kind: 0,
            flags: 0,
            generation,
            rights: 0,
            steps: 0,
            index: 0,
            id: 0,
            base: 0,
            pages: 0,
            port: 0,
            link: 0,
            words: [0; 3],
        }
    }

    /// Returns the entry with its memory replaced by `mem`.
    #[allow(clippy::cast_possible_truncation, reason = "rights have four bits, an object at most 2^18 pages")]
    pub(super) fn with_mem(self, mem: &MemRef) -> Self {
        let (index, id) = mem.id.to_parts();
        let (rights, flags) = (mem.rights.bits() as u8, mem.flags.bits());
        Self {
            kind: Kind::Mem as u8,
            flags,
            rights,
            index,
            id,
            base: mem.base.bytes(),
            pages: mem.pages as u32,
            ..self
        }
    }

    /// Returns whether the entry is what `handle` names, of this kind and with these flags: one word, one comparison.
    #[inline(always)]
    pub(super) fn is_exactly(&self, handle: Handle, kind: Kind, flags: Flags) -> bool {
        let head = u32::from(self.kind) | u32::from(self.flags) << 8 | u32::from(self.generation) << 16;
        head == u32::from(handle.generation()) << 16 | u32::from(flags.bits()) << 8 | kind as u32
    }

    /// Returns the port that is raised when `step` happens to the object.
    #[inline(always)]
    pub(super) fn bound(&self, step: Steps) -> Option<Handle> {
        let is_bound = Steps::from_bits_truncate(u64::from(self.steps)).contains(step);
        is_bound.then(|| Handle::from_bits(self.port))
    }

    /// Returns whether the share that the entry is is an open offer to the VM `to`.
    #[inline(always)]
    pub(super) fn is_open_to(&self, to: Far) -> bool {
        matches!(self.share_state(), Some(ShareState::Offered)) && self.link == Far { index: 0, ..to }.pack()
    }

    /// Returns how a share stands.
    #[inline(always)]
    pub(super) const fn share_state(&self) -> Option<ShareState> {
        let [.., word] = self.words;
        ShareState::from_u64(word >> 32)
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        u16::from(self.kind) == kind as u16
    }

    pub(super) fn mem(&self) -> Option<MemRef> {
        let rights = Rights::from_bits_truncate(u16::from(self.rights));
        self.is(Kind::Mem).then_some(MemRef {
            id: MemId::from_parts(self.index, self.id),
            base: Pa::new(self.base)?,
            pages: u64::from(self.pages),
            rights,
            flags: Flags::from_bits_truncate(self.flags),
        })
    }

    #[allow(clippy::cast_possible_truncation, reason = "the handle is the lower half of its word")]
    pub(super) fn share(&self) -> Option<ShareRef> {
        let [tag, terms, state] = self.words;
        self.is(Kind::Share).then_some(ShareRef {
            id: MemId::from_parts(self.index, self.id),
            base: Pa::new(self.base)?,
            pages: u64::from(self.pages),
            far: Far::unpack(self.link),
            tag,
            terms: Terms::take(&[terms & 0xff]).ok()?,
            mem: Handle::from_bits(state as u32),
            state: ShareState::from_u64(state >> 32)?,
            cursor: ((terms >> 8 & 0xff) as u8, (terms >> 32) as u32),
        })
    }

    pub(super) fn space(&self) -> Option<u8> {
        if self.is(Kind::AddressSpace) { u8::try_from(self.index).ok() } else { None }
    }

    pub(super) fn irq(&self) -> Option<u8> {
        if self.is(Kind::Irq) { u8::try_from(self.index).ok() } else { None }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a priority is below 32")]
    pub(super) fn sched(&self) -> Option<SchedRef> {
        let ([core, place], [budget, period, priority]) = (self.index.to_le_bytes(), self.words);
        self.is(Kind::Sched).then_some(SchedRef { core, place, priority: priority as u8, budget, period })
    }

    pub(super) fn device(&self) -> Option<DeviceRef> {
        let (base, is_filtered) = (Pa::new(self.base)?, self.index != 0);
        self.is(Kind::Device).then_some(DeviceRef { base, pages: self.pages, is_filtered })
    }

    pub(super) fn is_borrowed(&self) -> bool {
        self.is(Kind::Mem) && Flags::from_bits_truncate(self.flags).contains(Flags::BORROWED)
    }

    /// Returns the entry at the other end, of a share or of borrowed memory; of a peer its place, without an index.
    #[inline(always)]
    pub(super) fn far(&self) -> Option<Far> {
        (self.is_borrowed() || self.is(Kind::Share) || self.is(Kind::Peer)).then(|| Far::unpack(self.link))
    }

    pub(super) const fn ranges(&self) -> Ranges {
        Ranges::from_words(self.words)
    }

    pub(super) fn set_ranges(&mut self, ranges: Ranges) {
        if self.is_borrowed() {
            self.words = ranges.to_words();
        }
    }
}
