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

    /// Returns whether the vCPU runs in reserved time: its own, or what another one has lent it.
    #[inline(always)]
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.priority & RESERVED as u32 != 0
    }

    fn own_priority(&self) -> u8 {
        let shift = if self.priority & LENT == 0 { 0 } else { OWN_SHIFT };
        u8::try_from(self.priority >> shift & 63).unwrap_or(0)
    }
}

/// Settles whose turn it is at `now`.
///
/// `turn` is who had the core, if that can go on: then it is queued. `slice` is the length of a turn in ticks. Somebody of a
/// higher priority displaces it at once and leaves it first among its equals, with what is left of its slice, so that one that is
/// displaced in each does not keep its equals out; an equal displaces it when its slice is over.
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
        Some(current) => {
            cut_off(queue, current, now, slice);
            take_first(queue, turn, now, slice);
        }
        None => take_first(queue, turn, now, slice),
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

/// Queues `vcpu`, which has become ready at `level`. Returns whether it has the core from `now` on, since it is above who had it: with its
/// own priority, which nobody exceeds that is queued.
#[inline(always)]
#[must_use]
pub fn join(queue: &mut RunQueue, turn: &mut Turn, vcpu: VcpuRef, level: u8, now: u64, slice: u64) -> bool {
    let is_above = u32::from(level) > turn.priority;
    if is_above {
        cut_off(queue, turn, now, slice);
        queue.push_alone(vcpu, level);
        *turn = Turn::new(vcpu, level, now, slice);
    } else {
        queue.append(vcpu, level);
    }
    is_above
}

/// Gives the core to the next equal of who has it, when that has had its slice, and there is one. Returns whether it did.
#[inline(always)]
#[must_use]
pub fn end_slice(queue: &mut RunQueue, turn: &mut Turn, now: u64, slice: u64) -> bool {
    now >= turn.until && give_way(queue, turn, now, slice).is_some()
}

/// Gives the core from who has it, which leaves the queue, to `to`, which is not queued and has the same level, for a slice of its own.
/// Nobody else is ready there, so that no one waits longer for it.
#[inline(always)]
pub fn replace(queue: &mut RunQueue, turn: &mut Turn, to: VcpuRef, now: u64, slice: u64) {
    queue.replace(turn.vcpu, to, turn.priority);
    (turn.vcpu, turn.until) = (to, now.wrapping_add(slice));
}

/// Takes who has the core by `turn`, with its own priority, out of the queue. Returns the turn of the first of the others, if there is
/// one.
#[inline(always)]
#[must_use]
pub fn leave(queue: &mut RunQueue, turn: Turn, now: u64, slice: u64) -> Option<Turn> {
    debug_assert!(queue.rivals(turn.priority) == 1, "somebody higher would have the core");
    match queue.remove_first(turn.vcpu, turn.priority) {
        Some(vcpu) => Some(Turn { vcpu, until: now.wrapping_add(slice), ..turn }), // an equal begins a slice
        None => first(queue, now, slice),
    }
}

#[inline(never)]
fn take_first(queue: &RunQueue, turn: &mut Option<Turn>, now: u64, slice: u64) {
    *turn = first(queue, now, slice);
}

/// Returns the turn of the first of the highest priority, which has what is left of its slice.
#[inline(always)]
fn first(queue: &RunQueue, now: u64, slice: u64) -> Option<Turn> {
    let (vcpu, priority) = queue.first()?;
    let priority = priority.into();
    // It is over already for one that had nobody beside it until it was cut off.
    Some(Turn { vcpu, priority, until: now.wrapping_add(slice).wrapping_sub(queue.used(priority)) })
}

/// Notes how much of its slice `turn` has had, which somebody higher cuts off.
#[inline(always)]
fn cut_off(queue: &mut RunQueue, turn: &Turn, now: u64, slice: u64) {
    queue.cut_off(turn.priority, now.wrapping_add(slice).wrapping_sub(turn.until));
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
    queue.remove(to);
    give(queue, turn, to);
    if own != turn.priority {
        turn.priority |= LENT | own << OWN_SHIFT;
    }
    true
}

/// Does the same for `to`, of level `own`, which is ready and not queued, since its own budget is used up: it runs on that of who has
/// the turn. Returns whether it did: not when the turn's own priority is lent.
pub fn lend(queue: &mut RunQueue, turn: &mut Turn, to: VcpuRef, own: u8) -> bool {
    if turn.is_lent() {
        return false;
    }
    give(queue, turn, to);
    turn.priority |= LENT | u32::from(own & 63) << OWN_SHIFT;
    true
}

/// Gives the turn to `to`, which is not queued; who had it goes behind its equals.
fn give(queue: &mut RunQueue, turn: &mut Turn, to: VcpuRef) {
    queue.pass(turn.priority);
    queue.push(to, u8::try_from(turn.priority & 63).unwrap_or(0), true);
    turn.vcpu = to;
}

/// Returns when `turn` must be looked at again because an equal waits, or `u64::MAX`.
#[inline]
#[must_use]
pub fn slice_end(queue: &RunQueue, turn: &Turn) -> u64 {
    if queue.is_shared(turn.vcpu) { turn.until } else { u64::MAX }
}

#[cfg(test)]
mod tests;
