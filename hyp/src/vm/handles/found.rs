//! What a table of handles finds without a look at every entry: bindings, the ranges of borrowed memory, open offers.
//!
//! Called by the hypercalls and `vm::sharing`, under the VM's lock, as the rest of the table is.

use strato_abi::handle::Handle;
use strato_abi::share::{BORROWED_OBJECTS, OPEN_OFFERS, Steps};

use super::{DeviceRef, Entry, Far, Flags, HandleError, HandleTable, MemRef, Range, Ranges, SchedRef};
use crate::allocator::MemId;
use crate::arch::ram::Pa;

impl HandleTable {
    /// Binds `port` to what happens to the object of entry `index`: the steps of `steps`.
    #[allow(clippy::cast_possible_truncation, reason = "seven bits are defined")]
    pub fn bind(&mut self, index: u16, port: Handle, steps: Steps) {
        if let Some(entry) = self.at_mut(index) {
            (entry.port, entry.steps) = if steps.is_empty() { (0, 0) } else { (port.bits(), steps.bits() as u8) };
        }
    }

    /// Returns the port that is raised when `step` happens to the object of entry `index`.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self, index: u16, step: Steps) -> Option<Handle> {
        self.at(index)?.bound(step)
    }

    /// Returns the addresses at which the borrowed memory of entry `index` may be mapped.
    #[must_use]
    pub fn ranges(&self, index: u16) -> Ranges {
        self.at(index).filter(|entry| entry.is_borrowed()).map_or(Ranges::default(), Entry::ranges)
    }

    /// Sets the addresses at which the borrowed memory of entry `index` may be mapped.
    pub fn set_ranges(&mut self, index: u16, ranges: Ranges) {
        if let Some(entry) = self.at_mut(index).filter(|entry| entry.is_borrowed()) {
            entry.set_ranges(ranges);
            self.mapped.set(index, !ranges.is_empty());
        }
    }

    /// Returns whether borrowed memory of the VM is mapped, or was until it was taken back.
    #[inline(always)]
    #[must_use]
    pub const fn has_borrowed(&self) -> bool {
        self.mapped.count != 0
    }

    /// Takes pages that were just unmapped out of the ranges of all borrowed memory. Costs nothing in a VM without any.
    #[inline(always)]
    pub fn trim(&mut self, gone: Range) {
        if self.has_borrowed() {
            self.trim_all(gone);
        }
    }

    #[cold]
    fn trim_all(&mut self, gone: Range) {
        for index in self.mapped.clone().iter() {
            let Some(entry) = self.entries.get_mut(usize::from(index)) else { continue };
            // A revoke that is under way counts how far in the ranges it has come.
            if Flags::from_bits_truncate(entry.flags) & (Flags::REVOKED | Flags::OVER) != Flags::REVOKED {
                let left = entry.ranges().without(gone);
                entry.set_ranges(left);
                self.mapped.set(index, !left.is_empty());
            }
        }
    }

    /// Takes an address space that has ended out of the ranges of all borrowed memory, of that too which is being taken back:
    /// whatever has the slot next has nothing mapped of it.
    pub fn forget_space(&mut self, space: u8) {
        if !self.has_borrowed() {
            return;
        }
        for index in self.mapped.clone().iter() {
            let Some(entry) = self.entries.get_mut(usize::from(index)) else { continue };
            let left = entry.ranges().outside(space);
            entry.set_ranges(left);
            self.mapped.set(index, !left.is_empty());
        }
    }

    /// Returns whether memory that a VM has borrowed was mapped on page `page` of a space until its owner took it back.
    #[must_use]
    #[inline(always)]
    pub fn was_revoked(&self, space: u8, page: u64) -> bool {
        self.has_borrowed() && self.any_revoked(space, page)
    }

    #[inline(never)]
    fn any_revoked(&self, space: u8, page: u64) -> bool {
        let is_revoked = |entry: &Entry| Flags::from_bits_truncate(entry.flags).contains(Flags::REVOKED);
        let is_there = |entry: &Entry| is_revoked(entry) && entry.ranges().contains(space, page);
        self.mapped.iter().any(|index| self.at(index).is_some_and(is_there))
    }

    /// Returns whether one object more of borrowed memory can be mapped.
    #[inline]
    #[must_use]
    pub fn has_room_to_map(&self) -> bool {
        u64::from(self.mapped.count) < BORROWED_OBJECTS
    }

    /// Returns whether one offer more can be open.
    #[must_use]
    pub fn has_room_to_offer(&self) -> bool {
        u64::from(self.offers.count) < OPEN_OFFERS
    }

    /// Returns the entries that are offers to the VM in `place`, in this incarnation, which nobody has accepted.
    pub fn offers_to(&self, place: u8, incarnation: u32) -> impl Iterator<Item = u16> + use<'_> {
        let is_theirs = move |far: Far| far.place == place && far.incarnation == incarnation;
        self.offers.iter().filter(move |&index| self.far(index).is_some_and(is_theirs))
    }

    /// Returns the first open offer to the VM `to`.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn first_offer(&self, to: Far) -> Option<Handle> {
        let index = self.offers_to(to.place, to.incarnation).next()?;
        Some(Handle::new(index, self.at(index)?.generation))
    }

    /// Returns the entries that are shares.
    pub fn shares(&self) -> impl Iterator<Item = u16> {
        self.shares.iter()
    }

    /// Returns the entries that are peers.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        self.peers.iter()
    }

    /// Returns the handle and the memory of the entry that names a part of the object `id` with physical byte `at` in it. Looks
    /// at one word of every entry below `limit` at most: a few thousand instructions for the largest table.
    #[must_use]
    pub fn find_mem(&self, id: MemId, at: Pa, limit: u16) -> Option<(Handle, MemRef)> {
        for (index, entry) in (0..limit).zip(self.entries.iter()) {
            if entry.may_name(id)
                && let Some(mem) = entry.mem()
                && mem.id == id
                && !mem.flags.contains(Flags::OVER)
                && at.bytes().wrapping_sub(mem.base.bytes()) >> 12 < mem.pages
            {
                return Some((Handle::new(index, entry.generation), mem));
            }
        }
        None
    }

    /// Returns the number of the interrupt that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn irq(&self, handle: Handle) -> Result<u8, HandleError> {
        self.entry(handle)?.irq().ok_or(HandleError::WrongKind)
    }

    /// Returns the share of a core's time that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn sched(&self, handle: Handle) -> Result<SchedRef, HandleError> {
        self.entry(handle)?.sched().ok_or(HandleError::WrongKind)
    }

    /// Returns the registers of a device that `handle` names.
    ///
    /// # Errors
    /// [`HandleError`] when it names none.
    pub fn device(&self, handle: Handle) -> Result<DeviceRef, HandleError> {
        self.entry(handle)?.device().ok_or(HandleError::WrongKind)
    }

    /// Returns the handle to the registers of a device with physical byte `at` among them, and these. No page is given twice.
    #[must_use]
    pub fn find_device(&self, at: Pa, limit: u16) -> Option<(Handle, DeviceRef)> {
        let is_it = |device: &DeviceRef| at.bytes().wrapping_sub(device.base.bytes()) >> 12 < u64::from(device.pages);
        (0..limit)
            .zip(self.entries.iter())
            .find_map(|(index, entry)| Some((Handle::new(index, entry.generation), entry.device().filter(is_it)?)))
    }

    /// Returns how many entries there are, used or not.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Returns the first entry at or after `from` that names memory: for giving everything back.
    #[must_use]
    pub fn next_mem(&self, from: u16) -> Option<(Handle, MemRef)> {
        self.next_mem_of(from, usize::MAX)
    }

    /// The same of `count` entries at most.
    #[must_use]
    pub fn next_mem_of(&self, from: u16, count: usize) -> Option<(Handle, MemRef)> {
        (from..)
            .zip(self.entries.iter().skip(from.into()).take(count))
            .find_map(|(index, entry)| Some((Handle::new(index, entry.generation), entry.mem()?)))
    }
}
