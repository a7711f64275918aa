//! Rules of a system that involve more than one value: names, handles, channels, cores and the sum of memory.
//! Called by `system::parse` after everything is read. Addresses are in `layout`.

use std::collections::BTreeMap;

use strato_abi::board::Map;

use super::model::{System, Vm};
use super::names::{self, LABEL_MAX, NAME_MAX};
use super::problem::{At, Problem, Span};
use super::reader::Problems;
use super::size;
use super::{devices, layout, restart, sched};

/// Bytes of RAM of the boards that a system has to fit without another word.
pub const BOARD_MEMORY: u64 = 512 << 20;
/// Bytes of it that guests cannot have: hypervisor, packed image, device tree.
pub const BOARD_RESERVE: u64 = 16 << 20;

const VMS_MAX: usize = 64;
/// Regions of a plan, as the hypervisor keeps them in mind.
const REGIONS_MAX: usize = 64;
const _: () = assert!(strato_abi::limit::LimitKey::Vms.value() == 64);

/// Adds what is wrong with `system` as a whole.
pub fn check(system: &System, problems: &Problems) {
    labels(system, problems);
    if let Some(vm) = system.vms.get(VMS_MAX) {
        let fix = "drop some of them";
        problems.add(Problem::new(
            format!("there are more than {VMS_MAX} VMs"),
            &vm.label.span,
            "this one is too many",
            fix,
        ));
    }
    for (number, vm) in system.vms.iter().enumerate() {
        memory(vm, problems);
        handles(system, number, vm, problems);
    }
    channels(system, problems);
    regions(system, problems);
    peers(system, problems);
    devices::check(system, problems);
    sched::check(system, problems);
    layout::check(system, problems);
    total(system, problems);
}

fn labels(system: &System, problems: &Problems) {
    let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
    for vm in &system.vms {
        let (label, span) = (vm.label.value.as_str(), &vm.label.span);
        if let Some(flaw) = names::flaw(label, LABEL_MAX) {
            problems.add(Problem::new(format!("`{label}` cannot be the name of a VM"), span, flaw, label_rule()));
        } else if label == "strato" {
            let why = "lines of the hypervisor begin with this word";
            problems.add(Problem::new("a VM cannot be called `strato`", span, why, "choose another name"));
        } else if let Some(first) = seen.insert(label, span) {
            problems.add(twice(format!("two VMs are called `{label}`"), span, first));
        }
    }
}

fn label_rule() -> String {
    format!("use 1 to {LABEL_MAX} of a-z, 0-9, `_` and `-`")
}

fn twice(title: String, span: &Span, first: &Span) -> Problem {
    Problem::new(title, span, "again here", "give one of them another name").with_other(first, "first here")
}

/// Adds the problem that `bytes` is no power of two from `least`, saying the next that is.
fn power_of_two(what: &str, bytes: &At<u64>, least: u64, problems: &Problems) {
    if bytes.value.is_power_of_two() && bytes.value >= least {
        return;
    }
    let next = bytes.value.max(least).checked_next_power_of_two().unwrap_or(least);
    problems.add(Problem::new(
        format!("{what} cannot be {}", size::show(bytes.value)),
        &bytes.span,
        format!("it has to be a power of two of at least {}", size::show(least)),
        format!("the next one is \"{}\"", size::show(next)),
    ));
}

fn memory(vm: &Vm, problems: &Problems) {
    power_of_two(&format!("the memory of `{}`", vm.label.value), &vm.memory, 64 << 10, problems);
}

// `ram`, then a handle for each region, peer, share of time and channel end, and those of devices on the board where it has most of them.
fn handles(system: &System, number: usize, vm: &Vm, problems: &Problems) {
    let regions =
        system.regions.iter().flat_map(|region| &region.grants).filter(|grant| grant.vm.value == number).count();
    let peers = system.peers.iter().filter(|peer| peer.of == number).count();
    let ends = system.channels.iter().flat_map(|channel| [&channel.a, &channel.b]).filter(|end| end.value.vm == number);
    let on_board = |board| system.devices_of(number, board).map(super::Device::handles).sum::<usize>();
    let devices = Map::ALL.into_iter().map(on_board).max().unwrap_or(0);
    let needed = 1 + regions + peers + ends.count() + devices + vm.scheds.len();
    if u64::try_from(needed).is_ok_and(|needed| needed > vm.handles.value) {
        problems.add(Problem::new(
            format!("`{}` has no room for its handles", vm.label.value),
            &vm.handles.span,
            format!("it holds {needed} at the start, the table has {}", vm.handles.value),
            format!("write `handles = {}` or more", needed.next_power_of_two()),
        ));
    }
}

fn channels(system: &System, problems: &Problems) {
    let mut seen: BTreeMap<(usize, &str), &Span> = BTreeMap::new();
    for channel in &system.channels {
        if channel.a.value.vm == channel.b.value.vm {
            let label = system.label(channel.a.value.vm);
            let fix = "name another VM here; inside one VM use its own memory";
            problems.add(Problem::new(
                format!("both ends of a channel are in `{label}`"),
                &channel.b.span,
                "same VM",
                fix,
            ));
        }
        for end in [&channel.a, &channel.b] {
            let (port, label) = (end.value.port.as_str(), system.label(end.value.vm));
            if let Some(flaw) = names::flaw(port, NAME_MAX) {
                let rule = format!("use 1 to {NAME_MAX} of a-z, 0-9, `_` and `-`");
                problems.add(Problem::new(format!("`{port}` cannot be the name of a port"), &end.span, flaw, rule));
            }
            let vcpus = system.vms.get(end.value.vm).map_or(1, |vm| vm.vcpus);
            if end.value.vcpu >= vcpus {
                problems.add(Problem::new(
                    format!("`{label}` has no vCPU {}", end.value.vcpu),
                    &end.span,
                    format!("it has {vcpus}, counted from 0"),
                    "bind the port to one of them, or give the VM more `vcpus`",
                ));
            }
            if let Some(first) = seen.insert((end.value.vm, port), &end.span) {
                problems.add(twice(format!("`{label}` has two ports called `{port}`"), &end.span, first));
            }
        }
    }
}

fn regions(system: &System, problems: &Problems) {
    let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
    if let Some(region) = system.regions.get(REGIONS_MAX) {
        let title = format!("there are more than {REGIONS_MAX} regions");
        problems.add(Problem::new(title, &region.name.span, "this one is too many", "drop some of them"));
    }
    for region in &system.regions {
        let (name, span) = (region.name.value.as_str(), &region.name.span);
        power_of_two(&format!("the region `{name}`"), &region.size, 4 << 10, problems);
        if let Some(flaw) = names::flaw(name, NAME_MAX) {
            let rule = format!("use 1 to {NAME_MAX} of a-z, 0-9, `_` and `-`");
            problems.add(Problem::new(format!("`{name}` cannot be the name of a region"), span, flaw, rule));
        } else if name == "ram" {
            let why = "every VM has a handle of that name";
            problems.add(Problem::new("a region cannot be called `ram`", span, why, "choose another name"));
        } else if let Some(first) = seen.insert(name, span) {
            problems.add(twice(format!("two regions are called `{name}`"), span, first));
        }
        if !region.grants.is_empty() && region.grants.iter().all(|grant| grant.vm.value != region.owner) {
            let label = system.label(region.owner);
            let why = format!("it is on the account of `{label}`, which has no handle to it");
            let fix =
                format!("add `{{ vm = \"{label}\", rights = \"rw\" }}`, or let one of those that map it be its owner");
            problems.add(Problem::new(format!("`{label}` does not map its region `{name}`"), span, why, fix));
        }
        let mut holders: BTreeMap<usize, &Span> = BTreeMap::new();
        for grant in &region.grants {
            let label = system.label(grant.vm.value);
            if let Some(first) = holders.insert(grant.vm.value, &grant.vm.span) {
                let title = format!("`{label}` maps the region `{name}` twice");
                let fix = "keep one of them; the guest can map it again by itself";
                problems.add(Problem::new(title, &grant.vm.span, "again here", fix).with_other(first, "first here"));
            }
            let is_jit = system.vms.get(grant.vm.value).is_some_and(|vm| vm.is_jit);
            if grant.rights.value & 6 == 6 && !is_jit {
                problems.add(Problem::new(
                    format!("`{label}` may write and execute the region `{name}`"),
                    &grant.rights.span,
                    "writable and executable at once",
                    format!("drop one of the rights, or set `jit = true` for `{label}`"),
                ));
            }
        }
    }
}

fn peers(system: &System, problems: &Problems) {
    for (at, peer) in system.peers.iter().enumerate() {
        let label = system.label(peer.of);
        if peer.of == peer.to {
            problems.add(Problem::new(
                format!("`{label}` is its own peer"),
                &peer.span,
                "same VM",
                "name another VM in `to`",
            ));
        }
        let is_same = |other: &&super::model::Peer| other.of == peer.of && other.to == peer.to;
        if let Some(first) = system.peers.iter().take(at).find(is_same) {
            let title = format!("`{}` is a peer of `{label}` twice", system.label(peer.to));
            problems
                .add(Problem::new(title, &peer.span, "again here", "remove one").with_other(&first.span, "first here"));
        }
    }
}

fn total(system: &System, problems: &Problems) {
    let mut sum = 0_u64;
    let room = BOARD_MEMORY.saturating_sub(BOARD_RESERVE);
    for (number, vm) in system.vms.iter().enumerate() {
        let own = vm.memory.value.saturating_add(vm.quota).saturating_add(system.region_bytes(number));
        // What its lives leave to others is as much again at most.
        let own = if restart::may_leave(system, number) { own.saturating_mul(2) } else { own };
        let before = sum;
        sum = sum.saturating_add(own);
        if sum > room && before <= room {
            problems.add(Problem::new(
                format!("the system does not fit a board of {}", size::show(BOARD_MEMORY)),
                &vm.memory.span,
                format!(
                    "with this VM the sum of memory, quotas and regions is {}",
                    size::show(sum.next_multiple_of(1 << 20))
                ),
                format!("give the VMs less; together they can have {}", size::show(room)),
            ));
        }
    }
}
