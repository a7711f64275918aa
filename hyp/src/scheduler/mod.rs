//! Scheduler: which vCPU runs next on a core.
//!
//! Owns each core's run queue and the choice among what is ready. Called by the dispatcher, on the queue's own core only.
//! Never touches a vCPU's registers and never sends an interrupt.

pub mod queue;
pub mod reserve;

pub use queue::{RESERVED, RunQueue};
pub use reserve::Reservations;

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
    pub const fn from_masked(number: u16) -> Self {
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

/// In [`Turn::priority`]: the priority is lent, and the vCPU's own stands in the bits above.
const LENT: u32 = 1 << 8;
const OWN_SHIFT: u32 = 9;

/// Who has the core, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The vCPU.
    pub vcpu: VcpuRef,
    /// The priority (a level of the queue) that it runs with; above bit 8, which says that it is lent, its own. As wide as `vcpu`, so that a turn has no
    /// padding and is copied in registers.
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

    /// Returns whether the vCPU runs with a priority that another one has lent it.
    #[inline(always)]
    #[must_use]
    pub const fn is_lent(&self) -> bool {
        self.priority & LENT != 0
    }

    fn own_priority(&self) -> u8 {
        let shift = if self.priority & LENT == 0 { 0 } else { OWN_SHIFT };
        u8::try_from(self.priority >> shift & 63).unwrap_or(0)
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
            if now < current.until {
                return;
            }
            if current.priority & LENT != 0 {
                return end_loan(queue, turn, now, slice);
            }
            current.vcpu = queue.pass(current.priority);
            current.until = now.saturating_add(slice);
        }
        Some(current) if current.priority & LENT != 0 => end_loan(queue, turn, now, slice),
        _ => take_first(queue, turn, now, slice),
    }
}

/// Gives the core from who has it, which yields, to its next equal, and returns that turn. `None` when nobody is equal or the priority
/// is lent: [`pick`] knows what follows then. Somebody higher would have the core.
#[inline(always)]
#[must_use]
pub fn give_way(queue: &mut RunQueue, turn: &mut Turn, now: u64, slice: u64) -> Option<Turn> {
    if turn.is_lent() || !queue.is_shared(turn.vcpu) {
        return None;
    }
    *turn = Turn { vcpu: queue.pass_from(turn.vcpu, turn.priority), until: now.wrapping_add(slice), ..*turn };
    Some(*turn)
}

/// Takes who has the core, with its own priority, out of the queue, and gives the core to the first of the others, if there is one.
/// Returns that turn.
#[inline(always)]
pub fn leave(queue: &mut RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) -> Option<Turn> {
    let current = (*turn)?;
    queue.remove_first(current.vcpu, current.priority);
    *turn = queue.first().map(|(vcpu, priority)| Turn::new(vcpu, priority, now, slice));
    *turn
}

#[inline(never)]
fn take_first(queue: &RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) {
    *turn = queue.first().map(|(vcpu, priority)| Turn::new(vcpu, priority, now, slice));
}

/// Gives who runs with a lent priority its own back; it goes behind its equals there.
#[cold]
#[inline(never)]
fn end_loan(queue: &mut RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) {
    if let Some(current) = turn {
        queue.remove(current.vcpu);
        queue.push(current.vcpu, current.own_priority(), false);
    }
    take_first(queue, turn, now, slice);
}

/// Gives the rest of `turn` to `to`, and puts who had it behind its equals: who hands turns to and fro has one slice between
/// two turns of everybody else. When `may_lift`, one of a lower priority runs with that of the turn, until [`pick`] ends it
/// or it leaves the queue.
///
/// Returns whether it did: not when `to` is not ready, when its priority is another and may not be lifted, and when the turn's
/// own priority is lent.
pub fn hand_over(queue: &mut RunQueue, turn: &mut Turn, to: VcpuRef, may_lift: bool) -> bool {
    let Some(own) = queue.priority_of(to).map(u32::from) else { return false };
    if turn.priority & LENT != 0 || own > turn.priority || (own < turn.priority && !may_lift) || to == turn.vcpu {
        return false;
    }
    queue.pass(turn.priority);
    queue.remove(to);
    queue.push(to, u8::try_from(turn.priority).unwrap_or(0), true);
    turn.vcpu = to;
    if own != turn.priority {
        turn.priority |= LENT | own << OWN_SHIFT;
    }
    true
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
    fn who_is_handed_the_turn_has_the_rest_of_it_and_both_go_behind_their_equals() {
        let mut queue = RunQueue::new_zeroed();
        for n in 1..=4 {
            queue.push(vcpu(n), 5, false);
        }
        let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        assert!(hand_over(&mut queue, &mut turn, vcpu(3), false));
        assert_eq!((turn.vcpu, turn.until, turn.priority), (vcpu(3), 10, 5));
        let order: Vec<_> = (0..4)
            .map(|n| {
                let next = pick(&mut queue, Some(turn), 10 + n * 10, 10).unwrap();
                turn = next;
                next.vcpu.number()
            })
            .collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn one_who_yields_or_leaves_is_followed_as_pick_would_have_it() {
        let mut queue = RunQueue::new_zeroed();
        for (n, priority) in [(1, 5), (2, 5), (3, 2)] {
            queue.push(vcpu(n), priority, false);
        }
        let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
        let next = give_way(&mut queue, &mut turn, 7, 10).unwrap();
        assert_eq!((next, turn.vcpu, turn.until), (turn, vcpu(2), 17));
        let mut turn = Some(turn);
        assert_eq!(leave(&mut queue, &mut turn, 8, 10).unwrap().vcpu, vcpu(1), "its equal comes first");
        let mut alone = turn.filter(|turn| turn.vcpu == vcpu(1) && !queue.contains(vcpu(2))).unwrap();
        assert_eq!(give_way(&mut queue, &mut alone, 9, 10), None, "nobody is equal");
        let lower = leave(&mut queue, &mut turn, 9, 10).unwrap();
        assert_eq!((lower.vcpu, lower.priority), (vcpu(3), 2));
        assert_eq!((leave(&mut queue, &mut turn, 9, 10), turn), (None, None));
    }

    #[test]
    fn a_lent_priority_ends_with_the_slice_a_yield_and_a_preemption() {
        for end in ["slice", "yield", "preemption"] {
            let mut queue = RunQueue::new_zeroed();
            for (n, priority) in [(1, 5), (2, 2), (3, 3)] {
                queue.push(vcpu(n), priority, false);
            }
            let mut turn = Turn { vcpu: vcpu(1), priority: 5, until: 10 };
            assert!(!hand_over(&mut queue, &mut turn, vcpu(2), false), "not without the right to lift");
            assert!(!hand_over(&mut queue, &mut turn, vcpu(1), true), "not to itself");
            assert!(!hand_over(&mut queue, &mut turn, vcpu(9), true), "not to one that is not ready");
            assert!(hand_over(&mut queue, &mut turn, vcpu(2), true));
            assert_eq!(pick(&mut queue, Some(turn), 9, 10).unwrap().vcpu, vcpu(2));
            assert!(!hand_over(&mut queue, &mut turn, vcpu(3), true), "what is lent is not lent on");
            let now = if end == "slice" { 10 } else { 9 };
            if end == "yield" {
                turn.until = 0;
            }
            if end == "preemption" {
                queue.push(vcpu(4), 9, false);
            }
            let next = pick(&mut queue, Some(turn), now, 10).unwrap();
            assert_eq!(next.vcpu, vcpu(if end == "preemption" { 4 } else { 1 }), "{end}");
            assert_eq!(queue.priority_of(vcpu(2)), Some(2), "{end}");
            // One that blocks leaves the queue by itself.
            queue.remove(vcpu(2));
            assert_eq!(queue.priority_of(vcpu(2)), None);
        }
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
