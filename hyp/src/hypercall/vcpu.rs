//! VCPU: yielding, waiting, starting and stopping. Answers with what follows; the dispatcher does it.

use strato_abi::call::{
    VcpuKick, VcpuKickReply, VcpuSignalWait, VcpuSignalWaitReply, VcpuStart, VcpuStartReply, VcpuState, VcpuStateReply,
    VcpuStop, VcpuStopReply, VcpuWait, VcpuWaitReply, VcpuWatchdog, VcpuWatchdogReply, VcpuYield, VcpuYieldReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::vcpu::{RunState, YieldHint};
use strato_abi::{Handle as AbiHandle, PortHandle};

use super::{CallError, Handle, Handler, Outcome, Short, decode, event, reply};
use crate::arch::timer;
use crate::events::Link;
use crate::machine::{Cx, Next, Wakes};
use crate::scheduler::VcpuRef;
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vcpu::Extras;
use crate::vm::StartError;
use crate::vm::raise::Raised;

/// Gives way to whoever is ready; on the spot when nobody is. One of a higher priority would have the core, and of whom a letter tells an
/// interrupt tells too.
#[inline(always)]
fn give_way(cx: &Cx<'_>) -> Outcome<VcpuYieldReply> {
    if cx.cpu.queue.is_shared(cx.me) { Outcome::Leave(Next::Yield) } else { Outcome::Reply(VcpuYieldReply {}) }
}

impl Handle for VcpuYield {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, VcpuYieldReply> {
        if arguments[0] == YieldHint::Any as u64 { Short::Done(give_way(cx)) } else { Short::Long }
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuYieldReply>, CallError> {
        if matches!(self.hint, YieldHint::Vcpu | YieldHint::Port)
            && let Some(target) = directed(cx, &self)?
        {
            return Ok(Outcome::Leave(Next::YieldTo(target)));
        }
        Ok(give_way(cx))
    }
}

/// Returns the vCPU that a yield is for, if there is another one that is ready here.
#[inline(never)]
fn directed(cx: &mut Cx<'_>, call: &VcpuYield) -> Result<Option<VcpuRef>, CallError> {
    let target = if call.hint == YieldHint::Vcpu {
        let (number, _) = decode::vcpu(cx.vm, call.target, 2)?;
        VcpuRef::new(cx.me.vm(), number)
    } else {
        far_vcpu(cx, call.target)?
    };
    // What is queued here, or waits for its budget, is ready, and at home here.
    let is_ready = |target: &VcpuRef| cx.cpu.queue.contains(*target) || cx.may_lend_to(*target).is_some();
    Ok(target.filter(|target| *target != cx.me && is_ready(target)))
}

/// Returns the vCPU that the other end of the port `target` is bound to, if there is one.
fn far_vcpu(cx: &mut Cx<'_>, target: u64) -> Result<Option<VcpuRef>, CallError> {
    let bits = u32::try_from(target);
    let bits = bits.map_err(|_| CallError::of(Code::Invalid, 2, Reason::TooLarge, u64::from(u32::MAX)))?;
    let (index, word) = decode::port(cx, PortHandle(AbiHandle::from_bits(bits)), 2)?;
    let Link::Connected(end) = cx.vm.ports.masked(index.into()).link(word) else { return Ok(None) };
    let port = cx.machine.vm_of(cx.stay, end.vm, end.incarnation).and_then(|vm| vm.ports.get(usize::from(end.port)));
    Ok(port.and_then(|port| VcpuRef::new(end.vm, port.binding().vcpu())))
}

/// Returns the selector at once when there is news or the deadline has passed, else what makes the vCPU wait.
fn wait<R>(cx: &mut Cx<'_>, deadline: u64, reply: impl Fn(u64, u64) -> R) -> Outcome<R> {
    let selector = cx.vm.area.take(cx.me.vcpu(), &cx.vcpu.public.sink);
    let (now, deadline) = (timer::now(), cx.vm.moment_of(deadline));
    if selector != 0 || deadline <= now {
        cx.vm.lower_line(cx.vcpu);
        return Outcome::Reply(reply(selector, cx.vm.ticks_at(now)));
    }
    Outcome::Leave(Next::Wait(deadline))
}

impl Handle for VcpuWait {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    /// For an event alone, when there is none yet; what comes between is seen when the vCPU blocks.
    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, VcpuWaitReply> {
        let blocks = arguments[0] == NEVER && cx.vcpu.public.sink.is_quiet();
        if blocks { Short::Done(Outcome::Leave(Next::Wait(NEVER))) } else { Short::Long }
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuWaitReply>, CallError> {
        Ok(wait(cx, self.deadline, |selector, now| VcpuWaitReply { selector, now }))
    }
}

impl Handle for VcpuSignalWait {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();
    const RAISES: Option<Next> = Some(Next::Wait(NEVER));

    /// For an event alone, when SEND would be answered at once.
    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, VcpuSignalWaitReply> {
        if arguments[1] != NEVER {
            return Short::Long;
        }
        let next = match event::raise_far(cx, arguments[0]) {
            Some((_, Raised::Quiet)) => Next::Wait(NEVER),
            Some((vm, Raised::Blocked(vcpu))) if cx.takes_over(vcpu) => {
                cx.heir = Some((vm, vcpu));
                Next::PassOn { waits: true }
            }
            Some((vm, Raised::Blocked(vcpu))) => return Short::Tell(Some(vm), vcpu),
            Some((_, Raised::Tell(vcpu))) => return Short::Tell(None, vcpu),
            Some((_, Raised::Again)) | None => return Short::Long,
        };
        Short::Done(Outcome::Leave(next))
    }

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

impl Handle for VcpuKick {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuKickReply>, CallError> {
        let count = cx.vm.vcpu_count();
        let all = (1u64 << count).wrapping_sub(1); // at most 8
        let vcpus = u8::try_from(self.vcpus & all).unwrap_or(0);
        if self.vcpus & !all != 0 {
            return Err(CallError::of(Code::Invalid, 1, Reason::NoVcpu, u64::from(count)));
        }
        if vcpus == 0 {
            return Err(CallError::of(Code::Invalid, 1, Reason::TooSmall, 1));
        }
        let told = (0..count).filter(|number| vcpus & 1 << number != 0 && cx.vm.kick(*number));
        let told = told.fold(0, |told, number| told | 1 << number);
        cx.wakes.set(cx.me.vm(), told);
        Ok(Outcome::Reply(VcpuKickReply {}))
    }
}

impl Handle for VcpuWatchdog {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<VcpuWatchdogReply>, CallError> {
        let end = if self.timeout == 0 { NEVER } else { timer::now().saturating_add(self.timeout) };
        cx.vcpu.public.watchdog.store(end, Ordering::Relaxed);
        cx.context.extras.set(Extras::WATCHED, end != NEVER);
        cx.cpu.set_due(Due::Wait(cx.me.number()), end); // it runs: there is no wake-up in that place
        Ok(Outcome::Reply(VcpuWatchdogReply {}))
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
