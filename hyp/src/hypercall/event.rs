//! EVT: raising ports, and making and ending channels between VMs that declared each other.

use core::cell::Cell;

use strato_abi::call::{
    EvtAck, EvtAckReply, EvtBindVcpu, EvtBindVcpuReply, EvtClose, EvtCloseReply, EvtConnect, EvtConnectReply, EvtMode,
    EvtModeReply, EvtOffer, EvtOfferReply, EvtSend, EvtSendReply, EvtUnmask, EvtUnmaskReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::event::DeliveryMode;
use strato_abi::vcpu::RunState;
use strato_abi::{Handle as AbiHandle, PeerHandle, PortHandle};

use super::{CallError, Handle, Handler, Outcome, Short, decode, irq, reply};
use crate::arch::{get_bounded, guest};
use crate::events::Link;
use crate::events::port::End;
use crate::machine::{Cx, Machine, Next, Wakes, name_of};
use crate::sync::{Ordering, fence};
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::vm::handles::{Far, HandleError, Object};
use crate::vm::raise::Raised;

/// Raises the other end of `port`; who is to be told stands in `cx.wakes`.
#[inline(always)]
pub(super) fn send(cx: &mut Cx<'_>, port: PortHandle) -> Result<(), CallError> {
    send_by(cx, port, Vm::raise)
}

#[inline(always)]
fn send_by(cx: &mut Cx<'_>, port: PortHandle, raise: impl Fn(&Vm, u16) -> Option<u8>) -> Result<(), CallError> {
    let far = decode::connected(cx, port, 1)?;
    let peer = cx.machine.connected(cx.stay, far.vm()).ok_or(CallError::of(Code::PeerGone, 1, Reason::None, 0))?;
    if let Some(vcpu) = raise(peer, far.port()) {
        cx.wakes = Wakes { place: far.vm(), vcpus: 1 << (vcpu & 7) };
    }
    Ok(())
}

impl Handle for EvtSend {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();
    const RAISES: Option<Next> = Some(Next::Resume);

    #[inline(always)]
    fn short<'s>(arguments: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, EvtSendReply> {
        raise_once(cx, arguments[0], Outcome::Reply(EvtSendReply {}))
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtSendReply>, CallError> {
        send_by(cx, self.port, Vm::raise_again)?;
        Ok(Outcome::Reply(EvtSendReply {}))
    }
}

/// Tells the receiver of an event that runs, if that is the caller itself. Returns whether it was.
#[inline(always)]
pub(super) fn tell_self(cx: &Cx<'_>, vcpu: &Vcpu) -> bool {
    let is_own = core::ptr::eq(vcpu, cx.vcpu);
    if is_own {
        guest::set_line(true); // the guest takes the upcall as it goes on
    }
    is_own
}

/// Tells the receiver of an event otherwise: its own core by a letter, or the dispatcher, for which it stands in `cx.wakes`. Returns whether it was a
/// letter, and nothing is left to be done.
#[inline(always)]
pub(super) fn tell_elsewhere(cx: &mut Cx<'_>, vcpu: &Vcpu) -> bool {
    let is_told = cx.tell_other_core(vcpu);
    if !is_told {
        let who = name_of(vcpu);
        cx.wakes = Wakes { place: who.vm(), vcpus: 1 << who.vcpu() };
    }
    is_told
}

/// Raises the other end of the port in `argument`, if it is connected and nobody else is at the receiver's words: `quiet` when nobody
/// is to be told.
#[inline(always)]
pub(super) fn raise_once<'s, R>(cx: &Cx<'s>, argument: u64, quiet: Outcome<R>) -> Short<'s, R> {
    match raise_far(cx, argument) {
        Some((_, Raised::Quiet)) => Short::Done(quiet),
        Some((vm, Raised::Blocked(vcpu))) => Short::Tell(Some(vm), vcpu),
        Some((_, Raised::Tell(vcpu))) => Short::Tell(None, vcpu),
        Some((_, Raised::Again)) | None => Short::Long,
    }
}

/// Raises the other end of the port in `argument`, as [`raise_once`] does. Returns the VM there, and what became of the event.
#[inline(always)]
pub(super) fn raise_far<'s>(cx: &Cx<'s>, argument: u64) -> Option<(&'s Vm, Raised<'s>)> {
    let far = cx.vm.ports.masked(argument).read().far_end(argument)?;
    let peer = cx.machine.connected(cx.stay, far.vm())?;
    Some((peer, peer.raise_once(far.index())))
}

impl Handle for EvtAck {
    const ANSWERERS: [Handler; 2] = reply::short::<Self>();

    #[inline(always)]
    fn short<'s>(_: &[u64; 6], cx: &mut Cx<'s>) -> Short<'s, EvtAckReply> {
        let Some(selector) = cx.vm.area.take_once(cx.me.vcpu(), &cx.vcpu.public.sink) else { return Short::Long };
        cx.vm.lower_line(cx.vcpu);
        Short::Done(Outcome::Reply(EvtAckReply { selector }))
    }

    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtAckReply>, CallError> {
        let selector = cx.vm.area.take(cx.me.vcpu(), &cx.vcpu.public.sink);
        cx.vm.lower_line(cx.vcpu);
        Ok(Outcome::Reply(EvtAckReply { selector }))
    }
}

impl Handle for EvtUnmask {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtUnmaskReply>, CallError> {
        let (index, _) = decode::port(cx, self.port, 1)?;
        let bound = cx.vm.ports.get(usize::from(index)).map_or(0, |port| port.binding().vcpu());
        let (number, target) = decode::vcpu(cx.vm, u64::from(bound), 1)?;
        let pending = cx.vm.area.reevaluate(number, index, &target.public.sink);
        if pending {
            cx.wakes = Wakes { place: cx.me.vm(), vcpus: 1 << number };
        }
        Ok(Outcome::Reply(EvtUnmaskReply { pending }))
    }
}

impl Handle for EvtBindVcpu {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtBindVcpuReply>, CallError> {
        let (index, _) = decode::port(cx, self.port, 1)?;
        let (number, _) = decode::vcpu(cx.vm, self.vcpu, 2)?;
        let (_inner, mut held) = cx.vm.inner.lock(&mut cx.locks); // one binding at a time
        let is_told = cx.vm.rebind(index, number);
        irq::follow(cx.machine, cx.vm, index, &mut held);
        if is_told {
            cx.wakes = Wakes { place: cx.me.vm(), vcpus: 1 << number };
        }
        Ok(Outcome::Reply(EvtBindVcpuReply {}))
    }
}

impl Handle for EvtOffer {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtOfferReply>, CallError> {
        let PeerHandle(peer) = self.peer;
        let (mut inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        if peer.bits() == 0 {
            // A port of one's own: both ends are the same.
            let own = |port| Link::Connected(End { vm: cx.me.vm(), incarnation: cx.vm.incarnation, port });
            let port = open(cx.vm, &mut inner.handles, cx.machine, own)?;
            return Ok(Outcome::Reply(EvtOfferReply { port: PortHandle(port), key: 0 }));
        }
        let Far { place: vm, incarnation, .. } =
            inner.handles.peer(peer).map_err(|error| CallError::Handle(1, error))?;
        let alive = cx.machine.vms.get(usize::from(vm)).and_then(|slot| slot.get(cx.stay));
        if alive.is_none_or(|vm| vm.incarnation != incarnation || vm.is_ending()) {
            return Err(CallError::of(Code::PeerGone, 1, Reason::None, 0));
        }
        // The key is the port's index until the two are connected; only the VM it is for can use it.
        let link = Link::Offered(End { vm, incarnation, port: 0 });
        let port = open(cx.vm, &mut inner.handles, cx.machine, |_| link)?;
        Ok(Outcome::Reply(EvtOfferReply { port: PortHandle(port), key: u64::from(port.bits()) }))
    }
}

/// Takes a free port and sets its link, which may name the port itself.
fn open(
    vm: &Vm,
    handles: &mut crate::vm::handles::HandleTable,
    machine: &Machine,
    link: impl Fn(u16) -> Link,
) -> Result<AbiHandle, CallError> {
    let epochs = &machine.epochs;
    let lagging = |index: u16| vm.ports.get(usize::from(index)).map_or(0, |port| epochs.lagging(port.rests_until()));
    let waiting = Cell::new(0);
    let rested = |index: u16| {
        let cores = lagging(index);
        waiting.set(waiting.get() | cores);
        cores == 0
    };
    let Ok(handle) = handles.insert_where(Object::Port, vm.handle_limit, rested) else {
        // Perhaps there is room, but a core has not left its guest since the port was closed: it is made to.
        let waiting = waiting.get();
        machine.nudge(waiting);
        let full = CallError::Handle(0, HandleError::Full(u64::from(vm.handle_limit)));
        return Err(if waiting == 0 { full } else { CallError::bare(Code::Again) });
    };
    vm.withdraw(handle.index());
    if let Some(port) = vm.ports.get(usize::from(handle.index())) {
        port.open(handle, 0, link(handle.index()));
    }
    Ok(handle)
}

impl Handle for EvtConnect {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtConnectReply>, CallError> {
        let no_offer = CallError::of(Code::Invalid, 2, Reason::UnknownValue, 0);
        let key = AbiHandle::from_bits(u32::try_from(self.key).map_err(|_| no_offer)?);
        let PeerHandle(peer) = self.peer;
        let (mut inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let Far { place, incarnation, .. } = inner.handles.peer(peer).map_err(|error| CallError::Handle(1, error))?;
        let found = cx.machine.vms.get(usize::from(place)).and_then(|slot| slot.get(cx.stay));
        let found = found.filter(|vm| vm.incarnation == incarnation && !vm.is_ending());
        let other = found.ok_or(CallError::of(Code::PeerGone, 1, Reason::None, 0))?;
        let far = get_bounded(&other.ports, usize::from(key.index())).ok_or(no_offer)?;
        let seen = far.read();
        let is_for_us = match far.link(seen) {
            Link::Offered(end) => end.vm == cx.me.vm() && end.incarnation == cx.vm.incarnation,
            Link::Free | Link::Connected(_) | Link::PeerGone => false,
        };
        if !is_for_us || seen.handle() != key {
            return Err(no_offer);
        }
        let link = Link::Connected(End { vm: place, incarnation, port: key.index() });
        let near = open(cx.vm, &mut inner.handles, cx.machine, |_| link)?;
        let here = End { vm: cx.me.vm(), incarnation: cx.vm.incarnation, port: near.index() };
        if !far.change(seen, Link::Connected(here)) {
            cx.vm.close(near.index(), cx.stay.epochs(), |_| None);
            inner.handles.remove(near);
            return Err(no_offer);
        }
        Ok(Outcome::Reply(EvtConnectReply { port: PortHandle(near) }))
    }
}

impl Handle for EvtClose {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtCloseReply>, CallError> {
        let PortHandle(handle) = self.port;
        let (mut inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let index = inner.handles.port(handle).map_err(|error| CallError::Handle(1, error))?;
        let peer = |place: u8| cx.machine.vms.get(usize::from(place)).and_then(|slot| slot.get(cx.stay));
        cx.vm.close(index, cx.stay.epochs(), peer);
        inner.handles.remove(handle);
        cx.vm.timers().map(|timers| timers.lock_leaf().cancel(handle));
        Ok(Outcome::Reply(EvtCloseReply {}))
    }
}

impl Handle for EvtMode {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtModeReply>, CallError> {
        let (number, target) = decode::vcpu(cx.vm, self.vcpu, 1)?;
        let state = target.public.state();
        if number != cx.me.vcpu() && state != RunState::Off {
            return Err(CallError::of(Code::State, 1, Reason::None, state as u64));
        }
        target.public.has_upcalls.store(self.mode == DeliveryMode::Upcall, Ordering::Release);
        fence(Ordering::SeqCst); // a sender sees the mode, or we see its line below; pairs with `Vm::post`
        if number == cx.me.vcpu() {
            cx.vm.refresh_line(target);
        } else if target.public.state_behind_fence() != RunState::Off {
            // A sibling started it meanwhile: it may have been entered by the old mode, and is made to look again.
            cx.wakes.set(cx.me.vm(), 1 << number);
        }
        Ok(Outcome::Reply(EvtModeReply {}))
    }
}
