//! Mapping any number of pages, and access to memory outside the image. Uses group AS; [`Window`] is the way to touch.

use ::core::fmt;
use ::core::ops::Range;

use strato_abi::addr::{PAGE_SIZE, RAM_BASE};
use strato_abi::address_space::{Attributes, UnmapFlags};
use strato_abi::{AddressSpaceHandle, Ipa, MemHandle};

use crate::address_space::via;
use crate::conduit::Conduit;
use crate::error::Result;
use crate::fault::Fault;
use crate::{Hvc, Info, arch, image};

/// Readable.
pub const READ: Attributes = Attributes::READ;
/// Readable and writable.
pub const READ_WRITE: Attributes = Attributes::READ.union(Attributes::WRITE);

/// Calls `step` with the pages done so far and those left until all are done; `step` returns how many it did.
pub(crate) fn all(pages: u64, mut step: impl FnMut(u64, u64) -> Result<u64>) -> Result<()> {
    let mut done = 0;
    while done < pages {
        let left = pages - done;
        done += step(done, left)?.min(left);
    }
    Ok(())
}

/// Returns the address `pages` pages behind `address`. One beyond the address space is left to the call to refuse.
fn behind(address: Ipa, pages: u64) -> Ipa {
    address.checked_add(pages.saturating_mul(PAGE_SIZE)).unwrap_or(address)
}

/// Maps `pages` pages of `mem`, from `offset` bytes on, at `address`, over a conduit of the caller's choice.
///
/// # Errors
/// Those of AS.MAP; the pages before the refused one stay mapped. `BAD_ADDR` where something else would stand in the place of the
/// program, or its pages could be written at another one.
#[inline(always)]
pub fn map_on<C: Conduit + ?Sized>(
    conduit: &C,
    mem: MemHandle,
    offset: u64,
    address: Ipa,
    pages: u64,
    attributes: Attributes,
) -> Result<()> {
    image::check(mem, offset, address, pages, attributes)?;
    if pages == 1 {
        // A call that succeeds does one page at least: no need to look how many.
        return via::map(conduit, AddressSpaceHandle::CURRENT, address, mem, offset, 1, attributes).map(drop);
    }
    all(pages, |done, left| {
        let offset = offset.saturating_add(done.saturating_mul(PAGE_SIZE));
        let at = behind(address, done);
        via::map(conduit, AddressSpaceHandle::CURRENT, at, mem, offset, left, attributes).map(|mapped| mapped.done)
    })
}

/// Unmaps `pages` pages at `address`, over a conduit of the caller's choice.
///
/// # Errors
/// Those of AS.UNMAP; the pages before the refused one stay unmapped.
pub fn unmap_on<C: Conduit + ?Sized>(conduit: &C, address: Ipa, pages: u64) -> Result<()> {
    all(pages, |done, left| {
        via::unmap(conduit, AddressSpaceHandle::CURRENT, behind(address, done), left, UnmapFlags::empty())
    })
}

/// Gives `pages` pages at `address` other permissions, over a conduit of the caller's choice.
///
/// # Errors
/// Those of AS.PROTECT; the pages before the refused one keep the new permissions.
pub fn protect_on<C: Conduit + ?Sized>(conduit: &C, address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
    all(pages, |done, left| {
        let at = behind(address, done);
        via::protect(conduit, AddressSpaceHandle::CURRENT, at, left, attributes, UnmapFlags::empty())
    })
}

/// Maps `pages` pages of `mem`, from `offset` bytes on, at `address`.
///
/// # Errors
/// Those of [`map_on`].
#[inline(always)]
pub fn map(mem: MemHandle, offset: u64, address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
    map_on(&Hvc, mem, offset, address, pages, attributes)
}

/// Unmaps `pages` pages at `address`.
///
/// # Errors
/// Those of AS.UNMAP; the pages before the refused one stay unmapped.
pub fn unmap(address: Ipa, pages: u64) -> Result<()> {
    unmap_on(&Hvc, address, pages)
}

/// Gives `pages` pages at `address` other permissions.
///
/// # Errors
/// Those of AS.PROTECT; the pages before the refused one keep the new permissions.
pub fn protect(address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
    protect_on(&Hvc, address, pages, attributes)
}

/// Maps `pages` pages of the VM's own RAM at `address`, where every page of RAM belongs: `ram` starts at its base.
///
/// # Errors
/// Those of AS.MAP.
pub fn map_ram(ram: MemHandle, address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
    map(ram, address.bytes().saturating_sub(RAM_BASE), address, pages, attributes)
}

/// Returns the addresses of RAM behind the image: whole pages, unmapped until the guest maps them.
#[must_use]
pub fn free_ram(info: &Info) -> Range<u64> {
    let ram = info.ram();
    arch::image_range().end.next_multiple_of(PAGE_SIZE).min(ram.end)..ram.end
}

/// Addresses outside the image that the guest touches word by word; what is not mapped there answers with the fault.
///
/// It never hands out a reference, so it serves for memory that another VM, vCPU or mapping writes: loads acquire and stores
/// release, and the forms that order nothing say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    base: Ipa,
    bytes: u64,
}

/// An access that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// The offset is not that of an aligned word in the window.
    Outside,
    /// The access was refused.
    Fault(Fault),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("no aligned word of the window"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl ::core::error::Error for AccessError {}

impl Window {
    /// Returns the window of `bytes` bytes at `base`, or `None` when it overlaps the image or leaves the address space.
    #[must_use]
    pub fn new(base: Ipa, bytes: u64) -> Option<Self> {
        let last = base.checked_add(bytes.checked_sub(1)?)?;
        let image = arch::image_range();
        let apart = last.bytes() < image.start || base.bytes() >= image.end;
        (apart && base.bytes().is_multiple_of(8)).then_some(Self { base, bytes })
    }

    /// Returns the first address.
    #[must_use]
    pub const fn base(&self) -> Ipa {
        self.base
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline(always)]
    fn words(&self, offset: u64, count: usize) -> ::core::result::Result<Ipa, AccessError> {
        let end = (count as u64).checked_mul(8).and_then(|bytes| offset.checked_add(bytes));
        let end = end.filter(|&end| end <= self.bytes && offset.is_multiple_of(8));
        end.and_then(|_| self.base.checked_add(offset)).ok_or(AccessError::Outside)
    }

    /// Returns the word `offset` bytes into the window.
    ///
    /// # Errors
    /// `Outside`, or the fault that the load took.
    #[inline(always)]
    pub fn load(&self, offset: u64) -> ::core::result::Result<u64, AccessError> {
        arch::load(self.words(offset, 1)?).map_err(AccessError::Fault)
    }

    /// Stores `value` in the word `offset` bytes into the window.
    ///
    /// # Errors
    /// `Outside`, or the fault that the store took.
    #[inline(always)]
    pub fn store(&self, offset: u64, value: u64) -> ::core::result::Result<(), AccessError> {
        arch::store(self.words(offset, 1)?, value).map_err(AccessError::Fault)
    }

    /// Returns the word `offset` bytes into the window, in no order with other accesses.
    ///
    /// # Errors
    /// Those of [`Window::load`].
    #[inline(always)]
    pub fn load_relaxed(&self, offset: u64) -> ::core::result::Result<u64, AccessError> {
        arch::peek(self.words(offset, 1)?).map_err(AccessError::Fault)
    }

    /// Stores `value` in the word `offset` bytes into the window, in no order with other accesses.
    ///
    /// # Errors
    /// Those of [`Window::store`].
    #[inline(always)]
    pub fn store_relaxed(&self, offset: u64, value: u64) -> ::core::result::Result<(), AccessError> {
        arch::poke(self.words(offset, 1)?, value).map_err(AccessError::Fault)
    }

    /// Reads `into.len()` words, each once, in no order with other accesses. After a fault some of them were read.
    ///
    /// # Errors
    /// Those of [`Window::load`].
    #[inline(always)]
    pub fn read(&self, offset: u64, into: &mut [u64]) -> ::core::result::Result<(), AccessError> {
        arch::read(self.words(offset, into.len())?, into).map_err(AccessError::Fault)
    }

    /// Writes `from.len()` words, each once, in no order with other accesses. After a fault some of them were written.
    ///
    /// # Errors
    /// Those of [`Window::store`].
    #[inline(always)]
    pub fn write(&self, offset: u64, from: &[u64]) -> ::core::result::Result<(), AccessError> {
        arch::write(self.words(offset, from.len())?, from).map_err(AccessError::Fault)
    }

    /// Copies `words` words from `source`, each once, in no order with other accesses; each window counts from its offset on. After a
    /// fault some of them were copied.
    ///
    /// # Errors
    /// Those of [`Window::load`] and [`Window::store`].
    #[inline(always)]
    pub fn copy_from(
        &self,
        offset: u64,
        source: &Self,
        source_offset: u64,
        words: usize,
    ) -> ::core::result::Result<(), AccessError> {
        let (from, to) = (source.words(source_offset, words)?, self.words(offset, words)?);
        arch::copy_words(from, to, words).map_err(AccessError::Fault)
    }
}
