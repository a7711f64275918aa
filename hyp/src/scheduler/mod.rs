//! Scheduler: which vCPU runs next on a core.
//!
//! Owns each core's run queue and the choice among what is ready. Called by the dispatcher, on the queue's own core only.
//! Never touches a vCPU's registers and never sends an interrupt.

pub mod queue;

pub use queue::RunQueue;

/// A vCPU as queues and deadlines name it: place of its VM and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VcpuRef(u32);

impl VcpuRef {
    /// Returns vCPU `vcpu` (0 to 7) of the VM in place `vm` (0 to 63), or `None` beyond.
    #[must_use]
    pub const fn new(vm: u8, vcpu: u8) -> Option<Self> {
        if vm < 64 && vcpu < 8 { Some(Self(vm as u32 * 8 + vcpu as u32)) } else { None }
    }

    /// Returns the vCPU of a queue number below 512.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if number < 512 { Some(Self(number as u32)) } else { None }
    }

    /// Returns the vCPU of the low nine bits of `number`.
    #[inline]
    #[must_use]
    const fn from_masked(number: u16) -> Self {
        Self((number & 0x1ff) as u32)
    }

    /// Returns the number, below 512.
    #[must_use]
    pub const fn number(self) -> u16 {
        (self.0 & 0x1ff) as u16
    }

    /// Returns the number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the place of the VM, below 64.
    #[must_use]
    pub const fn vm(self) -> u8 {
        ((self.0 / 8) & 63) as u8
    }

    /// Returns the vCPU's number in its VM, below 8.
    #[must_use]
    pub const fn vcpu(self) -> u8 {
        (self.0 % 8) as u8
    }
}

/// Who has the core, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The vCPU.
    pub vcpu: VcpuRef,
    /// Its priority. As wide as `vcpu`, so that a turn has no padding and is copied in registers.
    pub priority: u32,
    /// End of its slice in ticks; it counts only while an equal waits.
    pub until: u64,
}

impl Turn {
    /// Returns the turn of `vcpu` that begins at `now` and lasts `slice`, both in ticks.
    #[must_use]
    pub const fn new(vcpu: VcpuRef, priority: u8, now: u64, slice: u64) -> Self {
        Self { vcpu, priority: priority as u32, until: now.saturating_add(slice) }
    }
}

/// Settles whose turn it is at `now`.
///
/// `turn` is who had the core, if that can go on: then it is queued. `slice` is the length of a turn in ticks. Somebody of a
/// higher priority displaces it at once and leaves it first among its equals; an equal does so when its slice is over.
#[inline(always)]
pub fn pick(queue: &mut RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) {
    match turn {
        Some(current) if queue.rivals(current.priority) == 1 => {
            if now >= current.until {
                current.vcpu = queue.pass(current.priority);
                current.until = now.saturating_add(slice);
            }
        }
        _ => take_first(queue, turn, now, slice),
    }
}

#[inline(never)]
fn take_first(queue: &RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) {
    *turn = queue.first().map(|(vcpu, priority)| Turn::new(vcpu, priority, now, slice));
}

/// Returns when `turn` must be looked at again because an equal waits, or `u64::MAX`.
#[inline]
#[must_use]
pub fn slice_end(queue: &RunQueue, turn: &Turn) -> u64 {
    if queue.is_shared(turn.vcpu) { turn.until } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn vcpu(n: u16) -> VcpuRef {
        VcpuRef::from_number(n).unwrap()
    }

    fn pick(queue: &mut RunQueue, mut turn: Option<Turn>, now: u64, slice: u64) -> Option<Turn> {
        super::pick(queue, &mut turn, now, slice);
        turn
    }

    #[test]
    fn a_lone_vcpu_keeps_the_core_beyond_its_slice() {
        let mut queue = RunQueue::new_zeroed();
        queue.push(vcpu(1), 5, false);
        let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        assert_eq!(pick(&mut queue, Some(turn), 1000, 10), Some(Turn { until: 1010, ..turn }));
        assert_eq!(slice_end(&queue, &turn), u64::MAX);
    }

    #[test]
    fn an_equal_takes_over_at_the_end_of_the_slice_and_not_before() {
        let mut queue = RunQueue::new_zeroed();
        queue.push(vcpu(1), 5, false);
        queue.push(vcpu(2), 5, false);
        let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        assert_eq!(slice_end(&queue, &turn), 10);
        assert_eq!(pick(&mut queue, Some(turn), 9, 10), Some(turn));
        let next = pick(&mut queue, Some(turn), 10, 10).unwrap();
        assert_eq!((next.vcpu, next.until), (vcpu(2), 20));
        assert!(queue.contains(vcpu(1)));
    }

    #[test]
    fn a_higher_priority_takes_over_at_once_and_a_lower_one_never() {
        let mut queue = RunQueue::new_zeroed();
        queue.push(vcpu(1), 5, false);
        queue.push(vcpu(3), 1, false);
        let turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        assert_eq!(pick(&mut queue, Some(turn), 99, 10).unwrap().vcpu, turn.vcpu);
        queue.push(vcpu(2), 9, false);
        assert_eq!(pick(&mut queue, Some(turn), 0, 10).unwrap().vcpu, vcpu(2));
        queue.remove(vcpu(2));
        assert_eq!(queue.first(), Some((vcpu(1), 5)), "it is first among what is left");
    }
}
