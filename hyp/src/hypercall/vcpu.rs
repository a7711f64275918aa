//! VCPU: yielding, waiting, starting and stopping. Answers with what follows; the dispatcher does it.

use strato_abi::call::{
    VcpuSignalWait, VcpuSignalWaitReply, VcpuStart, VcpuStartReply, VcpuState, VcpuStateReply, VcpuStop, VcpuStopReply,
    VcpuWait, VcpuWaitReply, VcpuYield, VcpuYieldReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::vcpu::{RunState, YieldHint};

use super::{CallError, Handle, Outcome, decode, event};
use crate::arch::timer;
use crate::machine::{Cx, Next, Wakes};
use crate::vm::StartError;

impl Handle for VcpuYield {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuYieldReply>, CallError> {
        // A hint is checked and then treated alike: the scheduler decides.
        match self.hint {
            YieldHint::Any | YieldHint::LockHolder => {}
            YieldHint::Vcpu => {
                decode::vcpu(cx.vm, self.target, 2)?;
            }
            YieldHint::Port => {
                let bits = u32::try_from(self.target);
                let bits = bits.map_err(|_| CallError::of(Code::Invalid, 2, Reason::TooLarge, u64::from(u32::MAX)))?;
                decode::port(cx, strato_abi::PortHandle(strato_abi::Handle::from_bits(bits)), 2)?;
            }
        }
        // Nobody to give way to: the call is answered on the spot.
        let is_alone = cx.cpu.turn.is_some_and(|turn| {
            cx.cpu.queue.rivals(turn.priority) == 1 && !cx.cpu.queue.is_shared(turn.vcpu)
        }) && !cx.machine.mail_of(cx.cpu).is_full();
        Ok(if is_alone { Outcome::Reply(VcpuYieldReply {}) } else { Outcome::Leave(Next::Yield) })
    }
}

/// Returns the selector at once when there is news or the deadline has passed, else what makes the vCPU wait.
fn wait<R>(cx: &mut Cx<'_>, deadline: u64, reply: impl Fn(u64, u64) -> R) -> Outcome<R> {
    let selector = cx.vm.area.take(cx.me.vcpu(), &cx.vcpu.public.sink);
    let now = timer::now();
    if selector != 0 || deadline <= now {
        cx.vm.lower_line(cx.vcpu);
        return Outcome::Reply(reply(selector, now));
    }
    Outcome::Leave(Next::Wait(deadline))
}

impl Handle for VcpuWait {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuWaitReply>, CallError> {
        Ok(wait(cx, self.deadline, |selector, now| VcpuWaitReply { selector, now }))
    }
}

impl Handle for VcpuSignalWait {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuSignalWaitReply>, CallError> {
        event::send(cx, self.port)?;
        Ok(wait(cx, self.deadline, |selector, now| VcpuSignalWaitReply { selector, now }))
    }
}

impl Handle for VcpuStart {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuStartReply>, CallError> {
        let number = cx.vm.start(self.vcpu, self.entry, self.arg).map_err(|error| match error {
            StartError::NoVcpu => CallError::of(Code::Invalid, 1, Reason::NoVcpu, u64::from(cx.vm.vcpu_count())),
            StartError::Misaligned => CallError::of(Code::Misaligned, 2, Reason::Misaligned, 4),
            StartError::BadAddress => CallError::of(Code::BadAddress, 2, Reason::Reserved, 0),
            StartError::NotOff(state) => CallError::of(Code::State, 1, Reason::None, state as u64),
        })?;
        cx.wakes = Wakes { place: cx.me.vm(), vcpus: 1 << number };
        Ok(Outcome::Reply(VcpuStartReply {}))
    }
}

impl Handle for VcpuStop {
    fn handle(self, _: &mut Cx<'_>) -> Result<Outcome<VcpuStopReply>, CallError> {
        Ok(Outcome::Leave(Next::Off))
    }
}

impl Handle for VcpuState {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuStateReply>, CallError> {
        let (_, target) = decode::vcpu(cx.vm, self.vcpu, 1)?;
        // A start that succeeded counts, also while the home core has not got to it.
        let state = if target.public.is_starting() { RunState::Runnable } else { target.public.state() };
        Ok(Outcome::Reply(VcpuStateReply { state: state as u64 }))
    }
}
