//! Audit: whether a VM reaches nothing but what is its own and what it was given. Called by the reaper of checked images and
//! by tests, with the VM locked; takes time by the mapping, and changes nothing.

use strato_abi::handle::Rights;

use super::Inner;
use super::handles::{Flags, MemRef};
use super::spaces::SPACES_MAX;
use crate::allocator::{Allocator, Kind, Owner};
use crate::arch::ram::Pa;
use crate::arch::region::PAGE;
use crate::memory::stage2::AddressSpace;

/// What registers of devices are mapped with at most.
const DEVICE_RIGHTS: u64 = Rights::READ.union(Rights::WRITE).bits() as u64;

/// Memory that is mapped and that nothing lets the VM map: a bug of the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The guest-physical address, in bytes.
    pub ipa: u64,
    /// What is mapped there, in bytes.
    pub pa: u64,
}

/// Checks everything that the VM in `place` maps, in each of its address spaces: a page is the hypervisor's own for this VM, or
/// lies in a living object or among registers that a handle of the VM names, with no more rights than the handle has.
///
/// # Errors
/// The first page of which this is not true.
pub fn audit(place: u8, inner: &Inner, allocator: &Allocator) -> Result<(), Stray> {
    let slots = (0..SPACES_MAX).filter_map(|slot| u8::try_from(slot).ok());
    // One that is being ended is on no core.
    let mut spaces = slots.filter_map(|slot| inner.spaces.get(slot)).filter(|space| !space.is_dying());
    spaces.try_for_each(|space| walk(place, inner, space, allocator))
}

fn walk(place: u8, inner: &Inner, space: &AddressSpace, allocator: &Allocator) -> Result<(), Stray> {
    let mut at = 0;
    while let Some(found) = space.stretch_from(at) {
        let (start, end) = (found.start.bytes(), found.start.bytes().saturating_add(found.bytes));
        let (mut ipa, rights) = (start, found.attr.rights().bits());
        while ipa < end {
            let stray = Stray { ipa, pa: found.pa.bytes().saturating_add(ipa.saturating_sub(start)) };
            let pa = found.pa.checked_add(ipa.saturating_sub(start)).ok_or(stray)?;
            // To the end of what allows it: the rest of the stretch may be of another object.
            let pages = allowed(place, inner, pa, rights, allocator).filter(|&pages| pages > 0).ok_or(stray)?;
            ipa = ipa.saturating_add(pages.saturating_mul(PAGE));
        }
        at = end;
    }
    Ok(())
}

/// Returns the pages from `pa` on that the VM may map with `rights`, or `None`.
fn allowed(place: u8, inner: &Inner, pa: Pa, rights: u64, allocator: &Allocator) -> Option<u64> {
    let past = |base: Pa| pa.frame().wrapping_sub(base.frame());
    let Some(extent) = allocator.extent_of(pa) else { return registers(inner, pa, rights) };
    match (extent.kind, extent.owner) {
        (Kind::Object, Owner::Vm(owner)) if owner == u16::from(place) => extent.pages.checked_sub(past(extent.base)),
        (Kind::Mem, Owner::Vm(_) | Owner::Hypervisor) => {
            let is_living = |mem: &MemRef| allocator.mem_info(mem.id).is_some();
            let allows = |mem: &MemRef| {
                past(mem.base) < mem.pages
                    && !mem.flags.intersects(Flags::OVER | Flags::LENT)
                    && rights & !u64::from(mem.rights.bits()) == 0
                    && is_living(mem)
            };
            let mem = memory(inner).find(allows)?;
            mem.pages.checked_sub(past(mem.base))
        }
        _ => None,
    }
}

/// Returns the pages from `pa`, which is no memory, on that the VM may map with `rights`: registers of a device that it was given.
fn registers(inner: &Inner, pa: Pa, rights: u64) -> Option<u64> {
    let (_, device) = inner.handles.find_device(pa, u16::MAX)?;
    let past = pa.frame().wrapping_sub(device.base.frame());
    if rights & !DEVICE_RIGHTS == 0 { u64::from(device.pages).checked_sub(past) } else { None }
}

/// Returns all memory that handles of the VM name.
fn memory(inner: &Inner) -> impl Iterator<Item = MemRef> + '_ {
    let next = |from: u16| inner.handles.next_mem(from);
    core::iter::successors(next(0), move |(handle, _)| next(handle.index().saturating_add(1))).map(|(_, mem)| mem)
}
