//! The door: what a guest put into registers becomes checked values, once. Past it the type is the proof.

use strato_abi::addr::{IPA_BITS, PAGE_SIZE, WINDOW_BASE, WINDOW_SIZE};
use strato_abi::address_space::Attributes;
use strato_abi::error::{Code, Error, Reason};
use strato_abi::handle::{AddressSpaceHandle, Handle, PortHandle};
use strato_abi::{Ipa, Rights};

use super::CallError;
use crate::events::port::{FarEnd, Snapshot};
use crate::machine::Cx;
use crate::vcpu::{Context, Vcpu};
use crate::vm::handles::HandleError;
use crate::vm::{Inner, Vm};

/// Pages of an address space that a call may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// First address, page aligned, not in page 0 and not in the hypervisor's window.
    pub start: Ipa,
    /// Number of pages, 1 to 2^27; the range ends inside the address space.
    pub pages: u64,
}

/// Returns the pages `pages` (argument 5 or 3) from `start` (argument 2) on, checked against the address space's bounds.
///
/// # Errors
/// `INVALID` no pages; `MISALIGNED`; `OVERFLOW` past the end; `BAD_ADDR` page 0 or the hypervisor's window.
pub fn page_range(start: Ipa, pages: u64, pages_argument: u8) -> Result<PageRange, Error> {
    if pages == 0 {
        return Err(Error::of(Code::Invalid, pages_argument, Reason::TooSmall, 1));
    }
    if !start.is_page_aligned() {
        return Err(Error::of(Code::Misaligned, 2, Reason::Misaligned, PAGE_SIZE));
    }
    let limit = 1 << (IPA_BITS - 12);
    let first = start.bytes() / PAGE_SIZE;
    let Some(end) = first.checked_add(pages).filter(|&end| end <= limit) else {
        return Err(Error::of(Code::Overflow, pages_argument, Reason::PastEnd, limit.saturating_sub(first)));
    };
    let window = WINDOW_BASE / PAGE_SIZE;
    let is_reserved = first == 0 || (first < window + WINDOW_SIZE / PAGE_SIZE && end > window);
    if is_reserved {
        return Err(Error::of(Code::BadAddress, 2, Reason::Reserved, 0));
    }
    Ok(PageRange { start, pages })
}

/// Returns whether `page` lies neither in page 0 nor in the hypervisor's window: all above them is open, nearly all of an
/// address space.
#[inline(always)]
pub fn is_open(page: Ipa) -> bool {
    page.bytes() >= WINDOW_BASE + WINDOW_SIZE
}

/// Returns the byte offset (argument 4) of `pages` pages inside an object of `object_pages` pages.
///
/// # Errors
/// `MISALIGNED`; `OVERFLOW` when they do not all lie in the object.
pub fn page_offset(offset: u64, pages: u64, object_pages: u64) -> Result<u64, Error> {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Error::of(Code::Misaligned, 4, Reason::Misaligned, PAGE_SIZE));
    }
    let end = (offset / PAGE_SIZE).checked_add(pages);
    if end.is_none_or(|end| end > object_pages) {
        return Err(Error::of(Code::Overflow, 4, Reason::PastEnd, object_pages));
    }
    Ok(offset)
}

/// Checks that attributes are ones that a mapping can have: something is allowed, writing goes with reading, and not
/// writing with execution unless the VM may (`jit`).
///
/// # Errors
/// `BAD_ATTR`.
pub fn attributes(wanted: Attributes, argument: u8, may_write_execute: bool) -> Result<Attributes, Error> {
    if !wanted.contains(Attributes::READ) {
        return Err(Error::of(Code::BadAttribute, argument, Reason::TooSmall, Attributes::READ.bits()));
    }
    if wanted.contains(Attributes::WRITE | Attributes::EXECUTE) && !may_write_execute {
        return Err(Error::of(Code::BadAttribute, argument, Reason::WriteExecute, 0));
    }
    Ok(wanted)
}

/// Checks that `wanted` is no more than `rights` allow.
///
/// # Errors
/// `DENIED`, with the missing rights.
pub fn within_rights(wanted: Attributes, rights: Rights, argument: u8) -> Result<(), Error> {
    let missing = wanted.bits() & !u64::from(rights.bits());
    if missing == 0 { Ok(()) } else { Err(Error::of(Code::Denied, argument, Reason::NoRight, missing)) }
}

/// Returns the slot of the address space that argument 1 names, which may be the calling vCPU's current one.
///
/// # Errors
/// `BAD_HANDLE`, `STALE`, `WRONG_KIND`.
#[inline]
pub fn space(inner: &Inner, context: &Context, space: AddressSpaceHandle) -> Result<u8, CallError> {
    if space == AddressSpaceHandle::CURRENT {
        return Ok(context.space.slot);
    }
    inner.handles.space(space.0).map_err(|error| CallError::Handle(1, error))
}

/// Returns vCPU number `vcpu` of the caller's VM.
///
/// # Errors
/// `INVALID` when there is none.
pub fn vcpu(vm: &Vm, vcpu: u64, argument: u8) -> Result<(u8, &Vcpu), CallError> {
    vm.named_vcpu(vcpu).ok_or(CallError::of(Code::Invalid, argument, Reason::NoVcpu, u64::from(vm.vcpu_count())))
}

/// Returns the port that a handle names, and its word. Ports are found without the VM's lock: index and generation
/// stand in one word.
///
/// # Errors
/// `BAD_HANDLE` no such handle; `STALE` it is of another generation; `WRONG_KIND` it names no port.
#[inline(always)]
pub fn port(cx: &mut Cx<'_>, PortHandle(handle): PortHandle, argument: u8) -> Result<(u16, Snapshot), CallError> {
    let index = handle.index();
    let word = cx.vm.ports.masked(index.into()).read();
    if word.is_of(handle) { Ok((index, word)) } else { Err(no_port(cx, handle, argument)) }
}

/// Returns the other end of the port that a handle names.
///
/// # Errors
/// As [`port`]; `PEER_GONE` or `STATE` when it is not connected.
#[inline(always)]
pub fn connected(cx: &mut Cx<'_>, PortHandle(handle): PortHandle, argument: u8) -> Result<FarEnd, CallError> {
    let word = cx.vm.ports.masked(handle.index().into()).read();
    word.far_end(u64::from(handle.bits())).ok_or_else(|| unconnected(cx, PortHandle(handle), argument))
}

/// Returns why a port cannot be raised.
#[cold]
#[inline(never)]
fn unconnected(cx: &mut Cx<'_>, handle: PortHandle, argument: u8) -> CallError {
    match port(cx, handle, argument) {
        // The link may have changed since it was found not to be connected: then it never was.
        Ok((_, word)) if word.is_peer_gone() => CallError::of(Code::PeerGone, argument, Reason::None, 0),
        Ok(_) => CallError::of(Code::State, argument, Reason::None, 0),
        Err(error) => error,
    }
}

/// Returns why a handle names no port, which the table of handles knows.
#[cold]
#[inline(never)]
fn no_port(cx: &mut Cx<'_>, handle: Handle, argument: u8) -> CallError {
    let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
    CallError::Handle(argument, inner.handles.port(handle).err().unwrap_or(HandleError::Stale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, pages: u64) -> Result<PageRange, (Code, usize)> {
        page_range(Ipa::new(start).unwrap(), pages, 5).map_err(|error| (error.code, error.detail.argument()))
    }

    #[test]
    fn a_range_of_pages_is_checked_to_the_exact_boundary() {
        let top = 1u64 << IPA_BITS;
        assert_eq!(range(top - PAGE_SIZE, 1).map(|r| r.pages), Ok(1));
        assert_eq!(range(top - PAGE_SIZE, 2), Err((Code::Overflow, 5)));
        for pages in [u64::MAX, 1 << 63, 1 << 52, (1 << 27) + 1] {
            assert_eq!(range(0x4000_0000, pages), Err((Code::Overflow, 5)));
        }
        assert_eq!(range(0x4000_0000, 0), Err((Code::Invalid, 5)));
    }

    #[test]
    fn addresses_inside_a_page_are_misaligned() {
        for low in [1, 7, 8, 2048, 4095] {
            assert_eq!(range(0x4000_0000 + low, 1), Err((Code::Misaligned, 2)));
        }
    }

    #[test]
    fn page_zero_and_the_window_belong_to_nobody() {
        assert_eq!(range(0, 1), Err((Code::BadAddress, 2)));
        assert_eq!(range(WINDOW_BASE, 1), Err((Code::BadAddress, 2)));
        assert_eq!(range(WINDOW_BASE + WINDOW_SIZE - PAGE_SIZE, 1), Err((Code::BadAddress, 2)));
        assert_eq!(range(WINDOW_BASE - PAGE_SIZE, 2), Err((Code::BadAddress, 2)));
        assert!(range(WINDOW_BASE - PAGE_SIZE, 1).is_ok() && range(WINDOW_BASE + WINDOW_SIZE, 1).is_ok());
    }

    #[test]
    fn attributes_are_within_policy_and_rights() {
        let (r, w, x) = (Attributes::READ, Attributes::WRITE, Attributes::EXECUTE);
        assert_eq!(attributes(r | w | x, 6, false).unwrap_err().code, Code::BadAttribute);
        assert!(attributes(r | w | x, 6, true).is_ok());
        for refused in [Attributes::empty(), w, x, w | x] {
            assert_eq!(attributes(refused, 6, true).unwrap_err().code, Code::BadAttribute);
        }
        assert_eq!(within_rights(r | w, Rights::READ, 6).unwrap_err().detail.quantity(), 2);
        assert!(within_rights(r, Rights::READ | Rights::OWNER, 6).is_ok());
    }
}
