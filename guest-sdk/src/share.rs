//! Group SHARE: memory shared between peers. One function per call; [`granted`](crate::granted) and
//! [`borrowed`](crate::borrowed) have the kinds of memory that end with their value, and never offer the program's own pages.

use strato_abi::address_space::Attributes;
use strato_abi::call::{ShareAccept, ShareInfo, ShareOffer, ShareRelinquish, ShareRevoke};
use strato_abi::share::{RevokePolicy, ShareState, Terms};
use strato_abi::{MemHandle, PeerHandle, ShareHandle};

use crate::conduit::wrappers;
use crate::mem::Step;

/// Memory that a peer can accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The share at this end.
    pub share: ShareHandle,
    /// What the peer accepts by.
    pub key: u64,
}

/// Memory that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The memory.
    pub mem: MemHandle,
    /// Pages of it.
    pub pages: u64,
    /// The number that its owner sent with it.
    pub tag: u64,
}

/// How a share stands after SHARE.REVOKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The state; `None` for one of a later version.
    pub state: Option<ShareState>,
    /// Pages that this step unmapped at the borrower.
    pub done: u64,
}

/// What SHARE.INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The state; `None` for one of a later version.
    pub state: Option<ShareState>,
    /// The terms' bits, see [`Terms`].
    pub terms: u64,
    /// Pages.
    pub pages: u64,
}

wrappers! {
    /// Offers `pages` pages of `mem`, from `offset` bytes on, to `peer` (SHARE.OFFER).
    ///
    /// # Errors
    /// `DENIED` not the owner, or more rights than it has; `MISALIGNED`, `OVERFLOW`, `INVALID`; `BUSY` mapped or shared already;
    /// `STATE`, `FULL`, `PEER_GONE`, handle errors.
    fn offer(peer: PeerHandle, mem: MemHandle, offset: u64, pages: u64, terms: Terms, tag: u64) -> Offered =
        ShareOffer { peer, mem, offset, pages, terms, tag }, |reply| Offered { share: reply.share, key: reply.key };
    /// Accepts what `peer` offers under `key`, or its first open offer when `key` is 0, with at most `rights` (SHARE.ACCEPT).
    ///
    /// # Errors
    /// `INVALID` no such offer; `EMPTY` no open offer; `DENIED`, `QUOTA`, `FULL`, `PEER_GONE`, handle errors.
    fn accept(peer: PeerHandle, key: u64, rights: Attributes) -> Accepted = ShareAccept { peer, key, rights },
        |reply| Accepted { mem: reply.mem, pages: reply.pages, tag: reply.tag };
    /// Does a step towards giving borrowed memory back (SHARE.RELINQUISH).
    ///
    /// # Errors
    /// `DENIED` it is not borrowed; `BUSY`, handle errors.
    fn relinquish(mem: MemHandle) -> Step = ShareRelinquish { mem },
        |reply| Step { left: reply.left, done: reply.done };
    /// Takes an offer back, or asks or makes the borrower give the memory back, a step with each call (SHARE.REVOKE).
    ///
    /// # Errors
    /// `STATE` it is over; handle errors.
    fn revoke(share: ShareHandle, policy: RevokePolicy) -> Revocation = ShareRevoke { share, policy },
        |reply| Revocation { state: ShareState::from_u64(reply.state), done: reply.done };
    /// Returns how `share` stands (SHARE.INFO).
    ///
    /// # Errors
    /// Handle errors.
    fn info(share: ShareHandle) -> Share = ShareInfo { share }, |reply| Share {
        state: ShareState::from_u64(reply.state),
        terms: reply.terms,
        pages: reply.pages,
    };
}
