//! Group 6, TIME: values that its calls carry.

use crate::error::Reason;
use crate::regs::Argument;

/// Which clock TIME.CLOCK reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ClockKind {
    /// CNTVCT_EL0 in nanoseconds, which begins with the VM: never stands still and never goes back.
    Monotonic = 0,
    /// The wall clock, where the machine has one.
    Wall = 1,
    /// The time that the calling vCPU has run.
    Run = 2,
}

crate::regs::argument_enum!(ClockKind { 0 => Monotonic, 1 => Wall, 2 => Run });

/// Timers that a VM can have set at once, unless its manifest says less; what CORE.LIMIT answers for `TimersPerVm`.
pub const TIMERS_PER_VM: u64 = 32;

/// The shortest period of a timer in nanoseconds; what CORE.LIMIT answers for `TimerPeriodNanoseconds`. Shorter ones would
/// take their time from the other VMs of the core.
pub const TIMER_PERIOD_MIN_NS: u64 = 100_000;
