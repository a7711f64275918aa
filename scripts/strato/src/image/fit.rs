//! Whether an image fits the VM that a system gives it: size, ABI, groups, handles, FP and W^X.
//! Called by `load`; each misfit is a `Problem` at a line of the system file.

use strato_abi::addr::RAM_BASE;
use strato_abi::address_space::Attributes;
use strato_abi::note::{FLAG_FP, FLAG_NATIVE, Header};
use strato_abi::version::{ABI_VERSION, major, minor};
use strato_abi::{Group, Kind};

use super::{Flaw, Image};
use crate::system::{Device, Problem, System, Vm, size};

const _: () = assert!(size_of::<Header>() == 24);

/// Returns why `image` does not fit VM `number` of `system`; nothing when it does.
#[must_use]
pub fn misfits(system: &System, number: usize, vm: &Vm, image: &Image) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(abi(vm, image));
    if problems.is_empty() {
        problems.extend(groups(vm, image));
        problems.extend(room(vm, image));
        problems.extend(handles(system, number, vm, image));
        problems.extend(features(vm, image));
    }
    problems
}

/// Returns the problem that the image of `vm` is no image.
#[must_use]
pub fn flawed(vm: &Vm, flaw: &Flaw) -> Problem {
    let title = format!("`{}` has no usable image", vm.label.value);
    Problem::new(title, &vm.image.span, format!("the image {}", flaw.what), flaw.fix.clone())
}

fn abi(vm: &Vm, image: &Image) -> Option<Problem> {
    let (wants, has) = (image.note.abi_version, ABI_VERSION);
    if major(wants) == major(has) && minor(wants) <= minor(has) {
        return None;
    }
    let show = |version| format!("{}.{}", major(version), minor(version));
    Some(Problem::new(
        format!("the image of `{}` is for another ABI", vm.label.value),
        &vm.image.span,
        format!("it needs ABI {}, this hypervisor has {}", show(wants), show(has)),
        "rebuild the guest with the guest library of this release",
    ))
}

fn groups(vm: &Vm, image: &Image) -> Vec<Problem> {
    let lacks = |(number, major, minor): &(u16, u16, u16)| {
        let group = Group::from_number(u64::from(*number));
        let name = group.map_or(format!("group {number}"), |group| format!("group {}", group.name()));
        let has = group.map(Group::version);
        if has.is_some_and(|(has_major, has_minor)| has_major == *major && has_minor >= *minor) {
            return None;
        }
        let has = has.map_or("does not have it".into(), |(major, minor)| format!("has {major}.{minor}"));
        Some(Problem::new(
            format!("the image of `{}` needs calls that are not there", vm.label.value),
            &vm.image.span,
            format!("it needs {name} {major}.{minor}, this hypervisor {has}"),
            "rebuild the guest with the guest library of this release",
        ))
    };
    image.note.groups.iter().filter_map(lacks).collect()
}

fn room(vm: &Vm, image: &Image) -> Option<Problem> {
    let (base, size) = image.extent();
    let needed = base.saturating_add(size).saturating_sub(RAM_BASE);
    if needed <= vm.memory.value {
        return None;
    }
    let next = needed.checked_next_power_of_two().unwrap_or(needed);
    Some(
        Problem::new(
            format!("the image of `{}` is too big for its memory", vm.label.value),
            &vm.memory.span,
            format!("the image reaches {}, the VM has {}", size::show(needed), size::show(vm.memory.value)),
            format!("write `memory = \"{}\"`", size::show(next)),
        )
        .with_other(&vm.image.span, "this image"),
    )
}

fn handles(system: &System, number: usize, vm: &Vm, image: &Image) -> Vec<Problem> {
    let missing = image.note.handles.iter().filter(|(kind, name)| !has_handle(system, number, *kind, name));
    let problem = |(kind, name): &(Kind, String)| {
        let label = &vm.label.value;
        let (what, fix) = if *kind == Kind::Port {
            ("port", format!("add a [[channel]] with the end \"{label}:{name}\""))
        } else if *kind == Kind::Mem {
            ("region", format!("add a [[region]] named \"{name}\" that `{label}` maps"))
        } else if matches!(*kind, Kind::Device | Kind::Irq) {
            let part = if *kind == Kind::Device { "registers" } else { "interrupts" };
            let what = if *kind == Kind::Device { "device" } else { "interrupt" };
            (what, format!("add a [[board.qemu-virt.device]] named \"{name}\" with vm = \"{label}\" and `{part}`"))
        } else if *kind == Kind::Peer {
            ("peer", format!("add a [[peer]] with of = \"{label}\" and to = \"{name}\""))
        } else {
            ("object of a kind that no system can give,", "rebuild the guest for this release".into())
        };
        let why = format!("its image asks for the {what} \"{name}\"");
        Problem::new(format!("`{label}` lacks a handle that its image needs"), &vm.image.span, why, fix)
    };
    missing.map(problem).collect()
}

fn has_handle(system: &System, number: usize, kind: Kind, name: &str) -> bool {
    if kind == Kind::Port {
        let mut ends = system.channels.iter().flat_map(|channel| [&channel.a.value, &channel.b.value]);
        ends.any(|end| end.vm == number && end.port == name) || brings(system, number, kind, name)
    } else if kind == Kind::Mem {
        let mut held =
            system.regions.iter().filter(|region| region.grants.iter().any(|grant| grant.vm.value == number));
        name == "ram" || held.any(|region| region.name.value == name)
    } else if kind == Kind::Peer {
        system.peers.iter().any(|peer| peer.of == number && system.label(peer.to) == name)
    } else {
        matches!(kind, Kind::Device | Kind::Irq) && brings(system, number, kind, name)
    }
}

// Whether a device of some board brings the handle; on a board without it the guest finds that it is missing.
fn brings(system: &System, number: usize, kind: Kind, name: &str) -> bool {
    let count = |device: &Device| {
        let (registers, interrupts) = (device.registers.len(), device.interrupts.len());
        if kind == Kind::Device { registers } else { interrupts }
    };
    let mut devices = system.devices.iter().filter(|device| device.vm == number);
    devices.any(|device| (0..count(device)).any(|n| device.handle_name(n) == name))
}

fn features(vm: &Vm, image: &Image) -> Vec<Problem> {
    let mut problems = Vec::new();
    let label = &vm.label.value;
    if image.note.flags & FLAG_FP != 0 && !vm.has_fp {
        problems.push(Problem::new(
            format!("the image of `{label}` uses FP and SIMD"),
            &vm.image.span,
            "this VM has FP off",
            "add `fp = \"lazy\"` to the VM",
        ));
    }
    if vm.is_native && image.note.flags & FLAG_NATIVE == 0 {
        problems.push(Problem::new(
            format!("the image of `{label}` leaves its MMU off"),
            &vm.image.span,
            "this VM has `mmu = \"native\"`, where memory has no caches until the guest turns its MMU on",
            "declare `Needs::new().native()` in the guest, or drop `mmu` from the VM",
        ));
    }
    let is_wx = |attributes: Attributes| attributes.contains(Attributes::WRITE | Attributes::EXECUTE);
    if let Some(segment) = image.segments.iter().find(|segment| is_wx(segment.attributes))
        && !vm.is_jit
    {
        problems.push(Problem::new(
            format!("the image of `{label}` has code that is writable"),
            &vm.image.span,
            format!("its segment at {:#x} is writable and executable", segment.address),
            "link code and data into segments of their own, or add `jit = true` to the VM",
        ));
    }
    problems
}
