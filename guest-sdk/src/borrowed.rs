//! The borrower's end: memory that a peer has offered and this VM has accepted. Uses group SHARE.
//!
//! Its owner may write it, and may take it back at any time: then an access answers with a fault, and what is left to do is
//! to drop it.

use ::core::mem::forget;

use strato_abi::address_space::Attributes;
use strato_abi::share::Steps;
use strato_abi::vcpu::NO_DEADLINE;
use strato_abi::{Code, Ipa, MemHandle, PeerHandle, PortHandle};

use crate::conduit::Conduit;
use crate::error::Result;
use crate::event_area::EventCells;
use crate::mapped::{Mapped, Object};
use crate::share::{Accepted, via};
use crate::{Error, Hvc, event, owned};

/// Memory of a peer's that is mapped nowhere in this VM. Dropping it gives it back.
#[derive(Debug)]
pub struct Borrowed<'c, C: Conduit = Hvc> {
    conduit: &'c C,
    mem: MemHandle,
    pages: u64,
    tag: u64,
}

impl Borrowed<'static> {
    /// Accepts what `peer` offers under `key`, or its first open offer when `key` is 0, with all rights that it offers.
    ///
    /// # Errors
    /// Those of SHARE.ACCEPT.
    #[inline(always)]
    pub fn accept(peer: PeerHandle, key: u64) -> Result<Self> {
        Self::accept_on(&Hvc, peer, key)
    }

    /// Waits until `peer` offers memory, and accepts it. `port` is raised for the peer's steps from then on.
    ///
    /// # Errors
    /// Those of EVT.BIND_OBJECT and SHARE.ACCEPT but `EMPTY`, and a forbidden VCPU.WAIT; `PEER_GONE` when the peer ends.
    pub fn wait(peer: PeerHandle, port: PortHandle) -> Result<Self> {
        Self::wait_on(&Hvc, peer, port)
    }
}

impl<'c, C: Conduit> Borrowed<'c, C> {
    #[inline(always)]
    pub(crate) const fn of(conduit: &'c C, accepted: Accepted) -> Self {
        Self { conduit, mem: accepted.mem, pages: accepted.pages, tag: accepted.tag }
    }

    /// Does the same as [`Borrowed::accept`] over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of SHARE.ACCEPT.
    #[inline(always)]
    pub fn accept_on(conduit: &'c C, peer: PeerHandle, key: u64) -> Result<Self> {
        via::accept(conduit, peer, key, Attributes::empty()).map(|accepted| Self::of(conduit, accepted))
    }

    /// Does the same as [`Borrowed::wait`] over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of [`Borrowed::wait`].
    pub fn wait_on(conduit: &'c C, peer: PeerHandle, port: PortHandle) -> Result<Self> {
        event::via::bind_object(conduit, peer.0, port, Steps::OFFERED.union(Steps::ENDED))?;
        // The port is bound first: an offer that comes between the look and the wait raises it.
        loop {
            match Self::accept_on(conduit, peer, 0) {
                Err(error) if error.code() == Code::Empty => {
                    event::wait_on(conduit, EventCells::of_this_vcpu(), port, NO_DEADLINE)?;
                }
                accepted => return accepted,
            }
        }
    }

    /// Returns the handle, for calls that name the memory.
    #[must_use]
    pub const fn handle(&self) -> MemHandle {
        self.mem
    }

    /// Returns the number of pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Returns the number that the owner sent with it.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// Raises `port` when the owner asks for the memory, takes it back, or ends.
    ///
    /// # Errors
    /// Those of EVT.BIND_OBJECT.
    pub fn watch(&self, port: PortHandle) -> Result<()> {
        let steps = Steps::ASKED.union(Steps::REVOKED).union(Steps::ENDED);
        event::via::bind_object(self.conduit, self.mem.0, port, steps)
    }

    /// Maps all of the memory at `address` in the current address space. Dropping the mapping gives the memory back.
    ///
    /// # Errors
    /// The memory and why: those of AS.MAP. What was mapped of it before the refusal is unmapped again.
    #[inline(always)]
    pub fn map(
        self,
        address: Ipa,
        attributes: Attributes,
    ) -> ::core::result::Result<Mapped<'c, C, Self>, (Self, Error)> {
        Mapped::new(self.conduit, self, address, attributes)
    }

    /// Gives the memory back to its owner. Dropping it does the same.
    ///
    /// # Errors
    /// The memory and why: those of SHARE.RELINQUISH.
    #[inline(always)]
    pub fn relinquish(self) -> ::core::result::Result<(), (Self, Error)> {
        match give_back(self.conduit, self.mem) {
            Ok(()) => {
                forget(self);
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl<C: Conduit> Object for Borrowed<'_, C> {
    // SHARE.RELINQUISH unmaps it wherever it is mapped.
    const UNMAPS: bool = true;
    fn handle(&self) -> MemHandle {
        self.mem
    }
    fn pages(&self) -> u64 {
        self.pages
    }
}

#[inline(always)]
fn give_back<C: Conduit>(conduit: &C, mem: MemHandle) -> Result<()> {
    while via::relinquish(conduit, mem)?.left != 0 {}
    Ok(())
}

impl<C: Conduit> Drop for Borrowed<'_, C> {
    fn drop(&mut self) {
        // A peer may donate what this end takes for a loan: it is this VM's own then, and goes to the pool.
        if give_back(self.conduit, self.mem).is_err_and(|error| error.code() == Code::Denied) {
            let _ = owned::give_back(self.conduit, self.mem);
        }
    }
}
