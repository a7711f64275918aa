//! CON: bytes in registers, in both directions.

use strato_abi::call::{ConRead, ConReadReply, ConWrite, ConWriteReply};
use strato_abi::console::{CONSOLE_BYTES, ConsoleData};
use strato_abi::error::{Code, Reason};
use strato_abi::plan::VM_CONSOLE_INPUT;

use super::{CallError, Handle, Outcome};
use crate::machine::Cx;

impl Handle for ConWrite {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ConWriteReply>, CallError> {
        let bytes = self.data.to_bytes();
        let length = usize::try_from(self.length).ok();
        let text = length.and_then(|length| bytes.get(..length));
        let text = text.ok_or(CallError::of(Code::Invalid, 1, Reason::TooLarge, CONSOLE_BYTES as u64))?;
        let (mut line, _held) = cx.vm.line.lock(&mut cx.locks);
        let written = cx.machine.console.guest_write(&cx.vm.label, &mut line, text);
        if written == 0 && !text.is_empty() {
            return Err(CallError::bare(Code::Again));
        }
        Ok(Outcome::Reply(ConWriteReply { written: written as u64 }))
    }
}

impl Handle for ConRead {
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<ConReadReply>, CallError> {
        if cx.vm.flags & VM_CONSOLE_INPUT == 0 {
            return Err(CallError::of(Code::Denied, 0, Reason::NotOwner, 0));
        }
        let mut bytes = [0; CONSOLE_BYTES];
        let length = cx.machine.console.read(&mut bytes);
        let data = ConsoleData::from_bytes(bytes.get(..length).unwrap_or(&[]));
        Ok(Outcome::Reply(ConReadReply { length: length as u64, data }))
    }
}
