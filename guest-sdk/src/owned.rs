//! Memory that the program owns: an object to allocate, map, cut, offer and give back. Uses group MEM.
//!
//! [`Owned`] is an object that is mapped nowhere, [`Mapped`] one that is mapped once. Both give everything back when dropped;
//! [`Mapped::unmap`] and [`Owned::free`] say when that is refused.

use ::core::mem::forget;

use strato_abi::addr::PAGE_SIZE;
use strato_abi::address_space::Attributes;
use strato_abi::mem::{MemState, MemoryType};
use strato_abi::share::{Terms, Verb};
use strato_abi::{Call, Code, Ipa, MemHandle, PeerHandle, Reason};

use crate::conduit::Conduit;
use crate::error::Result;
use crate::granted::{Donation, Granted};
use crate::mapped::{Mapped, Object};
use crate::mem::via;
use crate::{Borrowed, Error, Hvc, share};

/// A memory object of the program's own that is mapped nowhere.
#[derive(Debug)]
pub struct Owned<'c, C: Conduit = Hvc> {
    conduit: &'c C,
    mem: MemHandle,
    pages: u64,
}

impl Owned<'static> {
    /// Returns a new object of `pages` pages, a power of two, all zero.
    ///
    /// # Errors
    /// Those of MEM.ALLOC.
    pub fn new(pages: u64) -> Result<Self> {
        Self::new_on(&Hvc, pages)
    }

    /// Does the same as [`Owned::accept_on`] over the hypervisor.
    ///
    /// # Errors
    /// Those of [`Owned::accept_on`].
    pub fn accept(peer: PeerHandle, key: u64) -> Result<Self> {
        Self::accept_on(&Hvc, peer, key)
    }
}

impl<'c, C: Conduit> Owned<'c, C> {
    /// Does the same as [`Owned::new`] over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of MEM.ALLOC.
    pub fn new_on(conduit: &'c C, pages: u64) -> Result<Self> {
        loop {
            if let Some(mem) = via::alloc(conduit, pages, MemoryType::Normal)?.mem {
                return Ok(Self { conduit, mem, pages });
            }
        }
    }

    /// Returns the handle, for calls that name the object.
    #[must_use]
    pub const fn handle(&self) -> MemHandle {
        self.mem
    }

    /// Returns the number of pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Maps all of the object at `address` in the current address space.
    ///
    /// # Errors
    /// The object and why: those of AS.MAP. What was mapped of it before the refusal is unmapped again.
    pub fn map(self, address: Ipa, attributes: Attributes) -> ::core::result::Result<Mapped<'c, C>, (Self, Error)> {
        Mapped::new(self.conduit, self, address, attributes)
    }

    /// Cuts the object into halves.
    ///
    /// # Errors
    /// The object and why: those of MEM.SPLIT.
    pub fn split(self) -> ::core::result::Result<(Self, Self), (Self, Error)> {
        let half = self.pages / 2;
        match via::split(self.conduit, self.mem, half * PAGE_SIZE) {
            Ok(second) => {
                let (conduit, mem, _) = self.take_apart();
                Ok((Self { conduit, mem, pages: half }, Self { conduit, mem: second, pages: half }))
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Offers the object to `peer`, with at most `rights`; both have it then, and `tag` tells the peer what it is for. An object
    /// that is mapped is offered by [`Mapped::share`].
    ///
    /// # Errors
    /// The object and why: those of SHARE.OFFER.
    pub fn share(self, peer: PeerHandle, rights: Attributes, tag: u64) -> GrantedOr<'c, C, Self> {
        Granted::new(self.conduit, self, peer, Terms { verb: Verb::Share, rights }, tag)
    }

    /// Offers the object to `peer`, with at most `rights`: from now on, and until it is back, this VM cannot map it.
    ///
    /// # Errors
    /// The object and why: those of SHARE.OFFER.
    pub fn lend(self, peer: PeerHandle, rights: Attributes, tag: u64) -> GrantedOr<'c, C, Self> {
        Granted::new(self.conduit, self, peer, Terms { verb: Verb::Lend, rights }, tag)
    }

    /// Offers the object to `peer` for good, with what is in it.
    ///
    /// # Errors
    /// The object and why: those of SHARE.OFFER.
    pub fn donate(self, peer: PeerHandle, tag: u64) -> ::core::result::Result<Donation<'c, C>, (Self, Error)> {
        let terms = Terms { verb: Verb::Donate, rights: Attributes::READ };
        Granted::new(self.conduit, self, peer, terms, tag).map(Donation)
    }

    /// Accepts what `peer` donates under `key`, or its first open offer when `key` is 0. What is no donation is given back.
    ///
    /// # Errors
    /// Those of SHARE.ACCEPT and MEM.INFO; SHARE.ACCEPT's `DENIED` when it is no donation.
    pub fn accept_on(conduit: &'c C, peer: PeerHandle, key: u64) -> Result<Self> {
        let taken = share::via::accept(conduit, peer, key, Attributes::empty())?;
        // It is borrowed until it is known to be the program's own: a drop gives back whichever it is.
        let taken = Borrowed::of(conduit, taken);
        if !via::info(conduit, taken.handle())?.state.contains(MemState::OWNED) {
            let error = strato_abi::Error::of(Code::Denied, 2, Reason::NotOwner, 0);
            return Err(Error { call: Call::ShareAccept, error, done: 0 });
        }
        let object = Self { conduit, mem: taken.handle(), pages: taken.pages() };
        forget(taken);
        Ok(object)
    }

    /// Gives the object back to the pool. Dropping it does the same.
    ///
    /// # Errors
    /// The object and why: those of MEM.FREE.
    pub fn free(self) -> ::core::result::Result<(), (Self, Error)> {
        match give_back(self.conduit, self.mem) {
            Ok(()) => {
                forget(self);
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }

    fn take_apart(self) -> (&'c C, MemHandle, u64) {
        let parts = (self.conduit, self.mem, self.pages);
        forget(self);
        parts
    }
}

/// An offer of an object, or the object and why there is none.
pub type GrantedOr<'c, C, M> = ::core::result::Result<Granted<'c, C, M>, (M, Error)>;

impl<C: Conduit> Object for Owned<'_, C> {
    const UNMAPS: bool = false;
    fn handle(&self) -> MemHandle {
        self.mem
    }
    fn pages(&self) -> u64 {
        self.pages
    }
}

pub(crate) fn give_back<C: Conduit>(conduit: &C, mem: MemHandle) -> Result<()> {
    while via::free(conduit, mem)?.left != 0 {}
    Ok(())
}

impl<C: Conduit> Drop for Owned<'_, C> {
    fn drop(&mut self) {
        // A refusal leaves the object to its handle; the end of the VM gives it back.
        let _ = give_back(self.conduit, self.mem);
    }
}
