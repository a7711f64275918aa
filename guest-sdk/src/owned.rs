//! Memory that the program owns: an object to allocate, map, cut and give back. Uses groups MEM and AS.
//!
//! [`Owned`] is an object that is mapped nowhere, [`Mapped`] one that is mapped once. Mapping takes the object in, so that no
//! second mapping of its pages comes about unseen, and what it shows is reached through a [`Window`], word by word, never by
//! reference. Both give everything back when dropped; [`Mapped::unmap`] and [`Owned::free`] say when that is refused.

use ::core::mem::forget;

use strato_abi::addr::PAGE_SIZE;
use strato_abi::address_space::Attributes;
use strato_abi::mem::MemoryType;
use strato_abi::{AddressSpaceHandle, Ipa, MemHandle};

use crate::conduit::Conduit;
use crate::error::Result;
use crate::mem::via;
use crate::memory::{Window, unmap_on};
use crate::{Error, Hvc, address_space};

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
        let mut done = 0;
        while done < self.pages {
            let (bytes, left) = (done * PAGE_SIZE, self.pages - done);
            let at = address.checked_add(bytes).unwrap_or(address);
            let here = AddressSpaceHandle::CURRENT;
            match address_space::via::map(self.conduit, here, at, self.mem, bytes, left, attributes) {
                Ok(mapped) => done += mapped.done.min(left),
                Err(error) => {
                    // These pages alone: behind them something else may be mapped.
                    let _ = unmap_on(self.conduit, address, done + error.done.min(left));
                    return Err((self, error));
                }
            }
        }
        let (conduit, mem, pages) = self.take_apart();
        Ok(Mapped { conduit, mem, pages, address })
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

fn give_back<C: Conduit>(conduit: &C, mem: MemHandle) -> Result<()> {
    while via::free(conduit, mem)?.left != 0 {}
    Ok(())
}

impl<C: Conduit> Drop for Owned<'_, C> {
    fn drop(&mut self) {
        // A refusal leaves the object to its handle; the end of the VM gives it back.
        let _ = give_back(self.conduit, self.mem);
    }
}

/// A memory object of the program's own, mapped as a whole at one place.
#[derive(Debug)]
pub struct Mapped<'c, C: Conduit = Hvc> {
    conduit: &'c C,
    mem: MemHandle,
    pages: u64,
    address: Ipa,
}

impl<'c, C: Conduit> Mapped<'c, C> {
    /// Returns the first address.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.address
    }

    /// Returns the way to touch the memory, or `None` when it overlaps the image. It may outlive the mapping: what is not
    /// mapped answers with a fault.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        Window::new(self.address, self.pages * PAGE_SIZE)
    }

    /// Unmaps the object and returns it.
    ///
    /// # Errors
    /// The mapping and why: those of AS.UNMAP.
    pub fn unmap(self) -> ::core::result::Result<Owned<'c, C>, (Self, Error)> {
        match unmap_on(self.conduit, self.address, self.pages) {
            Ok(()) => {
                let object = Owned { conduit: self.conduit, mem: self.mem, pages: self.pages };
                forget(self);
                Ok(object)
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl<C: Conduit> Drop for Mapped<'_, C> {
    fn drop(&mut self) {
        if unmap_on(self.conduit, self.address, self.pages).is_ok() {
            let _ = give_back(self.conduit, self.mem);
        }
    }
}
