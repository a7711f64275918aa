//! Room `pack`: a checked system and its images become the payload that boot replays, and with the hypervisor in front
//! one bootable image. Owns the order of records. Called by the commands; `hypervisor` flattens the ELF.

use strato_abi::plan::{
    ANY_CORE, AllowRegister, Channel, CreateRegion, CreateVm, DEVICE_DMA_TRUSTED, DEVICE_FILTERED, GrantDevice,
    GrantInterrupt, GrantRegion, GrantSched, INTERRUPT_EDGE, Load, PayloadHeader, Peer, Start, VM_CONSOLE_INPUT,
    VM_FAULT_HANDLER, VM_FP, VM_GUARDED, VM_JIT, VM_NATIVE, VM_PLAIN,
};
use strato_abi::{Rights, addr::PAGE_SIZE, note::FLAG_FAULT_HANDLER};

use crate::image::Image;
use crate::system::{Device, System, Vm};

pub mod damage;
pub mod hypervisor;
mod plan;
pub mod series;

use plan::{Data, Plan};

/// Returns the packed image: the hypervisor, then the payload on the next page.
#[must_use]
pub fn image(hypervisor: &hypervisor::Flat, payload: &[u8]) -> Vec<u8> {
    let mut image = hypervisor.bytes.clone();
    image.extend_from_slice(payload);
    image
}

/// Returns the payload of `system`, whose VMs run `images`; home cores count modulo `cores`, if given. `flags` are the
/// header's.
///
/// # Errors
/// A number of the system is beyond what a record can say.
pub fn payload(system: &System, images: &[Image], cores: Option<u8>, flags: u32) -> anyhow::Result<Vec<u8>> {
    let mut data = Data::default();
    let start = size_of::<PayloadHeader>() + records_len(system, images);
    let done = records(system, images, cores, Plan::new(start, &mut data))?.done();
    let mut payload = done.finish(system, data.bytes(), flags)?;
    if let Some(damage) = system.damage {
        damage.apply(&mut payload);
    }
    Ok(payload)
}

/// Returns the records of `system` behind those that are in `plan` already.
fn records<'d>(system: &System, images: &[Image], cores: Option<u8>, mut plan: Plan<'d>) -> anyhow::Result<Plan<'d>> {
    let before = plan.len();
    for (number, (vm, image)) in system.vms.iter().zip(images).enumerate() {
        let command_line = plan.data(vm.command_line.as_bytes())?;
        plan.record(&create_vm(system, number, vm, image, command_line, cores)?);
    }
    for (number, image) in images.iter().enumerate() {
        for segment in &image.segments {
            let offset = plan.data(&segment.bytes)?;
            plan.record(&Load {
                header: Load::header(u16::try_from(number)?),
                address: segment.address,
                offset,
                file_len: u64::try_from(segment.bytes.len())?,
                mem_len: segment.mem_len,
                attributes: segment.attributes.bits(),
            });
        }
    }
    links(system, &mut plan)?;
    devices(system, &mut plan)?;
    scheds(system, cores, &mut plan)?;
    for number in 0..system.vms.len() {
        plan.record(&Start { header: Start::header(u16::try_from(number)?) });
    }
    debug_assert_eq!(plan.len() - before, records_len(system, images));
    Ok(plan)
}

fn records_len(system: &System, images: &[Image]) -> usize {
    let loads: usize = images.iter().map(|image| image.segments.len()).sum();
    let grants: usize = system.regions.iter().map(|region| region.grants.len()).sum();
    system.vms.len() * (size_of::<CreateVm>() + size_of::<Start>())
        + loads * size_of::<Load>()
        + system.regions.len() * size_of::<CreateRegion>()
        + grants * size_of::<GrantRegion>()
        + system.peers.len() * size_of::<Peer>()
        + system.channels.len() * size_of::<Channel>()
        + system.devices.iter().map(|device| device.registers.len()).sum::<usize>() * size_of::<GrantDevice>()
        + system.devices.iter().flat_map(Device::allowed).count() * size_of::<AllowRegister>()
        + system.vms.iter().map(|vm| vm.scheds.len()).sum::<usize>() * size_of::<GrantSched>()
        + system.devices.iter().map(|device| device.interrupts.len()).sum::<usize>() * size_of::<GrantInterrupt>()
}

fn create_vm(
    system: &System,
    number: usize,
    vm: &Vm,
    image: &Image,
    command_line: u64,
    cores: Option<u8>,
) -> anyhow::Result<CreateVm> {
    let flags = [
        (VM_FP, vm.has_fp),
        (VM_JIT, vm.is_jit),
        (VM_FAULT_HANDLER, image.note.flags & FLAG_FAULT_HANDLER != 0),
        (VM_CONSOLE_INPUT, vm.has_console_input),
        (VM_NATIVE, vm.is_native),
        (VM_GUARDED, vm.is_guarded == Some(true)),
        (VM_PLAIN, vm.is_guarded == Some(false)),
    ];
    let (image_base, image_size) = image.extent();
    let own = vm.memory.value + vm.quota + system.region_bytes(number);
    let mut record = CreateVm {
        header: CreateVm::header(u16::try_from(number)?),
        label: padded(&vm.label.value),
        ram_size: vm.memory.value,
        entry: image.entry,
        image_base,
        image_size,
        command_line,
        command_line_len: u32::try_from(vm.command_line.len())?,
        quota_pages: u32::try_from(own.div_ceil(PAGE_SIZE))?,
        calls: vm.calls,
        cores: home_cores(vm, cores),
        flags: flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum(),
        vcpus: vm.vcpus,
        handles: u16::try_from(vm.handles.value)?,
        priority: vm.priority,
        restart_limit: 0,
        restart_window_s: 0,
        timers: vm.timers,
        reserved: [0; 3],
    };
    vm.restart.write(&mut record);
    Ok(record)
}

fn home_cores(vm: &Vm, cores: Option<u8>) -> [u8; 8] {
    let mut homes = [ANY_CORE; 8];
    for (home, core) in homes.iter_mut().zip(vm.cores.iter().cycle()).take(usize::from(vm.vcpus)) {
        *home = cores.map_or(*core, |count| core % count.max(1));
    }
    homes
}

fn links(system: &System, plan: &mut Plan<'_>) -> anyhow::Result<()> {
    for region in &system.regions {
        plan.record(&CreateRegion {
            header: CreateRegion::header(u16::try_from(region.owner)?),
            size: region.size.value,
        });
    }
    for (number, region) in system.regions.iter().enumerate() {
        for grant in &region.grants {
            let owner = if grant.vm.value == region.owner { Rights::OWNER.bits() } else { 0 };
            plan.record(&GrantRegion {
                header: GrantRegion::header(u16::try_from(grant.vm.value)?),
                region: u16::try_from(number)?,
                rights: grant.rights.value | owner,
                reserved: 0,
                address: grant.address.as_ref().map_or(0, |address| address.value),
                name: padded(&region.name.value),
            });
        }
    }
    for peer in &system.peers {
        plan.record(&Peer {
            header: Peer::header(u16::try_from(peer.of)?),
            peer: u16::try_from(peer.to)?,
            reserved: [0; 3],
            name: padded(system.label(peer.to)),
        });
    }
    for channel in &system.channels {
        let (near, far) = (&channel.a.value, &channel.b.value);
        plan.record(&Channel {
            header: Channel::header(u16::try_from(near.vm)?),
            peer: u16::try_from(far.vm)?,
            vcpu: near.vcpu,
            peer_vcpu: far.vcpu,
            reserved: 0,
            name: padded(&near.port),
            peer_name: padded(&far.port),
        });
    }
    Ok(())
}

// One image serves all boards: each passes over the records of the others.
fn devices(system: &System, plan: &mut Plan<'_>) -> anyhow::Result<()> {
    for device in &system.devices {
        let (vm, board) = (u16::try_from(device.vm)?, padded(device.board.name));
        for (n, registers) in device.registers.iter().enumerate() {
            plan.record(&GrantDevice {
                header: GrantDevice::header(vm),
                board,
                address: registers.address.value,
                size: registers.size.value,
                flags: if device.is_trusted { DEVICE_DMA_TRUSTED } else { 0 }
                    | if registers.allowed.is_some() { DEVICE_FILTERED } else { 0 },
                reserved: 0,
                name: padded(&device.handle_name(n)),
            });
        }
        for (registers, allowed) in device.allowed() {
            let address = registers.address.value + allowed.offset.value;
            let header = AllowRegister::header(vm);
            plan.record(&AllowRegister { header, board, address, mask: allowed.mask.value, reserved: 0 });
        }
        for (n, interrupt) in device.interrupts.iter().enumerate() {
            plan.record(&GrantInterrupt {
                header: GrantInterrupt::header(vm),
                board,
                intid: interrupt.intid.value,
                flags: if interrupt.is_edge { INTERRUPT_EDGE } else { 0 },
                name: padded(&device.handle_name(n)),
            });
        }
    }
    Ok(())
}

fn scheds(system: &System, cores: Option<u8>, plan: &mut Plan<'_>) -> anyhow::Result<()> {
    for (number, vm) in system.vms.iter().enumerate() {
        for sched in &vm.scheds {
            plan.record(&GrantSched {
                header: GrantSched::header(u16::try_from(number)?),
                budget_us: u32::try_from(sched.budget_us.value)?,
                period_us: u32::try_from(sched.period_us)?,
                core: cores.map_or(sched.core, |count| sched.core % count.max(1)),
                priority: sched.priority,
                vcpus: sched.vcpus.iter().fold(0, |mask, vcpu| mask | 1 << vcpu),
                reserved: [0; 5],
                name: padded(&sched.name.value),
            });
        }
    }
    Ok(())
}

/// Returns `name`, whose length was checked, padded with zeros.
fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    bytes
}
