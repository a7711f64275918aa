//! EVT.BIND_OBJECT: a port is bound to what happens to a peer, a share or borrowed memory.

use strato_abi::call::{EvtBindObject, EvtBindObjectReply};
use strato_abi::error::{Code, Reason};
use strato_abi::handle::{Kind, PortHandle};
use strato_abi::share::Steps;

use super::{CallError, Handle, Outcome};
use crate::machine::Cx;
use crate::vm::handles::Flags;

impl Handle for EvtBindObject {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<EvtBindObjectReply>, CallError> {
        let PortHandle(port) = self.port;
        let (mut inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let handles = &mut inner.handles;
        let kind = handles.kind(self.object).map_err(|error| CallError::Handle(1, error))?;
        let flags = handles.mem(self.object).map_or(Flags::empty(), |mem| mem.flags);
        let is_borrowed = kind == Kind::Mem && flags.contains(Flags::BORROWED);
        let known = if kind == Kind::Peer {
            Steps::OFFERED | Steps::WITHDRAWN | Steps::ENDED
        } else if kind == Kind::Share {
            Steps::ACCEPTED | Steps::RELINQUISHED
        } else if is_borrowed {
            Steps::ASKED | Steps::REVOKED | Steps::ENDED
        } else {
            return Err(CallError::of(Code::WrongKind, 1, Reason::None, 0));
        };
        handles.port(port).map_err(|error| CallError::Handle(2, error))?;
        if !known.contains(self.steps) {
            return Err(CallError::of(Code::Invalid, 3, Reason::ReservedBits, known.bits()));
        }
        handles.bind(self.object.index(), port, self.steps);
        Ok(Outcome::Reply(EvtBindObjectReply {}))
    }
}
