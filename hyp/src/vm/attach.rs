//! Attaching: a plan record gives a VM a loaded segment, a shared region, a peer or a channel, before it starts.

use strato_abi::Ipa;
use strato_abi::addr::{PAGE_SIZE, RAM_BASE};
use strato_abi::address_space::Attributes;
use strato_abi::handle::{Handle, Kind as HandleKind, Rights};
use strato_abi::info_page::NAME_LEN;
use strato_abi::plan::{CreateRegion, GrantDevice, GrantRegion, Load, VM_JIT, VM_NATIVE};

use super::build::BuildError;
use super::handles::{DeviceRef, Flags, MemRef, Object, SchedRef};
use super::info::{self, Named};
use super::spaces::{self, Spaces};
use super::{Inner, Vm};
use crate::allocator::{AllocError, Allocator, MemId};
use crate::arch::ram::Pa;
use crate::events::Link;
use crate::events::port::End;
use crate::memory::descriptor::{Attr, MemoryType};
use crate::memory::source::{Charged, TableSource};

/// Copies `bytes` into the VM's memory and maps the pages that `record` describes.
///
/// # Errors
/// [`BuildError`].
pub fn load(
    vm: &Vm,
    inner: &mut Inner,
    record: &Load,
    bytes: &[u8],
    allocator: &mut Allocator,
) -> Result<(), BuildError> {
    let outside = BuildError::Record("expected a segment inside ram");
    let ram = inner.handles.mem(Handle::new(0, 1)).map_err(|_| BuildError::Record("expected a VM with ram"))?;
    let offset = record.address.checked_sub(RAM_BASE).filter(|offset| offset % PAGE_SIZE == 0).ok_or(outside)?;
    let pages = record.mem_len.div_ceil(PAGE_SIZE);
    let end = (offset / PAGE_SIZE).checked_add(pages).filter(|&end| end <= ram.pages);
    if end.is_none() || bytes.len() as u64 > record.mem_len || pages == 0 {
        return Err(outside);
    }
    let rights =
        Attributes::from_bits(record.attributes).ok_or(BuildError::Record("expected attributes of a segment"))?;
    if rights.contains(Attributes::WRITE | Attributes::EXECUTE) && vm.flags & VM_JIT == 0 {
        return Err(BuildError::Record("expected a segment that is not writable and executable"));
    }
    let at = usize::try_from(offset).map_err(|_| outside)?;
    let frames = allocator.mem_frames(ram.id).ok_or(AllocError::Stale)?;
    if !frames.write(at, bytes) {
        return Err(outside);
    }
    if rights.contains(Attributes::EXECUTE) {
        frames.publish_code(at, bytes.len());
    } else if vm.flags & VM_NATIVE != 0 {
        frames.publish(at, bytes.len()); // it reads with its caches off at first
    }
    allocator.mem_add_mapped(ram.id, u32::try_from(pages).map_err(|_| outside)?)?;
    let pa = ram.base.checked_add(offset).ok_or(outside)?;
    let mut source = Charged::new(allocator, &mut inner.account, || false);
    let attr = attr(rights, ram.rights, vm.flags & VM_JIT != 0)?;
    map_all(&mut inner.spaces, record.address, pa, pages, attr, &mut source)
}

/// Returns a new shared region that belongs to the VM. It is referred to by the handles that [`grant`] gives.
///
/// # Errors
/// [`BuildError`].
pub fn region(inner: &mut Inner, record: &CreateRegion, allocator: &mut Allocator) -> Result<MemId, BuildError> {
    if !record.size.is_power_of_two() || record.size < PAGE_SIZE {
        return Err(BuildError::Record("expected size of a region"));
    }
    Ok(allocator.mem_create((record.size / PAGE_SIZE).trailing_zeros(), &mut inner.account)?)
}

/// Gives the VM a handle to a shared region and maps it where `record` says.
///
/// # Errors
/// [`BuildError`].
pub fn grant(
    vm: &Vm,
    inner: &mut Inner,
    record: &GrantRegion,
    id: MemId,
    allocator: &mut Allocator,
) -> Result<(), BuildError> {
    let info = allocator.mem_info(id).ok_or(AllocError::Stale)?;
    let rights = Rights::from_bits(record.rights).ok_or(BuildError::Record("expected rights of a region"))?;
    let object = Object::Mem(MemRef { id, base: info.base, pages: info.pages, rights, flags: Flags::empty() });
    let handle = inner.handles.insert(object, vm.handle_limit).map_err(|_| BuildError::Full)?;
    allocator.mem_add_reference(id)?;
    if record.address != 0 {
        allocator.mem_add_mapped(
            id,
            u32::try_from(info.pages).map_err(|_| BuildError::Record("expected size of a region"))?,
        )?;
        let wanted = Attributes::from_bits_truncate(u64::from(record.rights));
        let mut source = Charged::new(allocator, &mut inner.account, || false);
        let attr = attr(wanted, rights, vm.flags & VM_JIT != 0)?;
        map_all(&mut inner.spaces, record.address, info.base, info.pages, attr, &mut source)?;
    }
    let size = info.pages << 12;
    announce(
        vm,
        Named {
            handle,
            kind: HandleKind::Mem,
            rights: rights.bits(),
            size,
            address: record.address,
            name: record.name,
        },
    )
}

/// Gives the VM a handle to a peer.
///
/// # Errors
/// [`BuildError::Full`].
pub fn peer(vm: &Vm, inner: &mut Inner, peer: &Vm, name: [u8; NAME_LEN]) -> Result<(), BuildError> {
    let object = Object::Peer { place: peer.place, incarnation: peer.incarnation };
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
    let object = Object::Device(DeviceRef { base, pages });
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
        port.open(handle, vcpu, Link::Free);
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

/// Maps `pages` pages in the first address space, however many calls that takes.
fn map_all(
    spaces: &mut Spaces,
    address: u64,
    pa: Pa,
    pages: u64,
    attr: Attr,
    source: &mut impl TableSource,
) -> Result<(), BuildError> {
    let space = spaces.get_mut(spaces::FIRST).ok_or(BuildError::Full)?;
    let mut done = 0;
    while done < pages {
        let at = address.checked_add(done << 12).and_then(Ipa::new).ok_or(BuildError::Record("expected address"))?;
        let pa = pa.checked_add(done << 12).ok_or(BuildError::Record("expected address"))?;
        done = done.saturating_add(space.map(at, pa, pages.saturating_sub(done), attr, source)?.pages);
    }
    Ok(())
}
