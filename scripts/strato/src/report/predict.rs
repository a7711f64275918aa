//! Predict: what the system's file and the images promise about memory, without asking the hypervisor. Repeats the rules of
//! the contract on purpose, so that a mistake in either place shows.

use std::ops::Range;

use anyhow::Context;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSymbol};
use strato_abi::addr::{EVENT_AREA, INFO_PAGE, PAGE_SIZE, RAM_BASE, VCPU_AREA};
use strato_abi::address_space::Attributes;
use strato_abi::info_page::{GroupEntry, HandleEntry, InfoPage};
use strato_abi::{Group, Rights, board};

use super::Assigned;
use crate::image::Image;
use crate::system::{Device, Region, System, Vm};

/// What backs a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A page of the hypervisor that it shows to the guest: what it is.
    Window(&'static str),
    /// The VM's own memory, from this byte on; what stands there.
    Ram(u64, &'static str),
    /// A shared region, by number, from its first byte on.
    Region(usize),
}

/// A range that a VM maps when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Guest-physical addresses.
    pub ipa: Range<u64>,
    /// Rights.
    pub rights: Attributes,
    /// What backs it.
    pub backing: Backing,
}

/// A handle to memory that a VM holds when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The region; `None` is the VM's own memory.
    pub region: Option<usize>,
    /// Rights.
    pub rights: Rights,
}

/// What a VM is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmPromises {
    /// Name.
    pub label: String,
    /// Bytes of its own memory.
    pub memory: u64,
    /// Its stage 2, by rising address.
    pub ranges: Vec<Promise>,
    /// Its handles to memory, in the order of the table.
    pub holdings: Vec<Holding>,
}

/// A shared region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPromise {
    /// Name.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Number of the VM that owns it.
    pub owner: usize,
}

/// Everything that is promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// VMs by number.
    pub vms: Vec<VmPromises>,
    /// Regions by number.
    pub regions: Vec<RegionPromise>,
    /// Devices that VMs are assigned.
    pub devices: Vec<Assigned>,
    /// The hypervisor's sections, counted from its first byte.
    pub sections: Vec<(&'static str, Range<u64>)>,
}

/// Returns what `system` promises, whose VMs run `images` on the hypervisor of this ELF file.
///
/// # Errors
/// The ELF file lacks the symbols of its sections.
pub fn promises<'i>(
    system: &System,
    images: impl IntoIterator<Item = &'i Image>,
    hypervisor: &[u8],
) -> anyhow::Result<Promises> {
    let vms = system.vms.iter().zip(images).enumerate();
    let region = |region: &Region| RegionPromise {
        name: region.name.value.clone(),
        bytes: region.size.value,
        owner: region.owner,
    };
    Ok(Promises {
        vms: vms.map(|(number, (vm, image))| vm_promises(system, number, vm, image)).collect(),
        regions: system.regions.iter().map(region).collect(),
        devices: assigned(system),
        sections: sections(hypervisor)?,
    })
}

/// Returns the devices that `system` assigns on the board that the tool runs.
#[must_use]
pub fn assigned(system: &System) -> Vec<Assigned> {
    let devices = system.devices.iter().filter(|device| device.board == &board::QEMU_VIRT);
    let of = |device: &Device| {
        let (name, vm) = (device.name.value.clone(), system.label(device.vm).to_owned());
        let lost = format!(
            "that memory is its owner's alone: by {name} the program in {vm} can read and write all of it, the hypervisor's too"
        );
        let whole = device.registers.iter().filter(|range| range.allowed.is_none());
        let allowed = device.allowed().map(|(range, rule)| (range.address.value + rule.offset.value, rule.mask.value));
        Assigned {
            lost: device.is_trusted.then_some(lost),
            allowed: allowed.collect(),
            registers: whole.map(|range| (range.address.value, range.size.value)).collect(),
            interrupts: device.interrupts.iter().map(|interrupt| interrupt.intid.value).collect(),
            name,
            vm,
        }
    };
    devices.map(of).collect()
}

fn vm_promises(system: &System, number: usize, vm: &Vm, image: &Image) -> VmPromises {
    let read_write = Attributes::READ | Attributes::WRITE;
    let window = |start: u64, pages: u64, rights, what| Promise {
        ipa: start..start + pages * PAGE_SIZE,
        rights,
        backing: Backing::Window(what),
    };
    let mut ranges = vec![
        window(INFO_PAGE, info_pages(system, number, vm), Attributes::READ, "info page"),
        window(VCPU_AREA, 1, Attributes::READ, "vCPU area"),
        window(EVENT_AREA, 1, read_write, "event area"),
    ];
    ranges.extend(image.segments.iter().map(|segment| Promise {
        ipa: segment.address..segment.end().next_multiple_of(PAGE_SIZE),
        rights: segment.attributes,
        backing: Backing::Ram(segment.address - RAM_BASE, contents(segment.attributes)),
    }));
    let own = Rights::READ | Rights::WRITE | Rights::EXECUTE | Rights::OWNER;
    let mut holdings = vec![Holding { region: None, rights: own }];
    for (n, region) in system.regions.iter().enumerate() {
        for grant in region.grants.iter().filter(|grant| grant.vm.value == number) {
            let mut rights = Rights::from_bits_truncate(grant.rights.value);
            rights.set(Rights::OWNER, region.owner == number);
            holdings.push(Holding { region: Some(n), rights });
            if let Some(address) = &grant.address {
                let ipa = address.value..address.value + region.size.value;
                let rights = Attributes::from_bits_truncate(u64::from(grant.rights.value));
                ranges.push(Promise { ipa, rights, backing: Backing::Region(n) });
            }
        }
    }
    ranges.sort_by_key(|range| range.ipa.start);
    VmPromises { label: vm.label.value.clone(), memory: vm.memory.value, ranges, holdings }
}

fn contents(rights: Attributes) -> &'static str {
    if rights.contains(Attributes::EXECUTE) {
        "code"
    } else if rights.contains(Attributes::WRITE) {
        "data"
    } else {
        "constants"
    }
}

// SPEC "Info page": the header, the groups, the command line, then an entry for each named handle, `ram` among them.
fn info_pages(system: &System, number: usize, vm: &Vm) -> u64 {
    let grants = system.regions.iter().flat_map(|region| &region.grants).filter(|grant| grant.vm.value == number);
    let peers = system.peers.iter().filter(|peer| peer.of == number);
    let ends = system.channels.iter().flat_map(|channel| [&channel.a, &channel.b]);
    let devices = system.devices_of(number, &board::QEMU_VIRT).map(Device::handles).sum::<usize>();
    let handles = 1 + devices + grants.count() + peers.count() + ends.filter(|end| end.value.vm == number).count();
    let before = size_of::<InfoPage>() + Group::ALL.len() * size_of::<GroupEntry>() + vm.command_line.len();
    let bytes = before.next_multiple_of(8) + handles * size_of::<HandleEntry>();
    (bytes as u64).div_ceil(PAGE_SIZE)
}

fn sections(file: &[u8]) -> anyhow::Result<Vec<(&'static str, Range<u64>)>> {
    let elf = ElfFile64::<LittleEndian>::parse(file).context("the hypervisor is not a 64-bit ELF file")?;
    let at = |name: &str| {
        let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name));
        symbol.map(|symbol| symbol.address()).with_context(|| format!("the hypervisor has no symbol `{name}`"))
    };
    let start = at("__image_start")?;
    let between = |from, to| anyhow::Ok(at(from)? - start..at(to)? - start);
    Ok(vec![
        ("image", between("__image_start", "__image_end")?),
        ("text", between("__image_start", "__text_end")?),
        ("rodata", between("__text_end", "__rodata_end")?),
        ("data", between("__rodata_end", "__data_end")?),
        ("emergency", between("__emergency_bottom", "__emergency_top")?),
        ("stack", between("__stack_bottom", "__image_end")?),
    ])
}
