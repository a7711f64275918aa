//! Group VCPU: yield, wait, start, stop. One function per call, and [`launch`], which starts a vCPU in a Rust function.

use ::core::fmt;

use strato_abi::call::{
    VcpuKick, VcpuSchedSet, VcpuSignalWait, VcpuStart, VcpuState, VcpuStop, VcpuWait, VcpuWatchdog, VcpuYield,
};
use strato_abi::vcpu::{RunState, YieldHint};
use strato_abi::{Ipa, PortHandle, SchedHandle};

pub use crate::arch::Stack;
use crate::conduit::wrappers;
use crate::error::Error;

pub use strato_abi::vcpu::NO_DEADLINE;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The selector as taken: one bit per word of pending events; 0 when the deadline passed.
    pub selector: u64,
    /// CNTVCT_EL0 when the wait ended.
    pub now: u64,
}

wrappers! {
    /// Gives the core to another vCPU; `target` as `hint` says, else zero (VCPU.YIELD).
    ///
    /// # Errors
    /// `INVALID` unknown target; handle errors of a port.
    fn yield_to(hint: YieldHint, target: u64) -> () = VcpuYield { hint, target }, |_| ();
    /// Waits for an event on this vCPU or until CNTVCT_EL0 reaches `deadline_ticks` ([`NO_DEADLINE`]: never) (VCPU.WAIT).
    ///
    /// # Errors
    /// None of its own.
    fn wait(deadline_ticks: u64) -> Waited = VcpuWait { deadline: deadline_ticks },
        |reply| Waited { selector: reply.selector, now: reply.now };
    /// Raises `port`, then waits as [`wait`], in one trap (VCPU.SIGNAL_WAIT).
    ///
    /// # Errors
    /// Those of [`event::send`](crate::event::send); then nothing is waited for.
    fn signal_wait(port: PortHandle, deadline_ticks: u64) -> Waited = VcpuSignalWait { port, deadline: deadline_ticks },
        |reply| Waited { selector: reply.selector, now: reply.now };
    /// Starts vCPU `vcpu` of this VM at `entry` with `arg` in x0 (VCPU.START). [`launch`] is the convenient form.
    ///
    /// # Errors
    /// `INVALID` no such vCPU; `BAD_ADDR`, `MISALIGNED` entry; `STATE` it is not off.
    fn start(vcpu: u64, entry: Ipa, arg: u64) -> () = VcpuStart { vcpu, entry, arg }, |_| ();
    /// Turns the calling vCPU off; the VM ends with exit code 0 when it was the last (VCPU.STOP). Does not return on success.
    ///
    /// # Errors
    /// None of its own.
    fn stop() -> () = VcpuStop {}, |_| ();
    /// Returns what a vCPU of this VM is doing, or `None` for a state of a later version (VCPU.STATE).
    ///
    /// # Errors
    /// `INVALID` no such vCPU.
    fn state(vcpu: u64) -> Option<RunState> = VcpuState { vcpu }, |reply| RunState::from_u64(reply.state);
    /// Wakes the vCPUs of this VM whose bits are set, whatever they mask; their selectors show `SELECTOR_KICK` (VCPU.KICK).
    ///
    /// # Errors
    /// `INVALID` no bit, or one without a vCPU.
    fn kick(vcpus: u64) -> () = VcpuKick { vcpus }, |_| ();
    /// Makes this vCPU run by `sched`, on its core, at `priority`, for `budget_ticks` of CNTVCT_EL0 in each `period_ticks`; 0 means what
    /// the handle has (VCPU.SCHED_SET). With [`SchedHandle::NONE`] it runs in the time that is left, where it is.
    ///
    /// # Errors
    /// `INVALID` no priority, or a budget without a handle; `DENIED` more than the handle allows; handle errors.
    fn sched_set(sched: SchedHandle, priority: u8, budget_ticks: u64, period_ticks: u64) -> () =
        VcpuSchedSet { sched, priority: priority.into(), budget: budget_ticks, period: period_ticks }, |_| ();
    /// Has the VM stopped with a report unless this vCPU calls again within `timeout_ticks` of CNTVCT_EL0; 0 ends that
    /// (VCPU.WATCHDOG).
    ///
    /// # Errors
    /// None of its own.
    fn watchdog(timeout_ticks: u64) -> () = VcpuWatchdog { timeout: timeout_ticks }, |_| ();
}

/// Gives the core to any vCPU of the same or a higher priority.
#[inline(always)]
pub fn yield_now() {
    // Refused only when the manifest forbids yielding, and then going on is what is left.
    let _ = yield_to(YieldHint::Any, 0);
}

/// Returns the number of the calling vCPU.
#[must_use]
pub fn current() -> usize {
    crate::arch::vcpu_number()
}

/// Returns the addresses into which the stack of the calling vCPU may grow: the first vCPU's
/// [`Needs::stack_room`](crate::Needs::stack_room), which is not mapped until a fault handler maps it.
#[must_use]
pub fn stack_room() -> ::core::ops::Range<u64> {
    crate::arch::stack_room()
}

/// Parks the calling vCPU until an event is raised: WFI, the same as a wait without deadline.
pub fn wfi() {
    crate::arch::wait_for_interrupt();
}

/// Tells the core that this is a busy wait.
pub fn relax() {
    crate::arch::relax();
}

/// Why a vCPU was not launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchError {
    /// The stack serves a vCPU already.
    StackInUse,
    /// The stack has no guest-physical address: the program runs on a PC.
    NoGuest,
    /// A call was refused.
    Refused(Error),
}

impl From<Error> for LaunchError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StackInUse => f.write_str("the stack serves a vCPU already"),
            Self::NoGuest => f.write_str("the program is not running as a guest"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl ::core::error::Error for LaunchError {}

/// Starts vCPU `vcpu` in `function(arg)` on `stack`, below which two pages are unmapped as guards.
///
/// The vCPU turns itself off when the function returns. A stack serves one vCPU for good.
///
/// # Errors
/// The stack is in use, or what AS.UNMAP and VCPU.START refuse. After a refusal the stack stays taken.
pub fn launch(vcpu: usize, stack: &'static Stack, function: fn(usize), arg: usize) -> Result<(), LaunchError> {
    let launch = stack.take(function, arg).ok_or(LaunchError::StackInUse)?;
    let address = |bytes| Ipa::new(bytes).ok_or(LaunchError::NoGuest);
    for guard in launch.guards {
        crate::memory::unmap(address(guard)?, 1)?;
    }
    Ok(start(vcpu as u64, address(launch.entry)?, launch.argument)?)
}
