//! Series: which of several packed systems has its turn, and what became of those before it. Owns the progress, which stands in memory
//! that a warm reset leaves as it is. Called by boot, by the dispatcher as VMs end, and by a panic; never resets the machine itself.

use core::fmt;

use strato_abi::plan::{EXPECT_EXIT, Expect, SERIES_MAX};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::board::retained::Record;
use crate::lock::{CONSOLE, Lock};

/// The last line of the report.
pub const REPORT_ENDS: &str = "self-test: report ends";

/// A system that was begun so often and never ended is given up.
const TRIES_MAX: u16 = 3;

/// How a system of a series ended: one word, so that many fit. What it says of it is what [`fmt::Display`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Verdict(u64);

const CODE_BITS: u32 = 40;
const TRIES_AT: u32 = 40;
const VM_AT: u32 = 48;
const KIND_AT: u32 = 56;
const EXITED: u64 = 2;
const STOPPED: u64 = 3;

impl Verdict {
    /// It was not run yet.
    pub const NONE: Self = Self(0);
    /// Every VM ended as the plan says.
    pub const PASSED: Self = Self(1 << KIND_AT);
    /// The hypervisor panicked.
    pub const PANICKED: Self = Self(4 << KIND_AT);
    /// The packed system was refused.
    pub const REFUSED: Self = Self(5 << KIND_AT);
    /// It did not end within its time.
    pub const TOO_LONG: Self = Self(6 << KIND_AT);
    /// The machine was reset each time before it ended.
    pub const GIVEN_UP: Self = Self(7 << KIND_AT);

    /// Returns what to say of VM `vm`, which ended otherwise than the plan says: by an exit with a code, or without.
    #[must_use]
    pub fn of_vm(vm: u8, exit: Option<u64>) -> Self {
        let (kind, code) = exit.map_or((STOPPED, 0), |code| (EXITED, code.min((1 << CODE_BITS) - 1)));
        Self(kind << KIND_AT | u64::from(vm) << VM_AT | code)
    }

    /// Returns the same of a system that was begun `tries` times.
    fn after(self, tries: u16) -> Self {
        Self(self.0 | u64::from(tries.min(0xff)) << TRIES_AT)
    }

    /// Returns the same without the tries.
    fn after_none(self) -> Self {
        Self(self.0 & !(0xff << TRIES_AT))
    }

    fn tries(self) -> u64 {
        self.0 >> TRIES_AT & 0xff
    }

    /// Returns whether it ended as it had to, the first time that it was begun.
    #[must_use]
    pub fn is_pass(self) -> bool {
        self.0 >> KIND_AT == 1 && self.tries() <= 1
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_pass() {
            return f.write_str("passed");
        }
        f.write_str("failed: ")?;
        let (vm, code) = (self.0 >> VM_AT & 0xff, self.0 & ((1 << CODE_BITS) - 1));
        match self.0 >> KIND_AT {
            0 => f.write_str("not run"),
            1 => f.write_str("it passed"),
            EXITED => write!(f, "vm {vm} ended with exit code {code}"),
            STOPPED => write!(f, "vm {vm} was stopped"),
            4 => f.write_str("the hypervisor panicked"),
            5 => f.write_str("it was refused"),
            6 => f.write_str("it did not end in time"),
            _ => f.write_str("it never ended"),
        }?;
        // Each earlier try ended by a reset.
        if self.tries() > 1 { write!(f, ", at try {}", self.tries()) } else { Ok(()) }
    }
}

/// What is known of a series between two resets.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Progress {
    /// The build id of its first system.
    id: u64,
    /// Systems.
    count: u32,
    /// Whose turn it is, or `count`.
    turn: u16,
    /// How often that one was begun.
    tries: u16,
    /// What became of each.
    pub verdicts: [Verdict; SERIES_MAX],
}

impl Progress {
    /// Returns what to go on from: `found`, if that is the progress of this series, or its beginning. The one whose turn it is counts as
    /// begun; one that was begun too often is given up.
    #[must_use]
    pub fn go_on(found: Option<Self>, id: u64, count: u32) -> Self {
        let is_own = |found: &Self| found.id == id && found.count == count && u32::from(found.turn) <= count;
        let mut progress = found.filter(|found| is_own(found) && !found.is_told()).unwrap_or_else(|| Self {
            id,
            count,
            ..Self::new_zeroed()
        });
        if progress.tries >= TRIES_MAX {
            progress.end(Verdict::GIVEN_UP);
        }
        progress.tries += u16::from(!progress.is_over());
        progress
    }

    /// Returns whose turn it is; the number of systems when it is nobody's any more.
    #[must_use]
    pub fn turn(&self) -> usize {
        self.turn.into()
    }

    /// Returns whether every system had its turn.
    #[must_use]
    pub fn is_over(&self) -> bool {
        u32::from(self.turn) >= self.count
    }

    /// Returns whether all is over and said: the last, which the report goes on to, ended with the machine in order.
    fn is_told(&self) -> bool {
        let last = usize::from(self.turn).checked_sub(1).and_then(|last| self.verdicts.get(last));
        self.is_over()
            && last.is_some_and(|last| {
                ![Verdict::PANICKED, Verdict::REFUSED, Verdict::GIVEN_UP].contains(&last.after_none())
            })
    }

    /// Notes what became of the one whose turn it is. It is the next one's.
    fn end(&mut self, verdict: Verdict) {
        if let Some(place) = self.verdicts.get_mut(usize::from(self.turn)) {
            *place = verdict.after(self.tries);
        }
        self.turn = self.turn.saturating_add(1);
        self.tries = 0;
    }
}

/// A system of a series that runs.
struct Running {
    record: Record,
    progress: Progress,
    /// What was the first to be otherwise than expected.
    misfit: Option<Verdict>,
    has_ended: bool,
}

/// The one that runs, if it is of a series. Reached so because a panic and a refusal are handed nothing that is whole.
static RUNNING: Lock<Option<Running>, CONSOLE> = Lock::new(None);

/// Begins what comes next of the series `id` of `count` systems, and returns the progress: what `record` keeps of it, or from the start.
pub fn begin(mut record: Record, id: u64, count: u32) -> Progress {
    let progress = Progress::go_on(record.read(), id, count);
    record.write(&progress);
    *RUNNING.lock_leaf() = Some(Running { record, progress: progress.clone(), misfit: None, has_ended: false });
    progress
}

/// Notes how VM `vm` ended, by an exit with a code or without, if that is not what `expected` says.
#[cold]
#[inline(never)]
pub fn note(vm: u8, exit: Option<u64>, expected: Option<&Expect>) {
    let Some(expected) = expected else { return };
    let is_met = exit == (expected.outcome == EXPECT_EXIT).then_some(expected.code);
    if let Some(running) = RUNNING.lock_leaf().as_mut().filter(|_| !is_met) {
        running.misfit.get_or_insert(Verdict::of_vm(vm, exit));
    }
}

/// Ends what runs with `verdict`, or with the misfit that was noted if that is a pass. Returns what it ended with; `None` when none of a series
/// runs, or it has ended.
#[cold]
#[inline(never)]
pub fn end(verdict: Verdict) -> Option<Verdict> {
    // A core that was stopped by a panic may hold the lock: then the reset alone tells.
    let mut running = RUNNING.try_lock()?;
    // In place: a panic has little stack.
    let Running { record, progress, misfit, has_ended } = running.as_mut().filter(|running| !running.has_ended)?;
    *has_ended = true;
    let verdict = misfit.filter(|_| verdict == Verdict::PASSED).unwrap_or(verdict);
    progress.end(verdict);
    record.write(progress);
    Some(verdict)
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
