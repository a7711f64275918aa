//! CORE, handles: what they name, and what is told of them.

use strato_abi::call::{CoreHandleDrop, CoreHandleDropReply, CoreHandleInfo, CoreHandleInfoReply};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::{Kind, Rights};
use strato_abi::share::ShareState;

use super::{CallError, Handle, Outcome};
use crate::events::Link;
use crate::machine::Cx;
use crate::vm::handles::Flags;

impl Handle for CoreHandleInfo {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreHandleInfoReply>, CallError> {
        let index = self.handle.index();
        let (kind, rights, far) = {
            let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
            let kind = inner.handles.kind(self.handle).map_err(|error| CallError::Handle(1, error))?;
            let rights = if kind == Kind::Device {
                u64::from((Rights::READ | Rights::WRITE).bits())
            } else {
                inner.handles.mem_at(index).map_or(0, |mem| u64::from(mem.rights.bits()))
            };
            (kind, rights, inner.handles.far(index).map(|far| (far.place, far.incarnation)))
        };
        let far = if kind == Kind::Port { far_end(cx, index) } else { far };
        let [label_0, label_1, label_2, label_3] = label(cx, far);
        Ok(Outcome::Reply(CoreHandleInfoReply { kind: kind as u64, rights, label_0, label_1, label_2, label_3 }))
    }
}

/// Returns place and incarnation of the VM at the other end of port `index`.
fn far_end(cx: &Cx<'_>, index: u16) -> Option<(u8, u32)> {
    let port = cx.vm.ports.get(usize::from(index))?;
    match port.link(port.read()) {
        Link::Connected(end) => Some((end.vm, end.incarnation)),
        Link::Free | Link::Offered(_) | Link::PeerGone => None,
    }
}

/// Returns the label of a VM as four words, first byte lowest; zeros when there is none or it has ended.
fn label(cx: &Cx<'_>, end: Option<(u8, u32)>) -> [u64; 4] {
    let mut words = [0; 4];
    let found = end.and_then(|(place, incarnation)| {
        let vm = cx.machine.vms.get(usize::from(place))?.get(cx.stay)?;
        (vm.incarnation == incarnation && !vm.is_ending()).then_some(vm)
    });
    let bytes = found.map_or(&[][..], |vm| vm.label.as_bytes());
    for (word, part) in words.iter_mut().zip(bytes.chunks(8)) {
        *word = part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    words
}

impl Handle for CoreHandleDrop {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<CoreHandleDropReply>, CallError> {
        let (mut inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let kind = inner.handles.kind(self.handle).map_err(|error| CallError::Handle(1, error))?;
        let index = self.handle.index();
        let is_over = match kind {
            Kind::Peer => true,
            Kind::Mem => inner.handles.mem_at(index).is_some_and(|mem| mem.flags.contains(Flags::OVER)),
            Kind::Share => inner.handles.share_at(index).is_some_and(|(_, share)| {
                matches!(share.state, ShareState::Relinquished | ShareState::Revoked | ShareState::Donated)
            }),
            // Ports and address spaces end by calls of their own; nothing else is given out.
            Kind::Port | Kind::AddressSpace | Kind::Irq | Kind::Vm | Kind::Sched | Kind::Device | _ => false,
        };
        if !is_over {
            return Err(CallError::of(Code::State, 1, Reason::None, kind as u64));
        }
        inner.handles.remove(self.handle);
        Ok(Outcome::Reply(CoreHandleDropReply {}))
    }
}
