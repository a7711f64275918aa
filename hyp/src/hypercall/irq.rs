//! EVT, devices: an interrupt becomes an event, and its driver says when the device was served.

use strato_abi::call::{EvtBindIrq, EvtBindIrqReply, EvtIrqDone, EvtIrqDoneReply};
use strato_abi::error::{Code, Reason};
use strato_abi::event::{IRQ_ROUNDS_MAX, IrqFlags};
use strato_abi::{IrqHandle, PortHandle};

use super::{CallError, Handle, Outcome};
use crate::arch::core_base::CoreIndex;
use crate::gic::{Done, IntId, Owner, Route};
use crate::lock::{Held, VM};
use crate::machine::{Cx, Machine};
use crate::vm::Vm;

/// Returns the way to the vCPU that the port of `index` is bound to.
fn route_to(vm: &Vm, index: u16) -> Option<Route> {
    let bound = vm.ports.get(usize::from(index))?.binding().vcpu();
    let core = CoreIndex::new(usize::from(vm.vcpu(bound)?.public.orders.home()))?;
    Some(Route { core, has_share: vm.has_share_of(core) })
}

/// Sends the interrupts that raise the port of `index` to the core of the vCPU that it is bound to by now.
pub(super) fn follow(machine: &Machine, vm: &Vm, index: u16, held: &mut Held<'_, VM>) {
    let Some(route) = route_to(vm, index) else { return };
    let me = Some(Owner { place: vm.place, incarnation: vm.incarnation });
    for line in machine.lines.iter() {
        let (mut line, _held) = line.lock(held);
        if line.owner() == me && line.port().is_some_and(|port| port.index() == index) {
            line.reroute(&machine.gic, route);
        }
    }
}

/// Sends the interrupts that raise ports of vCPU `number`, which has moved, to the core where it is now.
pub fn follow_vcpu(machine: &Machine, vm: &Vm, number: u8) {
    let mut none = Held::mint();
    // Locked, so that no port is bound to another vCPU meanwhile.
    let (_inner, mut held) = vm.inner.lock(&mut none);
    let me = Some(Owner { place: vm.place, incarnation: vm.incarnation });
    for line in machine.lines.iter() {
        let (mut line, _held) = line.lock(&mut held);
        let port = line.port().filter(|_| line.owner() == me);
        let bound = port.and_then(|port| vm.ports.get(usize::from(port.index()))).map(|port| port.binding().vcpu());
        if bound == Some(number)
            && let Some(route) = port.and_then(|port| route_to(vm, port.index()))
        {
            line.reroute(&machine.gic, route);
        }
    }
}

impl Handle for EvtBindIrq {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtBindIrqReply>, CallError> {
        let (IrqHandle(irq), PortHandle(port)) = (self.irq, self.port);
        // Locked to the end: the port neither closes nor moves meanwhile.
        let (inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let line = inner.handles.irq(irq).map_err(|error| CallError::Handle(1, error))?;
        let line = cx.machine.lines.get(line).ok_or(CallError::bare(Code::Internal))?;
        if self.flags.contains(IrqFlags::OFF) {
            line.lock(&mut held).0.close(&cx.machine.gic);
            return Ok(Outcome::Reply(EvtBindIrqReply {}));
        }
        let index = inner.handles.port(port).map_err(|error| CallError::Handle(2, error))?;
        let route = route_to(cx.vm, index).ok_or(CallError::bare(Code::Internal))?;
        line.lock(&mut held).0.bind(&cx.machine.gic, port, route);
        Ok(Outcome::Reply(EvtBindIrqReply {}))
    }
}

impl Handle for EvtIrqDone {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtIrqDoneReply>, CallError> {
        let IrqHandle(irq) = self.irq;
        let (inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let line = inner.handles.irq(irq).map_err(|error| CallError::Handle(1, error))?;
        let line = cx.machine.lines.get(line).ok_or(CallError::bare(Code::Internal))?;
        let (mut line, _held) = line.lock(&mut held);
        match line.done(&cx.machine.gic) {
            Done::Open => Ok(Outcome::Reply(EvtIrqDoneReply {})),
            Done::Idle => Err(CallError::of(Code::State, 1, Reason::None, 0)),
            Done::Stuck(is_new) => {
                if is_new {
                    let intid = line.intid().map_or(0, IntId::number);
                    log::warn!("vm {}: interrupt {intid} is masked: its line does not fall", cx.vm.label);
                }
                Err(CallError::of(Code::State, 1, Reason::LineStuck, IRQ_ROUNDS_MAX))
            }
        }
    }
}
