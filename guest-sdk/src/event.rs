//! Group EVT: event channels. One function per call, and the waits and masks that combine them with the event area.

use strato_abi::call::{
    EvtAck, EvtBindIrq, EvtBindObject, EvtBindVcpu, EvtClose, EvtConnect, EvtIrqDone, EvtMode, EvtOffer, EvtSend,
    EvtUnmask,
};
use strato_abi::event::{DeliveryMode, IrqFlags};
use strato_abi::share::Steps;
use strato_abi::{Handle, IrqHandle, PeerHandle, PortHandle};

use crate::conduit::{Conduit, wrappers};
use crate::error::Result;
use crate::event_area::EventCells;
use crate::vcpu::{self, NO_DEADLINE};

/// A port that a peer can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The port at this end.
    pub port: PortHandle,
    /// What the peer connects by.
    pub key: u64,
}

wrappers! {
    /// Raises the other end of `port` and wakes the vCPU bound to it (EVT.SEND).
    ///
    /// # Errors
    /// `PEER_GONE` the other end is closed; `STATE` the port is not connected; handle errors.
    fn send(port: PortHandle) -> () = EvtSend { port }, |_| ();
    /// Lowers the calling vCPU's line and returns its selector, which is zero from then on (EVT.ACK).
    ///
    /// # Errors
    /// None of its own.
    fn ack() -> u64 = EvtAck {}, |reply| reply.selector;
    /// Looks at `port` again after its mask bit was cleared and returns whether it was pending (EVT.UNMASK).
    ///
    /// # Errors
    /// Handle errors.
    fn recheck(port: PortHandle) -> bool = EvtUnmask { port }, |reply| reply.pending;
    /// Binds `port` to a vCPU of this VM; a pending bit moves with it (EVT.BIND_VCPU).
    ///
    /// # Errors
    /// `INVALID` no such vCPU; handle errors.
    fn bind_vcpu(port: PortHandle, vcpu: u64) -> () = EvtBindVcpu { port, vcpu }, |_| ();
    /// Returns a new port that `peer` can connect to, and the key for that (EVT.OFFER).
    ///
    /// # Errors
    /// `FULL`, `PEER_GONE`, handle errors.
    fn offer(peer: PeerHandle) -> Offer = EvtOffer { peer }, |reply| Offer { port: reply.port, key: reply.key };
    /// Returns a new port without a peer: raised by timers, objects and [`send`] to itself (EVT.OFFER without a peer).
    ///
    /// # Errors
    /// `FULL`.
    fn own_port() -> PortHandle = EvtOffer { peer: PeerHandle(Handle::from_bits(0)) }, |reply| reply.port;
    /// Returns a new port, connected to what `peer` offers under `key` (EVT.CONNECT).
    ///
    /// # Errors
    /// `INVALID` no such offer to this VM; `FULL`, `PEER_GONE`, handle errors.
    fn connect(peer: PeerHandle, key: u64) -> PortHandle = EvtConnect { peer, key }, |reply| reply.port;
    /// Lets the device interrupt `irq` raise `port`, or nothing any more (EVT.BIND_IRQ).
    ///
    /// # Errors
    /// Handle errors.
    fn bind_irq(irq: IrqHandle, port: PortHandle, flags: IrqFlags) -> () = EvtBindIrq { irq, port, flags }, |_| ();
    /// Lets the device interrupt `irq` come again (EVT.IRQ_DONE).
    ///
    /// # Errors
    /// `STATE` it has not come, or is masked because its line does not fall; handle errors.
    fn irq_done(irq: IrqHandle) -> () = EvtIrqDone { irq }, |_| ();
    /// Raises `port` whenever one of `steps` is taken with `object`: a peer, a share or borrowed memory (EVT.BIND_OBJECT).
    ///
    /// # Errors
    /// `WRONG_KIND`, `INVALID` steps that the object does not know; handle errors.
    fn bind_object(object: Handle, port: PortHandle, steps: Steps) -> () = EvtBindObject { object, port, steps }, |_| ();
    /// Closes `port`; its other end is refused with `PEER_GONE` from then on (EVT.CLOSE).
    ///
    /// # Errors
    /// Handle errors.
    fn close(port: PortHandle) -> () = EvtClose { port }, |_| ();
    /// Sets how vCPU `vcpu` of this VM learns of events (EVT.MODE).
    ///
    /// # Errors
    /// `INVALID` no such vCPU; `STATE` it is neither the caller nor off.
    fn mode(vcpu: u64, mode: DeliveryMode) -> () = EvtMode { vcpu, mode }, |_| ();
}

/// Waits until `port`, which is bound to this vCPU, was raised, and takes the event.
///
/// # Errors
/// None but a forbidden VCPU.WAIT.
pub fn wait(port: PortHandle) -> Result<()> {
    wait_on(&crate::Hvc, EventCells::of_this_vcpu(), port, NO_DEADLINE).map(|_| ())
}

/// Waits as [`wait`], but no longer than until CNTVCT_EL0 reaches `deadline_ticks`; returns whether the event came.
///
/// # Errors
/// None but a forbidden VCPU.WAIT.
pub fn wait_until(port: PortHandle, deadline_ticks: u64) -> Result<bool> {
    wait_on(&crate::Hvc, EventCells::of_this_vcpu(), port, deadline_ticks)
}

/// Waits until one of `ports` was raised, takes that event and returns the port; the first in the list goes first.
///
/// # Errors
/// None but a forbidden VCPU.WAIT.
pub fn wait_any(ports: &[PortHandle]) -> Result<PortHandle> {
    wait_any_on(&crate::Hvc, EventCells::of_this_vcpu(), ports)
}

/// Waits as [`wait_any`] over a conduit and an event area of the caller's choice.
///
/// # Errors
/// What the conduit refuses.
pub fn wait_any_on<C: Conduit + ?Sized>(conduit: &C, cells: &EventCells, ports: &[PortHandle]) -> Result<PortHandle> {
    loop {
        if let Some(&port) = ports.iter().find(|port| cells.take(port.0.index())) {
            return Ok(port);
        }
        vcpu::via::wait(conduit, NO_DEADLINE)?;
    }
}

/// Waits as [`wait_until`] over a conduit and an event area of the caller's choice.
///
/// # Errors
/// What the conduit refuses.
pub fn wait_on<C: Conduit + ?Sized>(conduit: &C, cells: &EventCells, port: PortHandle, deadline: u64) -> Result<bool> {
    loop {
        if cells.take(port.0.index()) {
            return Ok(true);
        }
        let waited = vcpu::via::wait(conduit, deadline)?;
        if deadline != NO_DEADLINE && waited.selector == 0 && waited.now >= deadline {
            return Ok(cells.take(port.0.index()));
        }
    }
}

/// Keeps `port` from raising this vCPU's selector and line; its pending bit is still set by events.
pub fn mask(port: PortHandle) {
    EventCells::of_this_vcpu().mask(port.0.index());
}

/// Lets `port` raise again and returns whether it was pending meanwhile.
///
/// # Errors
/// Handle errors of EVT.UNMASK.
pub fn unmask(port: PortHandle) -> Result<bool> {
    EventCells::of_this_vcpu().clear_mask(port.0.index());
    recheck(port)
}
