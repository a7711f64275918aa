//! Attaching: a plan record gives a VM a loaded segment, a shared region, a peer or a channel, before it starts. What takes time by the
//! byte or the page is done in parts.

use strato_abi::Ipa;
use strato_abi::addr::{PAGE_SIZE, RAM_BASE};
use strato_abi::address_space::Attributes;
use strato_abi::handle::{Handle, Kind as HandleKind, Rights};
use strato_abi::info_page::NAME_LEN;
use strato_abi::plan::{CreateRegion, DEVICE_FILTERED, GrantDevice, GrantRegion, Load, VM_JIT, VM_NATIVE};

use super::build::BuildError;
use super::handles::{DeviceRef, Flags, MemRef, Object, SchedRef};
use super::info::{self, Named};
use super::spaces;
use super::{Inner, Vm};
use crate::allocator::{Account, AllocError, Allocator, MemId, Owner};
use crate::arch::ram::Pa;
use crate::events::Link;
use crate::events::port::End;
use crate::memory::descriptor::{Attr, MemoryType};
use crate::memory::source::Charged;

/// A segment of the VM's image that is being loaded, or memory that is being shown to the VM at its start.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    id: MemId,
    /// Where it begins in the object, in bytes.
    offset: u64,
    base: Pa,
    address: u64,
    /// Its length in pages.
    pub pages: u64,
    attr: Attr,
    is_code: bool,
}

/// Returns the segment of `record`, after its place and its attributes were checked.
///
/// # Errors
/// [`BuildError`].
pub fn segment(vm: &Vm, inner: &Inner, record: &Load) -> Result<Part, BuildError> {
    let outside = BuildError::Record("expected a segment inside ram");
    let (_, ram) = inner.handles.next_mem(0).ok_or(BuildError::Record("expected a VM with ram"))?;
    let offset = record.address.checked_sub(RAM_BASE).filter(|offset| offset % PAGE_SIZE == 0).ok_or(outside)?;
    let pages = record.mem_len.div_ceil(PAGE_SIZE);
    let end = (offset / PAGE_SIZE).checked_add(pages).filter(|&end| end <= ram.pages);
    if end.is_none() || record.file_len > record.mem_len || pages == 0 {
        return Err(outside);
    }
    let rights =
        Attributes::from_bits(record.attributes).ok_or(BuildError::Record("expected attributes of a segment"))?;
    let is_jit = vm.flags & VM_JIT != 0;
    if rights.contains(Attributes::WRITE | Attributes::EXECUTE) && !is_jit {
        return Err(BuildError::Record("expected a segment that is not writable and executable"));
    }
    let base = ram.base.checked_add(offset).ok_or(outside)?;
    let (address, attr, is_code) =
        (record.address, attr(rights, ram.rights, is_jit)?, rights.contains(Attributes::EXECUTE));
    Ok(Part { id: ram.id, offset, base, address, pages, attr, is_code })
}

/// Copies `bytes` to byte `from` of the segment on, and makes them fit to be run, or to be read with caches off. Takes time by the byte.
///
/// # Errors
/// [`BuildError`].
pub fn fill(vm: &Vm, part: &Part, from: u64, bytes: &[u8], allocator: &Allocator) -> Result<(), BuildError> {
    let outside = BuildError::Record("expected a segment inside ram");
    let at = part.offset.checked_add(from).and_then(|at| usize::try_from(at).ok()).ok_or(outside)?;
    let frames = allocator.mem_frames(part.id).ok_or(AllocError::Stale)?;
    if !frames.write(at, bytes) {
        return Err(outside);
    }
    if part.is_code {
        frames.publish_code(at, bytes.len());
    } else if vm.flags & VM_NATIVE != 0 {
        frames.publish(at, bytes.len()); // it reads with its caches off at first
    }
    Ok(())
}

/// Maps pages of `part` from page `done` on in the VM's first address space, as many as one call maps. Returns how many are mapped then.
///
/// # Errors
/// [`BuildError`].
pub fn show(inner: &mut Inner, part: &Part, done: u64, allocator: &mut Allocator) -> Result<u64, BuildError> {
    let outside = BuildError::Record("expected address");
    let space = inner.spaces.get_mut(spaces::FIRST).ok_or(BuildError::Full)?;
    let at = part.address.checked_add(done << 12).and_then(Ipa::new).ok_or(outside)?;
    let pa = part.base.checked_add(done << 12).ok_or(outside)?;
    let left = part.pages.saturating_sub(done);
    let mut source = Charged::new(allocator, &mut inner.account, || false);
    let mapped = space.map(at, pa, left, part.attr, &mut source)?.pages;
    allocator.mem_add_mapped(part.id, u32::try_from(mapped).map_err(|_| outside)?)?;
    Ok(done.saturating_add(mapped))
}

/// Returns the order of the shared region of `record`.
///
/// # Errors
/// [`BuildError`].
pub fn region_order(record: &CreateRegion) -> Result<u32, BuildError> {
    if !record.size.is_power_of_two() || record.size < PAGE_SIZE {
        return Err(BuildError::Record("expected size of a region"));
    }
    Ok((record.size / PAGE_SIZE).trailing_zeros())
}

/// Gives the VM a handle to a shared region, and the region itself when it is the owner's and nobody's yet, or no more. Returns what is to be mapped, if `record` says where.
///
/// # Errors
/// [`BuildError`].
pub fn grant(
    vm: &Vm,
    inner: &mut Inner,
    record: &GrantRegion,
    id: MemId,
    (allocator, own): (&mut Allocator, &mut Account),
) -> Result<Option<Part>, BuildError> {
    let info = allocator.mem_info(id).ok_or(AllocError::Stale)?;
    let rights = Rights::from_bits(record.rights).ok_or(BuildError::Record("expected rights of a region"))?;
    let object = Object::Mem(MemRef { id, base: info.base, pages: info.pages, rights, flags: Flags::empty() });
    let handle = inner.handles.insert(object, vm.handle_limit).map_err(|_| BuildError::Full)?;
    allocator.mem_add_reference(id)?;
    if rights.contains(Rights::OWNER) && info.owner == Owner::Hypervisor {
        allocator.mem_hand_over(id, own, &mut inner.account)?;
    }
    if vm.rule.restarts() {
        allocator.promise(record.region.into(), vm.place);
    }
    allocator.keep_for(record.region.into(), info.base);
    let (address, size) = (record.address, info.pages << 12);
    announce(vm, Named { handle, kind: HandleKind::Mem, rights: rights.bits(), size, address, name: record.name })?;
    if address == 0 {
        return Ok(None);
    }
    let wanted = Attributes::from_bits_truncate(u64::from(record.rights));
    let attr = attr(wanted, rights, vm.flags & VM_JIT != 0)?;
    Ok(Some(Part { id, offset: 0, base: info.base, address, pages: info.pages, attr, is_code: false }))
}

/// Gives the VM a handle to the peer in `place`, in this incarnation; 0 is one that is not there.
///
/// # Errors
/// [`BuildError::Full`].
pub fn peer(
    vm: &Vm,
    inner: &mut Inner,
    (place, incarnation): (u8, u32),
    name: [u8; NAME_LEN],
) -> Result<(), BuildError> {
    let object = Object::Peer { place, incarnation };
    let handle = inner.handles.insert(object, vm.handle_limit).map_err(|_| BuildError::Full)?;
    announce(vm, Named { handle, kind: HandleKind::Peer, rights: 0, size: 0, address: 0, name })
}

/// Gives the VM a handle to registers of a device, which it maps by itself.
///
/// # Errors
/// [`BuildError`].
pub fn device(vm: &Vm, inner: &mut Inner, record: &GrantDevice) -> Result<(), BuildError> {
    let outside = BuildError::Record("expected registers inside the address space");
    let base = Pa::new(record.address).ok_or(outside)?;
    let pages = u32::try_from(record.size / PAGE_SIZE).map_err(|_| outside)?;
    let object = Object::Device(DeviceRef { base, pages, is_filtered: record.flags & DEVICE_FILTERED != 0 });
    let handle = inner.handles.insert(object, vm.handle_limit).map_err(|_| BuildError::Full)?;
    let rights = (Rights::READ | Rights::WRITE).bits();
    announce(vm, Named { handle, kind: HandleKind::Device, rights, size: record.size, address: 0, name: record.name })
}

/// Gives the VM a handle to the interrupt `line` of a device, and a port that it can raise, which leads to itself.
///
/// # Errors
/// [`BuildError`].
pub fn interrupt(vm: &Vm, inner: &mut Inner, line: u8, name: [u8; NAME_LEN]) -> Result<(), BuildError> {
    let handle = inner.handles.insert(Object::Irq(line), vm.handle_limit).map_err(|_| BuildError::Full)?;
    announce(vm, Named { handle, kind: HandleKind::Irq, rights: 0, size: 0, address: 0, name })?;
    let port = port(vm, inner, 0, name)?;
    connect(vm, port, vm, port);
    Ok(())
}

/// Gives the VM a handle to a share of a core's time, for which there is a reservation on that core.
///
/// # Errors
/// [`BuildError`].
pub fn sched(vm: &Vm, inner: &mut Inner, sched: SchedRef, name: [u8; NAME_LEN]) -> Result<(), BuildError> {
    let handle = inner.handles.insert(Object::Sched(sched), vm.handle_limit).map_err(|_| BuildError::Full)?;
    announce(vm, Named { handle, kind: HandleKind::Sched, rights: 0, size: sched.budget, address: sched.period, name })
}

/// Takes a port of the VM for a channel; [`connect`] gives it its other end.
///
/// # Errors
/// [`BuildError`].
pub fn port(vm: &Vm, inner: &mut Inner, vcpu: u16, name: [u8; NAME_LEN]) -> Result<Handle, BuildError> {
    let vcpu = u8::try_from(vcpu)
        .ok()
        .filter(|&vcpu| vm.vcpu(vcpu).is_some())
        .ok_or(BuildError::Record("expected vCPU of a port"))?;
    let handle = inner.handles.insert(Object::Port, vm.handle_limit).map_err(|_| BuildError::Full)?;
    if let Some(port) = vm.ports.get(usize::from(handle.index())) {
        port.open(handle, vcpu, Link::PeerGone);
    }
    announce(vm, Named { handle, kind: HandleKind::Port, rights: 0, size: 0, address: 0, name })?;
    Ok(handle)
}

/// Makes the port `near` of `vm` lead to the port `far` of `peer`.
pub fn connect(vm: &Vm, near: Handle, peer: &Vm, far: Handle) {
    if let Some(port) = vm.ports.get(usize::from(near.index())) {
        let end = End { vm: peer.place, incarnation: peer.incarnation, port: far.index() };
        port.open(near, port.binding().vcpu(), Link::Connected(end));
    }
}

fn announce(vm: &Vm, named: Named) -> Result<(), BuildError> {
    let [page, _] = &vm.pages;
    if info::add(page.frames(), &named) { Ok(()) } else { Err(BuildError::Full) }
}

/// Makes what a guest is told about itself visible to one that reads it with its caches off. The last step before a start.
pub fn publish(vm: &Vm) {
    if vm.flags & VM_NATIVE != 0 {
        let [page, _] = &vm.pages;
        page.frames().publish(0, page.frames().bytes());
    }
}

/// Returns the attributes of a mapping with `rights` by a handle that allows `most`.
fn attr(rights: Attributes, most: Rights, jit: bool) -> Result<Attr, BuildError> {
    let most = Attributes::from_bits_truncate(u64::from(most.bits()));
    Attr::new(rights, MemoryType::Normal, jit)
        .map(|attr| attr.up_to(most))
        .map_err(|_| BuildError::Record("expected rights of a mapping"))
}
