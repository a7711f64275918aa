//! Group AS: the guest's MMU. One function per call; [`memory`](crate::memory) has the forms that loop over any count.
//!
//! The functions are safe, though a guest can pull pages from under its own program with them: they change the machine
//! that the program runs on, not the program's values, and what then goes wrong is a fault. Rust's rules about memory are
//! kept as long as no page of the image is replaced by another one, or mapped a second time and written there:
//! [`memory`](crate::memory), [`Space`](crate::Space) and [`Mapped`](crate::Mapped) refuse both, these functions leave it to you.

use strato_abi::address_space::{Attributes, LastFault, UnmapFlags};
use strato_abi::call::{AsCreate, AsDestroy, AsMap, AsProtect, AsQuery, AsSwitch, AsSync, AsUnmap};
use strato_abi::{AddressSpaceHandle, Code, Ipa, MemHandle};

use crate::Hvc;
use crate::conduit::{Conduit, wrappers};
use crate::error::Result;
use crate::mem::Step;

/// What AS.MAP did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Level of the last leaf: 3 for a page, 2 for a block of 2 MiB.
    pub level: u64,
    /// Pages that were mapped; the rest needs another call.
    pub done: u64,
}

/// What AS.QUERY found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The object.
    pub mem: MemHandle,
    /// Bytes into the object.
    pub offset: u64,
    /// Permissions.
    pub attributes: Attributes,
    /// Level of the leaf.
    pub level: u64,
    /// Why the address last faulted; `None` for a reason of a later version.
    pub fault: Option<LastFault>,
}

/// Returns why an access to the page of `address` in the current address space was last refused: what AS.QUERY says of it,
/// mapped or not. `None` stands for a reason of a later version.
///
/// # Errors
/// Those of [`query`], but for `NOT_MAPPED`, which tells the reason too.
pub fn last_fault(address: Ipa) -> Result<Option<LastFault>> {
    last_fault_on(&Hvc, address)
}

/// Does the same as [`last_fault`] over a conduit of the caller's choice.
///
/// # Errors
/// Those of [`last_fault`].
pub fn last_fault_on<C: Conduit + ?Sized>(conduit: &C, address: Ipa) -> Result<Option<LastFault>> {
    match via::query(conduit, AddressSpaceHandle::CURRENT, address) {
        Ok(mapping) => Ok(mapping.fault),
        Err(error) if error.code() == Code::NotMapped => Ok(reason(error.error.detail.quantity())),
        Err(error) => Err(error),
    }
}

const fn reason(number: u64) -> Option<LastFault> {
    Some(match number {
        0 => LastFault::None,
        1 => LastFault::Translation,
        2 => LastFault::Permission,
        3 => LastFault::Revoked,
        _ => return None,
    })
}

wrappers! {
    /// Maps `pages` pages of `mem`, from `offset` bytes on, at `address` (AS.MAP).
    ///
    /// # Errors
    /// `BAD_ADDR`, `MISALIGNED`, `OVERFLOW`, `EXISTS`, `BAD_ATTR`, `DENIED`, `STATE`, `REVOKED`, `FULL`, `QUOTA`, `NO_MEMORY`, handle errors.
    fn map(
        space: AddressSpaceHandle, address: Ipa, mem: MemHandle, offset: u64, pages: u64, attributes: Attributes,
    ) -> Mapped = AsMap { space, address, mem, offset, pages, attributes },
        |reply| Mapped { level: reply.level, done: reply.done };
    /// Unmaps `pages` pages at `address` and returns how many were done; no vCPU reaches those any more (AS.UNMAP).
    ///
    /// # Errors
    /// `BAD_ADDR`, `MISALIGNED`, `OVERFLOW`, `NOT_MAPPED`, `STATE`, `NO_MEMORY`, `QUOTA`, handle errors.
    fn unmap(space: AddressSpaceHandle, address: Ipa, pages: u64, flags: UnmapFlags) -> u64 =
        AsUnmap { space, address, pages, flags }, |reply| reply.done;
    /// Gives `pages` mapped pages at `address` other permissions and returns how many were done (AS.PROTECT).
    ///
    /// # Errors
    /// Those of [`unmap`], `BAD_ATTR`, `DENIED`.
    fn protect(space: AddressSpaceHandle, address: Ipa, pages: u64, attributes: Attributes, flags: UnmapFlags) -> u64 =
        AsProtect { space, address, pages, attributes, flags }, |reply| reply.done;
    /// Returns what is mapped at `address` (AS.QUERY).
    ///
    /// # Errors
    /// `BAD_ADDR`, `NOT_MAPPED`, handle errors.
    fn query(space: AddressSpaceHandle, address: Ipa) -> Mapping = AsQuery { space, address }, |reply| Mapping {
        mem: reply.mem,
        offset: reply.offset,
        attributes: reply.attributes,
        level: reply.level,
        fault: reason(reply.fault),
    };
    /// Returns a new address space in which only the hypervisor's window is mapped (AS.CREATE).
    ///
    /// # Errors
    /// `FULL`, `QUOTA`, `NO_MEMORY`.
    fn create() -> AddressSpaceHandle = AsCreate {}, |reply| reply.space;
    /// Does a step towards the end of `space` (AS.DESTROY).
    ///
    /// # Errors
    /// `BUSY` it is the current one of a vCPU; `DENIED` it is the VM's first; handle errors.
    fn destroy(space: AddressSpaceHandle) -> Step = AsDestroy { space },
        |reply| Step { left: reply.left, done: reply.done };
    /// Makes `space` the current one of the calling vCPU and returns the one before (AS.SWITCH).
    ///
    /// # Errors
    /// `STATE` it is being ended; handle errors.
    fn switch(space: AddressSpaceHandle) -> AddressSpaceHandle = AsSwitch { space }, |reply| reply.previous;
    /// Completes what calls with `NO_SYNC` left to be invalidated in `space` (AS.SYNC).
    ///
    /// # Errors
    /// `STATE` it is being ended; handle errors.
    fn sync(space: AddressSpaceHandle) -> () = AsSync { space }, |_| ();
}
