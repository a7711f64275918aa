//! Group 1, VCPU: values that its calls carry.

use crate::error::Reason;
use crate::regs::Argument;

/// Whom a yield is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum YieldHint {
    /// Anybody of the same or a higher priority.
    Any = 0,
    /// A vCPU of this VM: the target is its number.
    Vcpu = 1,
    /// The peer's vCPU that a port of this VM leads to: the target is the port.
    Port = 2,
    /// Whoever holds the lock that this vCPU waits for, if known: no target.
    LockHolder = 3,
}

crate::regs::argument_enum!(YieldHint { 0 => Any, 1 => Vcpu, 2 => Port, 3 => LockHolder });

/// What a vCPU is doing, as VCPU.STATE and the vCPU area report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum RunState {
    /// Never started, or turned off.
    Off = 0,
    /// Ready to run and waiting for its core.
    Runnable = 1,
    /// On its core.
    Running = 2,
    /// In WAIT.
    Blocked = 3,
    /// Stopped with its VM.
    Stopped = 4,
}

impl RunState {
    /// Returns the state of the number, or `None` when it is not defined here.
    #[must_use]
    pub const fn from_u64(value: u64) -> Option<Self> {
        Some(match value {
            0 => Self::Off,
            1 => Self::Runnable,
            2 => Self::Running,
            3 => Self::Blocked,
            4 => Self::Stopped,
            _ => return None,
        })
    }
}

/// Scheduling handles of one core, of all VMs together.
pub const SCHED_PER_CORE: usize = 32;

/// Microseconds of its budget that it costs a vCPU to become ready: the two switches that follow from it.
pub const SCHED_WAKE_US: u32 = 2;

/// The deadline of WAIT that never comes.
pub const NO_DEADLINE: u64 = u64::MAX;
