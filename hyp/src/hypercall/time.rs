//! TIME: timers that raise ports, clocks, and the virtual timer that a vCPU has to itself.

use strato_abi::PortHandle;
use strato_abi::call::{
    TimeClock, TimeClockReply, TimeLocal, TimeLocalReply, TimeTimerCancel, TimeTimerCancelReply, TimeTimerSet,
    TimeTimerSetReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::time::{ClockKind, TIMER_PERIOD_MIN_NS};

use super::{CallError, Handle, Outcome, decode};
use crate::arch::timer;
use crate::lock::{CONSOLE, Lock};
use crate::machine::Cx;
use crate::timer::{Due, Schedule, nanoseconds, ticks_of};
use crate::vcpu::Extras;
use crate::vcpu::timers::Timers;

impl Handle for TimeTimerSet {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<TimeTimerSetReply>, CallError> {
        decode::port(cx, self.port, 1)?;
        let least = ticks_of(TIMER_PERIOD_MIN_NS, timer::frequency());
        if self.period != 0 && self.period < least {
            return Err(CallError::of(Code::Invalid, 3, Reason::TooSmall, least));
        }
        let schedule = Schedule { deadline: cx.vm.moment_of(self.deadline), period: self.period, slack: self.slack };
        let PortHandle(port) = self.port;
        let set = |timers: &Lock<Timers, CONSOLE>| timers.lock_leaf().set(port, cx.cpu.number(), schedule);
        let slot = cx.vm.timers().map_or(Err(0), set);
        let slot = slot.map_err(|most| CallError::of(Code::Full, 0, Reason::TableFull, most.into()))?;
        cx.cpu.set_due(Due::Timer { vm: cx.me.vm(), slot }, schedule.moment());
        Ok(Outcome::Reply(TimeTimerSetReply {}))
    }
}

impl Handle for TimeTimerCancel {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<TimeTimerCancelReply>, CallError> {
        decode::port(cx, self.port, 1)?;
        let PortHandle(port) = self.port;
        let was_set = cx.vm.timers().is_some_and(|timers| timers.lock_leaf().cancel(port));
        Ok(Outcome::Reply(TimeTimerCancelReply { was_set }))
    }
}

impl Handle for TimeClock {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<TimeClockReply>, CallError> {
        let now = timer::now();
        let counter = cx.vm.ticks_at(now);
        let hz = timer::frequency();
        let ns = match self.kind {
            ClockKind::Monotonic => nanoseconds(counter, hz),
            ClockKind::Run => nanoseconds(cx.vm.time_run(cx.me.vcpu(), now), hz),
            ClockKind::Wall => {
                let wall = cx.machine.wall.ok_or(CallError::of(Code::State, 1, Reason::None, 0))?;
                wall.at(now, hz)
            }
        };
        Ok(Outcome::Reply(TimeClockReply { ns, counter, epoch: 0 }))
    }
}

impl Handle for TimeLocal {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<TimeLocalReply>, CallError> {
        let PortHandle(port) = self.port;
        let is_used = port.bits() != 0;
        if is_used {
            decode::port(cx, self.port, 1)?;
        }
        cx.vcpu.public.set_local(port);
        cx.context.extras.set(Extras::LOCAL, is_used);
        Ok(Outcome::Reply(TimeLocalReply {}))
    }
}
