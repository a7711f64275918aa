//! VCPU.SCHED_SET: by which share of which core's time a vCPU runs. Checks what is asked against the handle; the dispatcher does it.

use strato_abi::SchedHandle;
use strato_abi::call::{VcpuSchedSet, VcpuSchedSetReply};
use strato_abi::error::{Code, Reason};
use strato_abi::limit::LimitKey;

use super::{CallError, Handle, Outcome};
use crate::machine::{Cx, Next};
use crate::scheduler::RESERVED;

impl Handle for VcpuSchedSet {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuSchedSetReply>, CallError> {
        let highest = LimitKey::Priorities.value() - 1;
        if self.priority > highest {
            return Err(CallError::of(Code::Invalid, 2, Reason::TooLarge, highest));
        }
        let words = if self.sched == SchedHandle::NONE { unreserved(&self, cx)? } else { reserved(&self, cx)? };
        cx.cpu.keep(words);
        Ok(Outcome::Leave(Next::Schedule))
    }
}

/// Words of [`Next::Schedule`]; see there.
type Words = [u64; 4];

/// Returns what lets the vCPU run in what is left.
fn unreserved(call: &VcpuSchedSet, cx: &Cx<'_>) -> Result<Words, CallError> {
    let most = u64::from(cx.vm.priority);
    if call.priority > most {
        return Err(CallError::of(Code::Denied, 2, Reason::TooLarge, most));
    }
    for (argument, value) in [(3, call.budget), (4, call.period)] {
        if value != 0 {
            return Err(CallError::of(Code::Invalid, argument, Reason::TooLarge, 0));
        }
    }
    Ok([u64::from(cx.cpu.number()), call.priority, 0, 0])
}

/// Returns what lets it run by a handle.
fn reserved(call: &VcpuSchedSet, cx: &mut Cx<'_>) -> Result<Words, CallError> {
    let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
    let sched = inner.handles.sched(call.sched.0).map_err(|error| CallError::Handle(1, error))?;
    if call.priority > u64::from(sched.priority) {
        return Err(CallError::of(Code::Denied, 2, Reason::TooLarge, sched.priority.into()));
    }
    if call.budget > sched.budget {
        return Err(CallError::of(Code::Denied, 3, Reason::TooLarge, sched.budget));
    }
    // Less often is less: what the admission test counted on holds for it too.
    if call.period != 0 && call.period < sched.period {
        return Err(CallError::of(Code::Denied, 4, Reason::TooSmall, sched.period));
    }
    let or = |asked, own| if asked == 0 { own } else { asked };
    let to = u64::from(sched.core) | u64::from(sched.place.wrapping_add(1)) << 8;
    let level = call.priority.saturating_add(RESERVED.into());
    Ok([to, level, or(call.budget, sched.budget), or(call.period, sched.period)])
}
