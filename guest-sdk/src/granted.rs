//! The lender's end: memory of the program's own that a peer was offered. Uses group SHARE.
//!
//! An offer takes the memory in, so that what a peer has is neither cut nor freed, and gives it out again when it is over.
//! Dropping it takes the memory back from the peer by force, and then gives it back itself.

use ::core::mem::forget;

use strato_abi::address_space::Attributes;
use strato_abi::share::{RevokePolicy, ShareState, Steps, Terms, Verb};
use strato_abi::vcpu::NO_DEADLINE;
use strato_abi::{Code, PeerHandle, PortHandle, ShareHandle};

use crate::conduit::Conduit;
use crate::error::Result;
use crate::event_area::EventCells;
use crate::mapped::{Mapped, Object};
use crate::owned::GrantedOr;
use crate::share::via;
use crate::{Error, Hvc, Owned, core, event};

/// Memory that both a peer and this VM have, mapped here.
pub type Shared<'c, C = Hvc> = Granted<'c, C, Mapped<'c, C>>;
/// Memory that a peer alone has.
pub type Lent<'c, C = Hvc> = Granted<'c, C, Owned<'c, C>>;

/// A share that ends with its value.
#[derive(Debug)]
struct Grant<'c, C: Conduit> {
    conduit: &'c C,
    share: ShareHandle,
    key: u64,
}

impl<C: Conduit> Grant<'_, C> {
    fn state(&self) -> Result<Option<ShareState>> {
        Ok(via::info(self.conduit, self.share)?.state)
    }

    /// Takes the offer or the memory back, whatever the peer has mapped of it.
    fn end(&self) -> Result<()> {
        loop {
            match via::revoke(self.conduit, self.share, RevokePolicy::Force) {
                Ok(step) if step.state == Some(ShareState::Revoked) => return Ok(()),
                Ok(_) => {}
                // It is over: taken back before, given back by the peer, or its own.
                Err(error) if error.code() == Code::State => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the entry in the handle table back, once the share is over.
    fn drop_handle(&self) {
        let _ = core::via::handle_drop(self.conduit, self.share.0);
    }

    /// Binds `port` to the share and waits until `is_there` says that its state is one waited for.
    fn wait(&self, port: PortHandle, is_there: impl Fn(ShareState) -> bool) -> Result<()> {
        let steps = Steps::ACCEPTED.union(Steps::RELINQUISHED);
        event::via::bind_object(self.conduit, self.share.0, port, steps)?;
        // The port is bound first: what happens between the look and the wait raises it.
        while !self.state()?.is_none_or(&is_there) {
            event::wait_on(self.conduit, EventCells::of_this_vcpu(), port, NO_DEADLINE)?;
        }
        Ok(())
    }
}

impl<C: Conduit> Drop for Grant<'_, C> {
    fn drop(&mut self) {
        // A revoke by force takes whatever the peer has mapped. It is refused only where the manifest denies the call: then
        // the memory stays shared, and freeing it will be refused too.
        if self.end().is_ok() {
            self.drop_handle();
        }
    }
}

/// Memory that a peer was offered: `M` is an [`Owned`] object, or a [`Mapped`] one.
#[derive(Debug)]
pub struct Granted<'c, C: Conduit = Hvc, M = Owned<'c, C>> {
    // The order matters: fields are dropped from the first one on.
    grant: Grant<'c, C>,
    memory: M,
}

impl<'c, C: Conduit> Grant<'c, C> {
    /// Offers all of `object`.
    fn new<O: Object>(conduit: &'c C, object: &O, peer: PeerHandle, terms: Terms, tag: u64) -> Result<Self> {
        let offered = via::offer(conduit, peer, object.handle(), 0, object.pages(), terms, tag)?;
        Ok(Self { conduit, share: offered.share, key: offered.key })
    }
}

impl<'c, C: Conduit> Granted<'c, C, Owned<'c, C>> {
    pub(crate) fn new(
        conduit: &'c C,
        memory: Owned<'c, C>,
        peer: PeerHandle,
        terms: Terms,
        tag: u64,
    ) -> GrantedOr<'c, C, Owned<'c, C>> {
        match Grant::new(conduit, &memory, peer, terms, tag) {
            Ok(grant) => Ok(Self { grant, memory }),
            Err(error) => Err((memory, error)),
        }
    }
}

impl<'c, C: Conduit> Mapped<'c, C, Owned<'c, C>> {
    /// Offers the object to `peer`, with at most `rights`; it stays mapped here, and `tag` tells the peer what it is for.
    ///
    /// # Errors
    /// The mapping and why: those of SHARE.OFFER.
    pub fn share(self, peer: PeerHandle, rights: Attributes, tag: u64) -> GrantedOr<'c, C, Self> {
        match Grant::new(self.conduit(), self.object(), peer, Terms { verb: Verb::Share, rights }, tag) {
            Ok(grant) => Ok(Granted { grant, memory: self }),
            Err(error) => Err((self, error)),
        }
    }
}

impl<C: Conduit, M> Granted<'_, C, M> {
    /// Returns the handle of the share.
    #[must_use]
    pub const fn handle(&self) -> ShareHandle {
        self.grant.share
    }

    /// Returns what the peer accepts by; it finds its first open offer without.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.grant.key
    }

    /// Returns the memory: [`Mapped::window`] reaches what is shared.
    #[must_use]
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// Returns how the share stands; `None` for a state of a later version.
    ///
    /// # Errors
    /// Those of SHARE.INFO.
    pub fn state(&self) -> Result<Option<ShareState>> {
        self.grant.state()
    }

    /// Waits until the peer has accepted, or the share is over. `port` is raised for its steps from then on.
    ///
    /// # Errors
    /// Those of EVT.BIND_OBJECT and SHARE.INFO, and a forbidden VCPU.WAIT.
    pub fn wait_accepted(&self, port: PortHandle) -> Result<()> {
        self.grant.wait(port, |state| state != ShareState::Offered)
    }

    /// Waits until the peer has given the memory back, or has ended. `port` is raised for the share's steps from then on.
    ///
    /// # Errors
    /// As [`Granted::wait_accepted`].
    pub fn wait_returned(&self, port: PortHandle) -> Result<()> {
        self.grant
            .wait(port, |state| matches!(state, ShareState::Relinquished | ShareState::Revoked | ShareState::Donated))
    }

    /// Asks the peer to give the memory back, or takes an offer back that it has not accepted.
    ///
    /// # Errors
    /// Those of SHARE.REVOKE.
    pub fn ask(&self) -> Result<Option<ShareState>> {
        Ok(via::revoke(self.grant.conduit, self.grant.share, RevokePolicy::Ask)?.state)
    }

    /// Takes the memory back, by force unless the peer has given it back, and returns it.
    ///
    /// # Errors
    /// The offer and why: those of SHARE.REVOKE.
    pub fn end(self) -> ::core::result::Result<M, (Self, Error)> {
        match self.grant.end() {
            Ok(()) => {
                self.grant.drop_handle();
                forget(self.grant);
                Ok(self.memory)
            }
            Err(error) => Err((self, error)),
        }
    }
}

/// Memory that a peer was offered for good.
#[derive(Debug)]
pub struct Donation<'c, C: Conduit = Hvc>(pub(crate) Granted<'c, C, Owned<'c, C>>);

impl<'c, C: Conduit> Donation<'c, C> {
    /// Returns what the peer accepts by.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.0.key()
    }

    /// Waits until the memory is the peer's. `port` is raised for the share's steps from then on.
    ///
    /// # Errors
    /// As [`Granted::wait_accepted`].
    pub fn wait_accepted(&self, port: PortHandle) -> Result<()> {
        self.0.wait_accepted(port)
    }

    /// Takes the offer back and returns the object, or `None` when it is the peer's by now. Dropping the offer does the same.
    ///
    /// # Errors
    /// Those of SHARE.REVOKE and SHARE.INFO.
    pub fn withdraw(self) -> Result<Option<Owned<'c, C>>> {
        self.0.grant.end()?;
        // Nothing changes the state any more.
        let is_gone = self.0.state()? == Some(ShareState::Donated);
        let Granted { grant, memory } = self.0;
        grant.drop_handle();
        forget(grant);
        if is_gone {
            // What is left of the object is a handle that names nothing.
            forget(memory);
            return Ok(None);
        }
        Ok(Some(memory))
    }
}
