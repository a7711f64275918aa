//! CORE, handles: what they name, and what is told of them.

use strato_abi::call::{CoreHandleDrop, CoreHandleInfo};
use strato_abi::error::Code;
use strato_abi::regs::Request;

use super::{CallError, Handle, Outcome};
use crate::machine::Cx;

macro_rules! pending {
    ($($call:ident),*) => { $(
        impl Handle for $call {
            fn handle(self, _: &mut Cx<'_>) -> Result<Outcome<<Self as Request>::Reply>, CallError> {
                Err(CallError::bare(Code::NotSupported))
            }
        }
    )* };
}
pending!(CoreHandleDrop, CoreHandleInfo);
