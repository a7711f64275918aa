//! Run queue: the vCPUs that are ready on one core, by priority, first come first served inside one. Pure.

use zerocopy::FromZeros;

use super::VcpuRef;

/// Priorities; 31 is the highest.
pub const PRIORITIES: usize = 32;
/// vCPUs of the whole machine: 64 VMs of 8.
pub const VCPUS: usize = 512;

/// A vCPU's number + 1, or 0 for nobody: zeros are an empty queue, so that it is made in place.
type Place = u16;
const NOBODY: Place = 0;

fn index(place: Place) -> usize {
    usize::from(place).wrapping_sub(1) // nobody is out of range
}

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Links {
    next: Place,
    previous: Place,
    // Priority + 1, or 0 when not queued.
    queued: u16,
}

/// Ready vCPUs of one core. Every operation takes constant time. All zeros is an empty queue.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct RunQueue {
    // Bit `p`: something waits at priority `p`.
    occupied: u32,
    head: [Place; PRIORITIES],
    tail: [Place; PRIORITIES],
    links: [Links; VCPUS],
}

impl RunQueue {
    /// Returns the highest priority at which something waits.
    #[inline]
    #[must_use]
    pub const fn highest(&self) -> Option<u8> {
        #[allow(clippy::cast_possible_truncation, reason = "below 32")]
        if self.occupied == 0 { None } else { Some((31 - self.occupied.leading_zeros()) as u8) }
    }

    /// Returns whether `vcpu` is queued.
    #[must_use]
    pub fn contains(&self, vcpu: VcpuRef) -> bool {
        self.links.get(vcpu.index()).is_some_and(|links| links.queued != 0)
    }

    /// Puts `vcpu` behind those that wait at `priority`, or before them when `first`. Does nothing when it is queued.
    pub fn push(&mut self, vcpu: VcpuRef, priority: u8, first: bool) {
        let level = usize::from(priority).min(PRIORITIES - 1);
        let at = vcpu.number().wrapping_add(1);
        if self.contains(vcpu) {
            return;
        }
        let (Some(head), Some(tail)) = (self.head.get_mut(level), self.tail.get_mut(level)) else { return };
        let (old_head, old_tail) = (*head, *tail);
        let (previous, next) = if first { (NOBODY, old_head) } else { (old_tail, NOBODY) };
        if first || old_head == NOBODY {
            *head = at;
        }
        if !first || old_tail == NOBODY {
            *tail = at;
        }
        self.occupied |= 1 << level;
        let queued = u16::from(priority).min(31) + 1;
        if let Some(links) = self.links.get_mut(vcpu.index()) {
            *links = Links { next, previous, queued };
        }
        if let Some(neighbor) = self.links.get_mut(index(previous)) {
            neighbor.next = at;
        }
        if let Some(neighbor) = self.links.get_mut(index(next)) {
            neighbor.previous = at;
        }
    }

    /// Takes `vcpu` out, wherever it waits. Returns whether it was queued.
    pub fn remove(&mut self, vcpu: VcpuRef) -> bool {
        let Some(links) = self.links.get_mut(vcpu.index()).filter(|links| links.queued != 0) else { return false };
        let Links { next, previous, queued } = *links;
        *links = Links { next: NOBODY, previous: NOBODY, queued: 0 };
        let level = usize::from(queued).saturating_sub(1);
        if let Some(neighbor) = self.links.get_mut(index(previous)) {
            neighbor.next = next;
        } else if let Some(head) = self.head.get_mut(level) {
            *head = next;
            if next == NOBODY {
                self.occupied &= !(1 << level);
            }
        }
        if let Some(neighbor) = self.links.get_mut(index(next)) {
            neighbor.previous = previous;
        } else if let Some(tail) = self.tail.get_mut(level) {
            *tail = previous;
        }
        true
    }

    /// Takes the first vCPU of the highest priority, which is returned with it.
    pub fn pop(&mut self) -> Option<(VcpuRef, u8)> {
        let priority = self.highest()?;
        let first = *self.head.get(usize::from(priority))?;
        let vcpu = VcpuRef::from_number(first.wrapping_sub(1))?;
        self.remove(vcpu);
        Some((vcpu, priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn vcpu(n: u16) -> VcpuRef {
        VcpuRef::from_number(n).unwrap()
    }

    #[test]
    fn the_highest_priority_comes_first_and_equals_in_order() {
        let mut queue = RunQueue::new_zeroed();
        for (n, priority) in [(1, 3), (2, 7), (3, 7), (4, 0)] {
            queue.push(vcpu(n), priority, false);
        }
        queue.push(vcpu(5), 7, true);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(v, _)| v.number()).collect();
        assert_eq!(order, [5, 2, 3, 1, 4]);
    }

    #[test]
    fn a_vcpu_is_never_queued_twice() {
        let mut queue = RunQueue::new_zeroed();
        queue.push(vcpu(9), 1, false);
        queue.push(vcpu(9), 5, false);
        assert_eq!(queue.pop(), Some((vcpu(9), 1)));
        assert_eq!(queue.pop(), None);
    }

    proptest! {
        #[test]
        fn the_queue_behaves_like_a_list_per_priority(steps in prop::collection::vec((0..3u8, 0..40u16, 0..4u8, any::<bool>()), 0..400)) {
            let mut queue = RunQueue::new_zeroed();
            let mut model: Vec<VecDeque<u16>> = vec![VecDeque::new(); 4];
            for (step, n, priority, first) in steps {
                match step {
                    0 => {
                        queue.push(vcpu(n), priority, first);
                        if !model.iter().any(|level| level.contains(&n)) {
                            let level = &mut model[usize::from(priority)];
                            if first { level.push_front(n) } else { level.push_back(n) }
                        }
                    }
                    1 => {
                        let was = model.iter().any(|level| level.contains(&n));
                        model.iter_mut().for_each(|level| level.retain(|&m| m != n));
                        prop_assert_eq!(queue.remove(vcpu(n)), was);
                    }
                    _ => {
                        let expected = model.iter_mut().rev().find_map(VecDeque::pop_front);
                        prop_assert_eq!(queue.pop().map(|(v, _)| v.number()), expected);
                    }
                }
            }
        }
    }
}
