//! Runs: the stretches in which a vCPU has a core, put together from crossings, and why each ended.

use strato_abi::trace::{Crossing, Decision, NOBODY, Record};

use super::Core;

/// A stretch in which a vCPU has a core. What it calls in between, and what goes on at once, does not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'t> {
    /// Place of the VM.
    pub vm: u8,
    /// Its vCPU.
    pub vcpu: u8,
    /// When it began, in ticks.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// The crossing by which it ended; none when it had the core to the last.
    pub last: Option<&'t Record>,
}

/// Why a vCPU lost its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It waits for an event or a time.
    Waits,
    /// It gave way.
    Yields,
    /// It runs by another share, perhaps on another core.
    Moves,
    /// Its slice was over, or somebody of a higher priority is ready.
    Displaced,
    /// It turned itself off, or its VM ended itself.
    Ends,
    /// Its VM was stopped, or reported a crash.
    Stopped,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Waits, Self::Yields, Self::Moves, Self::Displaced, Self::Ends, Self::Stopped];

    /// Returns the reason in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Yields => "yields",
            Self::Moves => "moves",
            Self::Displaced => "displaced",
            Self::Ends => "ends",
            Self::Stopped => "stopped",
        }
    }
}

/// Returns why the vCPU of `record` lost its core.
#[must_use]
pub fn why(record: &Record) -> Why {
    match Decision::from_u8(record.decision) {
        Some(Decision::Wait | Decision::Halt) => Why::Waits,
        Some(Decision::Yield) => Why::Yields,
        Some(Decision::Schedule) => Why::Moves,
        Some(Decision::Off | Decision::Exit) => Why::Ends,
        Some(Decision::Crash | Decision::Stop) => Why::Stopped,
        _ => Why::Displaced,
    }
}

/// Returns the runs on a core, in order.
#[must_use]
pub fn runs(core: &Core) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut current: Option<(u8, u8, u64)> = None;
    for record in &core.records {
        let end = record.start + u64::from(record.took);
        if record.from_vm != NOBODY && record.crossing != Crossing::Wake as u8 {
            // The beginning of the first run is lost with the record that began it.
            let (vm, vcpu, start) = current.unwrap_or((record.from_vm, record.from_vcpu, record.start));
            if (record.to_vm, record.to_vcpu) == (vm, vcpu) {
                current = Some((vm, vcpu, start));
                continue;
            }
            runs.push(Run { vm, vcpu, start, end: record.start, last: Some(record) });
        }
        current = (record.to_vm != NOBODY).then_some((record.to_vm, record.to_vcpu, end));
    }
    if let (Some((vm, vcpu, start)), Some(last)) = (current, core.records.last()) {
        runs.push(Run { vm, vcpu, start, end: last.start + u64::from(last.took), last: None });
    }
    runs
}
