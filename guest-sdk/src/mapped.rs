//! A memory object that is mapped as a whole, at one place. Uses group AS.
//!
//! Mapping takes the object in, so that no second mapping of its pages comes about unseen, and what it shows is reached
//! through a [`Window`], word by word, never by reference: another mapping, vCPU or VM may write it at any time.

use ::core::mem::forget;

use strato_abi::addr::PAGE_SIZE;
use strato_abi::address_space::Attributes;
use strato_abi::{AddressSpaceHandle, Ipa, MemHandle};

use crate::address_space::via::map;
use crate::conduit::Conduit;
use crate::memory::{Window, unmap_on};
use crate::{Error, Hvc, Owned, address_space, image};

mod sealed {
    pub trait Sealed {}
    impl<C: crate::Conduit> Sealed for crate::Owned<'_, C> {}
    impl<C: crate::Conduit> Sealed for crate::Borrowed<'_, C> {}
}

/// A memory object that can be mapped: [`Owned`], or [`Borrowed`](crate::Borrowed). Dropping it gives it back.
pub trait Object: sealed::Sealed {
    /// Whether giving it back unmaps it.
    const UNMAPS: bool;
    /// Returns the handle, for calls that name the object.
    fn handle(&self) -> MemHandle;
    /// Returns the number of pages.
    fn pages(&self) -> u64;
}

/// Where something is mapped.
#[derive(Debug)]
struct Place<'c, C: Conduit> {
    conduit: &'c C,
    address: Ipa,
    pages: u64,
    /// Whether a drop unmaps.
    unmaps: bool,
}

impl<C: Conduit> Drop for Place<'_, C> {
    fn drop(&mut self) {
        if self.unmaps {
            // A refusal leaves the mapping, and then giving the object back is refused as well.
            let _ = unmap_on(self.conduit, self.address, self.pages);
        }
    }
}

/// A memory object, mapped as a whole at one place. Dropping it unmaps the object and gives it back.
#[derive(Debug)]
pub struct Mapped<'c, C: Conduit = Hvc, O: Object = Owned<'c, C>> {
    // The order matters: fields are dropped from the first one on.
    place: Place<'c, C>,
    object: O,
}

impl<'c, C: Conduit, O: Object> Mapped<'c, C, O> {
    /// Maps all of `object` at `address` in the current address space.
    #[inline(always)]
    pub(crate) fn new(conduit: &'c C, object: O, address: Ipa, attributes: Attributes) -> Result<Self, (O, Error)> {
        let (mem, pages) = (object.handle(), object.pages());
        let first = match image::check_place(address, pages) {
            Ok(()) => map(conduit, AddressSpaceHandle::CURRENT, address, mem, 0, pages, attributes),
            Err(error) => return Err((object, error)),
        };
        // One call does what most objects have.
        let is_done = first.as_ref().is_ok_and(|mapped| mapped.done >= pages);
        if !is_done && let Err(error) = map_rest(conduit, mem, address, pages, attributes, first) {
            return Err((object, error));
        }
        Ok(Self { place: Place { conduit, address, pages, unmaps: !O::UNMAPS }, object })
    }

    pub(crate) const fn conduit(&self) -> &'c C {
        self.place.conduit
    }

    /// Returns the first address.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.place.address
    }

    /// Returns the object, which stays mapped.
    #[must_use]
    pub const fn object(&self) -> &O {
        &self.object
    }

    /// Returns the way to touch the memory, or `None` when it overlaps the image. It may outlive the mapping: what is not
    /// mapped answers with a fault.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        Window::new(self.place.address, self.place.pages * PAGE_SIZE)
    }

    /// Unmaps the object and returns it.
    ///
    /// # Errors
    /// The mapping and why: those of AS.UNMAP; `NOT_MAPPED` for borrowed memory that was taken back.
    pub fn unmap(self) -> Result<O, (Self, Error)> {
        match unmap_on(self.place.conduit, self.place.address, self.place.pages) {
            Ok(()) => {
                let Self { place, object } = self;
                forget(place);
                Ok(object)
            }
            Err(error) => Err((self, error)),
        }
    }
}

/// Maps what the first call left of an object, or takes back what was mapped of it before the refusal.
#[cold]
fn map_rest<C: Conduit>(
    conduit: &C,
    mem: MemHandle,
    address: Ipa,
    pages: u64,
    attributes: Attributes,
    first: crate::Result<address_space::Mapped>,
) -> crate::Result<()> {
    let (mut done, mut step) = (0, first);
    loop {
        let left = pages - done;
        match step {
            Ok(mapped) => done += mapped.done.min(left),
            Err(error) => {
                // These pages alone: behind them something else may be mapped.
                let _ = unmap_on(conduit, address, done + error.done.min(left));
                return Err(error);
            }
        }
        if done == pages {
            return Ok(());
        }
        let (bytes, left) = (done * PAGE_SIZE, pages - done);
        let at = address.checked_add(bytes).unwrap_or(address);
        step = map(conduit, AddressSpaceHandle::CURRENT, at, mem, bytes, left, attributes);
    }
}
