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

/// A vCPU in the ring of its priority. A ring has no end to look out for: who leaves it changes two neighbors and asks nothing.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Links {
    next: u16,
    previous: u16,
}

/// Ready vCPUs of one core. Every operation takes constant time. All zeros is an empty queue.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct RunQueue {
    // Bit `p`: something waits at level `p`.
    occupied: u64,
    // The first of each ring, when it is occupied.
    first: [u16; LEVELS],
    links: [Links; VCPUS],
    // Level + 1, or 0 when not queued.
    queued: [u8; VCPUS],
    // What the first of each ring has had of its slice, in ticks, before somebody higher cut it off.
    used: [u64; LEVELS],
}

impl RunQueue {
    /// Returns the highest priority at which something waits.
    #[inline]
    #[must_use]
    pub const fn highest(&self) -> Option<u8> {
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        if self.occupied == 0 { None } else { Some((63 - self.occupied.leading_zeros()) as u8) }
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
        Some((VcpuRef::from_masked(self.first[usize::from(priority) % LEVELS]), priority))
    }

    /// Returns what the first of those at `priority` has had of its slice before somebody higher cut it off, in ticks.
    #[inline(always)]
    #[must_use]
    pub fn used(&self, priority: u32) -> u64 {
        self.used[priority as usize % LEVELS]
    }

    /// Notes that. It counts as long as who is first there stays it.
    #[inline(always)]
    pub fn cut_off(&mut self, priority: u32, used: u64) {
        self.used[priority as usize % LEVELS] = used;
    }

    /// Returns whether `vcpu` is queued.
    #[inline]
    #[must_use]
    pub fn contains(&self, vcpu: VcpuRef) -> bool {
        self.queued[vcpu.index() % VCPUS] != 0
    }

    /// Returns the priority at which `vcpu` is queued, if it is.
    #[inline]
    #[must_use]
    pub fn priority_of(&self, vcpu: VcpuRef) -> Option<u8> {
        self.queued[vcpu.index() % VCPUS].checked_sub(1)
    }

    #[inline(always)]
    fn links(&mut self, number: u16) -> &mut Links {
        &mut self.links[usize::from(number) % VCPUS]
    }

    /// Puts `vcpu` behind those that are ready at `priority`, or before them when `first`. Does nothing when it is queued.
    #[inline]
    pub fn push(&mut self, vcpu: VcpuRef, priority: u8, first: bool) {
        let level = priority & 63;
        let at = vcpu.number();
        if self.contains(vcpu) {
            return;
        }
        self.queued[usize::from(at) % VCPUS] = level.wrapping_add(1);
        if self.occupied >> level & 1 != 0 {
            return self.push_beside(at, level.into(), first);
        }
        self.begin_ring(at, level);
    }

    /// Puts `vcpu`, which is not queued, behind those that are ready at `priority`.
    #[inline(always)]
    pub fn append(&mut self, vcpu: VcpuRef, priority: u8) {
        let (level, at) = (priority & 63, vcpu.number());
        self.queued[usize::from(at) % VCPUS] = level.wrapping_add(1);
        if self.occupied >> level & 1 == 0 {
            self.begin_ring(at, level);
        } else {
            let next = self.first[usize::from(level) % LEVELS];
            let previous = core::mem::replace(&mut self.links(next).previous, at);
            self.links(previous).next = at;
            *self.links(at) = Links { next, previous };
        }
    }

    /// Puts `vcpu`, which is not queued, at `priority`, where nobody is ready.
    #[inline(always)]
    pub fn push_alone(&mut self, vcpu: VcpuRef, priority: u8) {
        let (level, at) = (priority & 63, vcpu.number());
        self.queued[usize::from(at) % VCPUS] = level.wrapping_add(1);
        self.begin_ring(at, level);
    }

    /// Puts `to`, which is not queued, in place of `from`, the only one at `priority` (at most 63).
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "six bits")]
    pub fn replace(&mut self, from: VcpuRef, to: VcpuRef, priority: u32) {
        let at = to.number();
        self.queued[from.index() % VCPUS] = 0;
        self.queued[usize::from(at) % VCPUS] = ((priority & 63) as u8).wrapping_add(1);
        self.first[priority as usize % LEVELS] = at;
        self.cut_off(priority, 0);
        *self.links(at) = Links { next: at, previous: at };
    }

    #[inline(always)]
    fn begin_ring(&mut self, at: u16, level: u8) {
        self.occupied |= 1 << level;
        self.first[usize::from(level) % LEVELS] = at;
        *self.links(at) = Links { next: at, previous: at };
    }

    #[inline(never)]
    fn push_beside(&mut self, at: u16, level: usize, first: bool) {
        let next = self.first[level % LEVELS];
        if first {
            self.first[level % LEVELS] = at;
            self.used[level % LEVELS] = 0;
        }
        let previous = self.links(next).previous;
        *self.links(at) = Links { next, previous };
        self.links(previous).next = at;
        self.links(next).previous = at;
    }

    /// Puts the first of those at `priority` (at most 63, and somebody is there) behind the others. Returns who is first now.
    #[inline]
    pub fn pass(&mut self, priority: u32) -> VcpuRef {
        self.cut_off(priority, 0);
        let first = &mut self.first[priority as usize % LEVELS];
        *first = self.links[usize::from(*first) % VCPUS].next;
        VcpuRef::from_masked(*first)
    }

    /// The same for `vcpu`, who is that first: one look less.
    #[inline(always)]
    pub fn pass_from(&mut self, vcpu: VcpuRef, priority: u32) -> VcpuRef {
        let next = self.links[vcpu.index() % VCPUS].next;
        self.first[priority as usize % LEVELS] = next;
        self.cut_off(priority, 0);
        VcpuRef::from_masked(next)
    }

    /// Takes out `vcpu`, the first of those at `priority` (at most 63).
    #[inline(always)]
    pub fn remove_first(&mut self, vcpu: VcpuRef, priority: u32) {
        let at = vcpu.number();
        self.queued[usize::from(at) % VCPUS] = 0;
        self.cut_off(priority, 0);
        let Links { next, previous } = *self.links(at);
        if next == at {
            self.occupied &= !(1 << (priority & 63));
        } else {
            self.links(previous).next = next;
            self.links(next).previous = previous;
            self.first[priority as usize % LEVELS] = next;
        }
    }

    /// Takes `vcpu` out, wherever it is. Returns whether it was queued.
    #[inline]
    pub fn remove(&mut self, vcpu: VcpuRef) -> bool {
        let at = vcpu.number();
        let queued = core::mem::take(&mut self.queued[usize::from(at) % VCPUS]);
        if queued == 0 {
            return false;
        }
        let level = queued.wrapping_sub(1) & 63;
        if self.is_shared(vcpu) {
            self.remove_beside(at, level.into());
        } else {
            self.occupied &= !(1 << level);
            self.cut_off(level.into(), 0);
        }
        true
    }

    #[inline(never)]
    fn remove_beside(&mut self, at: u16, level: usize) {
        let Links { next, previous } = *self.links(at);
        self.links(previous).next = next;
        self.links(next).previous = previous;
        let first = &mut self.first[level % LEVELS];
        if *first == at {
            *first = next;
            self.used[level % LEVELS] = 0;
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
