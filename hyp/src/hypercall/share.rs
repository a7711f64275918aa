//! SHARE: memory shared between peers.

use strato_abi::call::{ShareAccept, ShareInfo, ShareOffer, ShareRelinquish, ShareRevoke};
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
pending!(ShareAccept, ShareInfo, ShareOffer, ShareRelinquish, ShareRevoke);
