//! EVT: raising ports, and making and ending channels between VMs that declared each other.

use strato_abi::call::{
    EvtAck, EvtAckReply, EvtBindVcpu, EvtBindVcpuReply, EvtClose, EvtCloseReply, EvtConnect, EvtConnectReply, EvtMode,
    EvtModeReply, EvtOffer, EvtOfferReply, EvtSend, EvtSendReply, EvtUnmask, EvtUnmaskReply,
};
use strato_abi::error::{Code, Reason};
use strato_abi::event::DeliveryMode;
use strato_abi::vcpu::RunState;
use strato_abi::{Handle as AbiHandle, PeerHandle, PortHandle};

use super::{CallError, Handle, Outcome, decode};
use crate::arch::get_bounded;
use crate::events::port::End;
use crate::events::{Link, Posted};
use crate::machine::{Cx, Machine, Wakes};
use crate::sync::{Ordering, fence};
use crate::vm::Vm;
use crate::vm::handles::{Far, HandleError, Object};

/// Raises the other end of `port`; who is to be told stands in `cx.wakes`.
#[inline(always)]
pub(super) fn send(cx: &mut Cx<'_>, port: PortHandle) -> Result<(), CallError> {
    let end = decode::connected(cx, port, 1)?;
    let peer =
        cx.machine.vm_of(cx.stay, end.vm, end.incarnation).ok_or(CallError::of(Code::PeerGone, 1, Reason::None, 0))?;
    if let Some(vcpu) = peer.raise(end.port) {
        cx.wakes = Wakes { place: end.vm, vcpus: 1 << (vcpu & 7) };
    }
    Ok(())
}

impl Handle for EvtSend {
    #[inline]
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtSendReply>, CallError> {
        send(cx, self.port)?;
        Ok(Outcome::Reply(EvtSendReply {}))
    }
}

impl Handle for EvtAck {
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
        let (number, target) = decode::vcpu(cx.vm, self.vcpu, 2)?;
        let Some(port) = cx.vm.ports.get(usize::from(index)) else { return Err(CallError::bare(Code::Internal)) };
        let (_inner, _held) = cx.vm.inner.lock(&mut cx.locks); // one binding at a time
        let before = port.binding().vcpu();
        port.bind(number);
        if let Some(old) = cx.vm.vcpu(before)
            && before != number
            && cx.vm.area.withdraw(before, index, &old.public.sink)
            && matches!(cx.vm.area.post(number, index, &target.public.sink), Posted::First | Posted::Again)
        {
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
    let rested = |index: u16| lagging(index) == 0;
    let Ok(handle) = handles.insert_where(Object::Port, vm.handle_limit, rested) else {
        // Perhaps there is room, but a core has not left its guest since the port was closed: it is made to.
        let waiting = (0..vm.handle_limit).fold(0, |cores, index| cores | lagging(index));
        machine.nudge(waiting);
        let full = CallError::Handle(0, HandleError::Full(u64::from(vm.handle_limit)));
        return Err(if waiting == 0 { full } else { CallError::bare(Code::Again) });
    };
    vm.withdraw(handle.index());
    if let Some(port) = vm.ports.get(usize::from(handle.index())) {
        port.bind(0);
        port.set(handle.generation(), link(handle.index()));
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
        let is_for_us = match seen.link() {
            Link::Offered(end) => end.vm == cx.me.vm() && end.incarnation == cx.vm.incarnation,
            Link::Free | Link::Connected(_) | Link::PeerGone => false,
        };
        if !is_for_us || seen.generation() != key.generation() {
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
        cx.vm.timers().lock_leaf().cancel(handle);
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
        }
        Ok(Outcome::Reply(EvtModeReply {}))
    }
}
