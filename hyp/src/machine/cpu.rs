//! Cpu: what one core has to itself, and the one timer that it has.

use strato_abi::regs::Regs;

use super::{Building, Resident};
use crate::arch::core_base::CoreIndex;
use crate::arch::epoch::Retired;
use crate::arch::frame::Results;
use crate::arch::page_box::PageBox;
use crate::arch::timer;
use crate::scheduler::{Reservations, RunQueue, Turn, VcpuRef};
use crate::timer::{Deadlines, Due, NEVER};
use crate::trace::Tracer;
use crate::vm::remains::Remains;
use crate::vm::{Manner, Vm};

/// What one core has to itself. In this order because what is used most has to be in reach of an instruction.
#[repr(C)]
pub struct Cpu {
    /// Which core this is.
    pub index: CoreIndex,
    /// vCPUs that are ready.
    pub queue: PageBox<RunQueue>,
    /// Time that is reserved for some of them.
    pub reserved: PageBox<Reservations>,
    /// What is due here. What concerns those with reserved time stands there, and here the earliest of it.
    pub deadlines: PageBox<Deadlines>,
    /// Who has the core.
    pub turn: Option<Turn>,
    /// Whose EL1 state is in the registers: the vCPU, and the incarnation of its VM.
    pub resident: Option<Resident>,
    /// The generation of VMIDs since which nothing older is left in this core's TLB.
    pub vmid_generation: u64,
    /// Places of VMs that this core gives back, one bit each.
    pub reaping: u64,
    /// The VM that was taken out of its place and that other cores may still use.
    pub retired: Option<Retired<Vm>>,
    /// The VM that this core makes again; its place is among those that it gives back.
    pub rebuild: Option<PageBox<Building>>,
    /// The vCPU that goes to another core, and which, once it is given back here.
    pub departing: Option<(VcpuRef, u8)>,
    /// Interrupts of devices that have come and that nobody was told of, one bit for each [line](crate::gic::Lines).
    pub came: u64,
    /// The manner of the VM that its vectors are right for, and that may have left something in its predictors.
    pub manner: Manner,
    /// Deadline that the timer is armed for, in ticks.
    pub armed: u64,
    /// What is recorded of this core, if anything is.
    pub tracer: Option<PageBox<Tracer>>,
    /// Results of a call that left, x1 to x15, until they are written.
    pub reply: Regs,
    /// Results of a call that did not leave, x0 to x3, until the vector takes them.
    pub results: Results,
    /// The VM that nobody can use any more, and that is given back.
    pub remains: Option<Remains>,
    /// Until when no deadlines are served but those of reserved time, in ticks, while a guest has the core: as long again as the last ones
    /// took, so that no number of timers keeps all guests from running.
    pub rests_until: u64,
    /// What may still be done in this turn of what devices, others and time ask for, each counted as one.
    pub units: u32,
    /// For which of the VMs that this core gives back the last step was.
    pub reaped: u32,
    /// Whether interrupts of low priority wait, since reserved time runs.
    pub masks_low: bool,
    /// Whether the exit that was answered last may have been long to answer, and nothing has been chosen since.
    pub was_long: bool,
    /// Whether the last turn did a step of giving a VM back.
    pub has_reaped: bool,
}

impl Cpu {
    /// Returns the core's number.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "below MAX_CORES")]
    pub const fn number(&self) -> u8 {
        self.index.index() as u8
    }

    /// Sets a deadline in ticks, or [`NEVER`]. The timer is armed before a guest is entered.
    #[inline]
    pub fn set_deadline(&mut self, due: Due, moment: u64) {
        if self.reserved.keeps(due) {
            self.set_reserved_deadline(due, moment);
        } else {
            self.deadlines.set(due.place(), moment);
        }
    }

    #[cold]
    #[inline(never)]
    fn set_reserved_deadline(&mut self, due: Due, moment: u64) {
        let first = self.reserved.set_due(due, moment);
        self.deadlines.set(Due::Shares.place(), first);
    }

    /// Returns whether a deadline is set.
    #[must_use]
    pub fn has_deadline(&self, due: Due) -> bool {
        if self.reserved.keeps(due) {
            self.reserved.due().is_set(due.place())
        } else {
            self.deadlines.is_set(due.place())
        }
    }

    /// Returns whether something is due that concerns those with reserved time: it comes before everything that others ask for. The beat
    /// does not, though it stands there.
    #[inline]
    #[must_use]
    pub fn is_reserved_due(&self) -> bool {
        let first = self.reserved.due().earliest_but(Due::Beat.place());
        first != NEVER && first <= timer::now()
    }

    /// Arms the core's timer for the turn that goes on at `now`: for `slice`, its end, and for `first`, the first deadline, in ticks. Who
    /// runs in reserved time is not interrupted for what is due for others, who would have to wait all the same; and these rest.
    #[inline(never)]
    pub fn arm_for(&mut self, turn: &Turn, first: u64, slice: u64, now: u64) {
        let (reserved, _) = self.reserved.due().earliest();
        let first = match first {
            _ if turn.is_reserved() => reserved,
            first if first <= now => reserved.min(first.max(self.rests_until)),
            first => first,
        };
        self.arm(first.min(slice));
    }

    /// Has the timer armed anew, whatever it is armed for.
    pub const fn forget_armed(&mut self) {
        self.armed = NEVER - 1;
    }

    /// Sets a deadline in ticks. The timer is armed for it when it is the first, so that the guest need not be left.
    #[inline]
    pub fn set_due(&mut self, due: Due, moment: u64) {
        self.set_deadline(due, moment);
        if moment < self.armed {
            self.arm(moment);
        }
    }

    /// Arms the core's timer for `deadline`, unless it is armed for it already.
    #[inline]
    pub fn arm(&mut self, deadline: u64) {
        if self.armed == deadline {
            return;
        }
        self.armed = deadline;
        if deadline == NEVER { timer::disarm() } else { timer::arm(deadline) }
    }

    /// Arms the core's timer, which has expired, for `deadline`: its interrupt has fallen when this returns.
    #[inline(always)]
    pub fn arm_anew(&mut self, deadline: u64) {
        self.armed = deadline;
        timer::arm(deadline); // also for NEVER, which does not come
        timer::synchronize();
    }

    /// Arms the core's timer for the end of a slice, unless it is armed for an earlier time: when that comes, it is armed for the
    /// slice of then. So a slice that ends early, as most do while equals give the core to each other, writes no register of the timer.
    #[inline]
    pub fn arm_slice(&mut self, end: u64) {
        if end < self.armed {
            self.armed = end;
            timer::arm(end);
        }
    }

    /// Keeps the first four words of what follows.
    pub fn keep(&mut self, words: [u64; 4]) {
        if let Some(first) = self.reply.first_chunk_mut::<4>() {
            *first = words;
        }
    }

    /// Returns the first four words that were kept.
    #[must_use]
    pub fn kept(&self) -> [u64; 4] {
        self.reply.first_chunk::<4>().copied().unwrap_or_default()
    }
}
