//! Timers: one that the hypervisor keeps and that raises a port, and the virtual timer that a vCPU has to itself.
//! A drop ends either.

use ::core::sync::atomic::{AtomicU32, Ordering};
use ::core::time::Duration;

use strato_abi::PortHandle;

use crate::Hvc;
use crate::arch::Hook;
use crate::conduit::Conduit;
use crate::error::Result;
use crate::time::{self, Instant, ticks_in};
use crate::{event, vcpu};

/// A timer with a port of its own.
#[derive(Debug)]
pub struct Timer<C: Conduit = Hvc> {
    port: PortHandle,
    slack: u64,
    conduit: C,
}

impl Timer {
    /// Returns a timer that is not set.
    ///
    /// # Errors
    /// `FULL` no port is free.
    pub fn new() -> Result<Self> {
        Self::over(Hvc)
    }

    /// Waits until it is due, and takes the event.
    ///
    /// # Errors
    /// None but a forbidden VCPU.WAIT.
    pub fn wait(&self) -> Result<()> {
        event::wait(self.port)
    }
}

impl<C: Conduit> Timer<C> {
    /// Returns a timer that is not set, whose calls go over `conduit`.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub fn over(conduit: C) -> Result<Self> {
        let port = event::via::own_port(&conduit)?;
        Ok(Self { port, slack: 0, conduit })
    }

    /// Returns the timer with leave to be late by up to `slack`, so that the hypervisor can let several be due at once.
    #[must_use]
    pub fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = ticks_in(slack, time::counter_hz());
        self
    }

    /// Returns the port that it raises: for [`event::wait_any`], an upcall, or [`event::bind_vcpu`].
    #[must_use]
    pub const fn port(&self) -> PortHandle {
        self.port
    }

    /// Lets it be due at `deadline`, in place of what was set.
    ///
    /// # Errors
    /// `FULL` the VM has set as many as it may.
    pub fn once(&self, deadline: Instant) -> Result<()> {
        time::via::timer_set(&self.conduit, self.port, deadline.ticks(), 0, self.slack)
    }

    /// Lets it be due at `first` and after every `period` from then on. Events that are not taken in time are one; none shifts
    /// those after it.
    ///
    /// # Errors
    /// `INVALID` the period is too short; `FULL` the VM has set as many as it may.
    pub fn periodic(&self, first: Instant, period: Duration) -> Result<()> {
        let period = ticks_in(period, time::counter_hz()).max(1); // 0 would be a single one
        time::via::timer_set(&self.conduit, self.port, first.ticks(), period, self.slack)
    }

    /// Ends what was set and returns whether it was still to be due. An event that came before stays.
    ///
    /// # Errors
    /// None but a forbidden TIME.TIMER_CANCEL.
    pub fn cancel(&self) -> Result<bool> {
        time::via::timer_cancel(&self.conduit, self.port)
    }
}

impl<C: Conduit> Drop for Timer<C> {
    fn drop(&mut self) {
        // The port takes the timer along.
        let _ = event::via::close(&self.conduit, self.port);
    }
}

/// Bits of the port of each vCPU's [`LocalTimer`]; 0 is none.
static PORTS: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];
static HANDLER: Hook<fn()> = Hook::new();

/// The virtual timer of one vCPU: set without a call. It belongs to the vCPU that made it.
#[derive(Debug)]
pub struct LocalTimer {
    port: PortHandle,
    vcpu: usize,
}

impl LocalTimer {
    /// Returns the timer of the calling vCPU, which is not set.
    ///
    /// # Errors
    /// `FULL` no port is free; `NOT_SUPPORTED` on a PC.
    pub fn new() -> Result<Self> {
        let (port, vcpu) = (event::own_port()?, vcpu::current());
        let local = Self { port, vcpu };
        event::bind_vcpu(port, vcpu as u64)?;
        crate::arch::set_local_timer(false, 0);
        time::local(Some(port))?;
        if let Some(place) = PORTS.get(vcpu) {
            place.store(port.0.bits(), Ordering::Release);
        }
        Ok(local)
    }

    /// Sets what is called when it expires on a vCPU that takes upcalls ([`crate::upcall::enable`]), on the exception stack; one
    /// function serves the timers of all vCPUs. The port's event is taken then, and is not handed to the handler of upcalls.
    pub fn set_handler(handler: fn()) {
        HANDLER.set(handler);
    }

    /// Returns the port that it raises.
    #[must_use]
    pub const fn port(&self) -> PortHandle {
        self.port
    }

    /// Lets it expire at `deadline`, in place of what was set: two instructions, no call.
    #[inline]
    pub fn arm(&self, deadline: Instant) {
        arm(deadline);
    }

    /// Turns it off. An event that came before stays.
    pub fn disarm(&self) {
        crate::arch::set_local_timer(false, 0);
    }

    /// Waits until it expires, and takes the event.
    ///
    /// # Errors
    /// None but a forbidden VCPU.WAIT.
    pub fn wait(&self) -> Result<()> {
        event::wait(self.port)
    }
}

impl Drop for LocalTimer {
    fn drop(&mut self) {
        if let Some(place) = PORTS.get(self.vcpu) {
            place.store(0, Ordering::Release);
        }
        if self.vcpu == vcpu::current() {
            self.disarm();
            let _ = time::local(None);
        }
        // On another vCPU the closed port ends it: nothing is raised any more.
        let _ = event::close(self.port);
    }
}

/// Lets the calling vCPU's [`LocalTimer`] expire at `deadline`: for its handler, which has no access to the value.
#[inline]
pub fn arm(deadline: Instant) {
    crate::arch::set_local_timer(true, deadline.ticks());
}

/// Returns the handler of the calling vCPU's local timer, and the index of its port.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only an interrupt calls it"))]
pub(crate) fn local_handler() -> Option<(u16, fn())> {
    let port = PORTS.get(vcpu::current())?.load(Ordering::Acquire);
    let handler = HANDLER.get()?;
    (port != 0).then_some((strato_abi::Handle::from_bits(port).index(), handler))
}

#[cfg(test)]
mod tests {
    use strato_abi::call::{EvtCloseReply, EvtOfferReply, TimeTimerCancelReply, TimeTimerSetReply};
    use strato_abi::{Call, Handle};

    use super::*;
    use crate::Recorder;

    #[test]
    fn a_timer_makes_its_port_and_a_drop_closes_it() {
        let port = PortHandle(Handle::new(4, 1));
        let recorder = Recorder::new()
            .answer(EvtOfferReply { port, key: 0 })
            .answer(TimeTimerSetReply {})
            .answer(TimeTimerCancelReply { was_set: true })
            .answer(EvtCloseReply {});
        let timer = Timer::over(&recorder).unwrap();
        assert_eq!(timer.port(), port);
        timer.once(Instant::from_ticks(77)).unwrap();
        assert!(timer.cancel().unwrap());
        drop(timer);
        let calls = recorder.calls();
        let [offer, set, cancel, close] = calls.as_slice() else { panic!("four calls: {calls:?}") };
        assert_eq!((offer.0, offer.1[0]), (Call::EvtOffer.function_id(), 0));
        assert_eq!((set.0, &set.1[..4]), (Call::TimeTimerSet.function_id(), &[0x1_0004, 77, 0, 0][..]));
        assert_eq!((cancel.0, close.0), (Call::TimeTimerCancel.function_id(), Call::EvtClose.function_id()));
    }

    #[test]
    fn a_local_timer_that_is_refused_leaves_nothing_behind() {
        assert!(LocalTimer::new().is_err(), "no hypervisor");
        assert!(local_handler().is_none());
    }
}
