//! Run queue: the vCPUs that are ready on one core, by priority, first come first served inside one. Who has the core stays in
//! its place, so that giving it to an equal is one step along a ring. Pure.

#![allow(
    clippy::indexing_slicing,
    reason = "each index is taken modulo the length, so that the compiler drops the check"
)]

use zerocopy::FromZeros;

use super::VcpuRef;

/// Levels: the 32 priorities of what runs in the time that is left, and above them those of what has [time of its
/// own](super::reserve).
pub const LEVELS: usize = 64;
/// The lowest level of those with time of their own.
pub const RESERVED: u8 = 32;
/// vCPUs of the whole machine: 64 VMs of 8.
pub const VCPUS: usize = 512;

/// A vCPU in the ring of its priority. A ring has no end to look out for: who leaves it changes two neighbors and asks nothing. All
/// that is written of a vCPU that comes or goes stands together.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Links {
    next: u16,
    previous: u16,
    // Level + 1, or 0 when not queued.
    queued: u32,
}

/// The ring of a priority. As wide as a pair of registers, since both words change together.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Ring {
    // What the first has had of its slice, in ticks, before somebody higher cut it off.
    used: u64,
    // The first, when the level is occupied.
    first: u64,
}

/// Ready vCPUs of one core. Every operation takes constant time. All zeros is an empty queue.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct RunQueue {
    // Bit `p`: something waits at level `p`.
    occupied: u64,
    rings: [Ring; LEVELS],
    links: [Links; VCPUS],
}

impl RunQueue {
    /// Returns the highest priority at which something waits.
    #[inline]
    #[must_use]
    pub const fn highest(&self) -> Option<u8> {
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        if self.occupied == 0 { None } else { Some((63 - self.occupied.leading_zeros()) as u8) }
    }

    /// Returns whether somebody is ready who has time of its own.
    #[inline(always)]
    #[must_use]
    pub const fn has_reserved(&self) -> bool {
        self.occupied >> RESERVED != 0
    }

    /// Returns who is ready beside somebody of level `priority` (at most 63) who is: 1 at most equals, more than that somebody higher.
    #[inline]
    #[must_use]
    pub const fn rivals(&self, priority: u32) -> u64 {
        self.occupied >> (priority & 63)
    }

    /// Returns whether an equal is ready beside `vcpu`, which is queued.
    #[inline]
    #[must_use]
    pub fn is_shared(&self, vcpu: VcpuRef) -> bool {
        self.links[vcpu.index() % VCPUS].next != vcpu.number()
    }

    /// Returns the first of the highest priority, which is returned with it. It stays in the queue.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<(VcpuRef, u8)> {
        let priority = self.highest()?;
        Some((VcpuRef::from_masked(self.first_of(priority.into())), priority))
    }

    /// Returns what the first of those at `priority` has had of its slice before somebody higher cut it off, in ticks.
    #[inline(always)]
    #[must_use]
    pub fn used(&self, priority: u32) -> u64 {
        self.rings[priority as usize % LEVELS].used
    }

    /// Notes that. It counts as long as who is first there stays it.
    #[inline(always)]
    pub fn cut_off(&mut self, priority: u32, used: u64) {
        self.rings[priority as usize % LEVELS].used = used;
    }

    /// Returns whether `vcpu` is queued.
    #[inline]
    #[must_use]
    pub fn contains(&self, vcpu: VcpuRef) -> bool {
        self.links[vcpu.index() % VCPUS].queued != 0
    }

    /// Returns the priority at which `vcpu` is queued, if it is.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "at most 64")]
    pub fn priority_of(&self, vcpu: VcpuRef) -> Option<u8> {
        (self.links[vcpu.index() % VCPUS].queued as u8).checked_sub(1)
    }

    #[inline(always)]
    fn links(&mut self, number: u16) -> &mut Links {
        &mut self.links[usize::from(number) % VCPUS]
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "numbers of vCPUs alone stand there")]
    fn first_of(&self, priority: u32) -> u16 {
        self.rings[priority as usize % LEVELS].first as u16
    }

    /// Makes `vcpu` the first of those at `priority`, who has had nothing of its slice.
    #[inline(always)]
    fn begin_with(&mut self, vcpu: u16, priority: u32) {
        self.rings[priority as usize % LEVELS] = Ring { used: 0, first: vcpu.into() };
    }

    /// Puts `vcpu` behind those that are ready at `priority`, or before them when `first`. Does nothing when it is queued.
    #[inline]
    pub fn push(&mut self, vcpu: VcpuRef, priority: u8, first: bool) {
        let (level, at) = (u32::from(priority & 63), vcpu.number());
        if self.contains(vcpu) {
            return;
        }
        if self.occupied >> level & 1 == 0 {
            return self.begin_ring(at, level);
        }
        self.push_before(self.first_of(level), at, level);
        if first {
            self.begin_with(at, level);
        }
    }

    /// Puts `vcpu`, which is not queued, behind those that are ready at `priority`.
    #[inline(always)]
    pub fn append(&mut self, vcpu: VcpuRef, priority: u8) {
        let (level, at) = (u32::from(priority & 63), vcpu.number());
        if self.occupied >> level & 1 == 0 {
            self.begin_ring(at, level);
        } else {
            self.insert_before(self.first_of(level).into(), at.into(), level);
        }
    }

    /// The same for the level of `first`, who is the first there.
    #[inline(always)]
    pub fn append_behind(&mut self, first: VcpuRef, vcpu: VcpuRef, priority: u8) {
        self.insert_before(first.index(), vcpu.index(), u32::from(priority & 63));
    }

    /// Puts `vcpu`, which is not queued, at `priority`, where nobody is ready.
    #[inline(always)]
    pub fn push_alone(&mut self, vcpu: VcpuRef, priority: u8) {
        self.begin_ring(vcpu.number(), u32::from(priority & 63));
    }

    /// Puts `to`, which is not queued, in place of `from`, the only one at `priority` (at most 63).
    #[inline(always)]
    pub fn replace(&mut self, from: VcpuRef, to: VcpuRef, priority: u32) {
        let at = to.number();
        self.links(from.number()).queued = 0;
        *self.links(at) = Links { next: at, previous: at, queued: (priority & 63).wrapping_add(1) };
        self.begin_with(at, priority);
    }

    #[inline(always)]
    fn begin_ring(&mut self, at: u16, level: u32) {
        self.occupied |= 1 << (level & 63);
        self.rings[level as usize % LEVELS].first = at.into();
        *self.links(at) = Links { next: at, previous: at, queued: level.wrapping_add(1) };
    }

    #[inline(never)]
    fn push_before(&mut self, next: u16, at: u16, level: u32) {
        self.insert_before(next.into(), at.into(), level);
    }

    /// Puts one before another; both are taken modulo their number.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "below 512")]
    fn insert_before(&mut self, next: usize, at: usize, level: u32) {
        let (next, at) = (next % VCPUS, at % VCPUS);
        let previous = core::mem::replace(&mut self.links[next].previous, at as u16);
        self.links(previous).next = at as u16;
        self.links[at] = Links { next: next as u16, previous, queued: level.wrapping_add(1) };
    }

    /// Puts the first of those at `priority` (at most 63, and somebody is there) behind the others. Returns who is first now.
    #[inline]
    pub fn pass(&mut self, priority: u32) -> VcpuRef {
        self.pass_from(VcpuRef::from_masked(self.first_of(priority)), priority)
    }

    /// The same for `vcpu`, who is that first: one look less.
    #[inline(always)]
    pub fn pass_from(&mut self, vcpu: VcpuRef, priority: u32) -> VcpuRef {
        let next = self.links[vcpu.index() % VCPUS].next;
        self.begin_with(next, priority);
        VcpuRef::from_masked(next)
    }

    /// Takes out `vcpu`, the first of those at `priority` (at most 63). Returns who is first there now, if anybody is.
    #[inline(always)]
    pub fn remove_first(&mut self, vcpu: VcpuRef, priority: u32) -> Option<VcpuRef> {
        let at = vcpu.number();
        let links = self.links(at);
        links.queued = 0;
        let Links { next, previous, .. } = *links;
        if next == at {
            self.cut_off(priority, 0);
            self.occupied &= !(1 << (priority & 63));
            return None;
        }
        let first = VcpuRef::from_masked(next);
        self.links(previous).next = first.number();
        self.links(first.number()).previous = previous;
        self.begin_with(first.number(), priority);
        Some(first)
    }

    /// Takes `vcpu` out, wherever it is. Returns whether it was queued.
    #[inline]
    pub fn remove(&mut self, vcpu: VcpuRef) -> bool {
        let at = vcpu.number();
        let queued = core::mem::take(&mut self.links(at).queued);
        if queued == 0 {
            return false;
        }
        let level = queued.wrapping_sub(1) & 63;
        if self.is_shared(vcpu) {
            self.remove_beside(at, level);
        } else {
            self.occupied &= !(1 << level);
            self.cut_off(level, 0);
        }
        true
    }

    #[inline(never)]
    fn remove_beside(&mut self, at: u16, level: u32) {
        let Links { next, previous, .. } = *self.links(at);
        self.links(previous).next = next;
        self.links(next).previous = previous;
        if self.first_of(level) == at {
            self.begin_with(next, level);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
