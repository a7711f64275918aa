//! SHARE.REVOKE of an offer that nobody has accepted: it is taken back, and the peer hears of it.

use strato_abi::call::ShareRevokeReply;
use strato_abi::error::Code;
use strato_abi::handle::Handle as AbiHandle;
use strato_abi::share::Steps;

use super::share::refusal;
use super::{CallError, Outcome};
use crate::machine::{Cx, Wakes};
use crate::memory::sharing::is_out;
use crate::vm::sharing::{self, Side};

/// Takes back an offer that nobody holds, and tells the peer, or refuses a share that is over; `None` when the peer holds it.
pub(super) fn withdraw(cx: &mut Cx<'_>, handle: AbiHandle) -> Result<Option<Outcome<ShareRevokeReply>>, CallError> {
    let (far, revoked) = {
        let (mut inner, mut held) = cx.vm.inner.lock(&mut cx.locks);
        let share = inner.handles.share(handle).map_err(|error| CallError::Handle(1, error))?;
        if is_out(share.state) {
            return Ok(None);
        }
        let (mut pool, _held) = cx.machine.memory.lock(&mut held);
        let mut owner = Side { vm: cx.vm, inner: &mut inner };
        let revoked = sharing::withdraw(&mut owner, handle.index(), &mut pool.allocator);
        (share.far, revoked.map_err(|error| refusal(error, 1))?)
    };
    let peer = cx.machine.vms.get(usize::from(far.place)).and_then(|slot| slot.get(cx.stay));
    if let Some(peer) = peer.filter(|peer| peer.incarnation == far.incarnation) {
        let (mut theirs, _held) = peer.inner.lock(&mut cx.locks);
        let vcpus = Side { vm: peer, inner: &mut theirs }.raise_peer(cx.vm, Steps::WITHDRAWN);
        cx.wakes = Wakes { place: peer.place, vcpus };
    }
    Ok(Some(Outcome::Reply(ShareRevokeReply { state: revoked.state as u64, done: 0 })))
}

/// Refuses a share whose borrower has gone since the first look: it has given everything back before.
#[cold]
pub(super) fn over(cx: &mut Cx<'_>, handle: AbiHandle) -> Result<Outcome<ShareRevokeReply>, CallError> {
    withdraw(cx, handle)?.ok_or(CallError::bare(Code::Internal))
}
