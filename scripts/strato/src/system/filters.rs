//! Filters in a system file: reading which bits of which registers a VM gets, and their rules: the page is one that the board
//! file shares, the bits are among those that VMs can have, and no bit is two VMs'. Called by `devices`.

use strato_abi::board::Shared;

use super::device::{Allowed, Device, Registers};
use super::devices::range;
use super::model::System;
use super::problem::{At, Problem};
use super::reader::{Problems, Table};

/// Most registers that can be allowed on one board, each counted once for each VM.
const RULES_MAX: usize = 64;

/// Returns what `allow` of a range of registers says.
pub(super) fn read(registers: &Table<'_>) -> Vec<Allowed> {
    let tables = registers.tables("allow", "`allow` of registers");
    if tables.is_empty() {
        let (span, fix) = (registers.span_of("allow"), "write `allow = [{ offset = 0x8, mask = 0x38 }]`");
        registers.problems().add(Problem::new("a filter allows nothing", &span, "`allow` is empty", fix));
    }
    tables.into_iter().filter_map(allowed).collect()
}

fn allowed(table: Table<'_>) -> Option<Allowed> {
    let (offset, mask) = (table.integer("offset", 0..=0xfff), table.integer("mask", 1..=u64::from(u32::MAX)));
    for (key, example) in [("offset", "0x8"), ("mask", "0x38")] {
        if !table.has(key) {
            table.missing(key, example);
        }
    }
    table.finish();
    let mask = mask?;
    Some(Allowed { offset: offset?, mask: At { value: u32::try_from(mask.value).ok()?, span: mask.span } })
}

/// Adds what is wrong with the filter of `registers`. `taken` are the ranges that were given before, on the same board.
pub(super) fn check(
    system: &System,
    device: &Device,
    registers: &Registers,
    taken: &[(&Device, &Registers)],
    problems: &Problems,
) {
    let (name, (start, end), span) = (&device.name.value, range(registers), &registers.address.span);
    let Some(shared) = device.board.shares(start, end) else {
        let title = format!("the registers of `{name}` cannot be given bit by bit");
        let (why, fix) = match device.board.shared {
            Some(Shared { block, .. }) => (
                format!("on {} only {} is known register by register", device.board.name, block.what),
                format!("write {:#x} and \"4KiB\", or leave `allow` out", block.start),
            ),
            None => (format!("nothing is known of {}", device.board.name), "leave `allow` out".into()),
        };
        problems.add(Problem::new(title, span, why, fix));
        return;
    };
    let others = || taken.iter().filter(|(_, other)| range(other) == (start, end));
    let whole = others().find(|(other, range)| other.vm == device.vm || range.allowed.is_none());
    if let Some((other, first)) = whole {
        let (one, two) = (system.label(other.vm), system.label(device.vm));
        let title = if one == two {
            format!("`{two}` has a page of registers twice")
        } else {
            format!("`{one}` has the whole page of which `{two}` gets bits")
        };
        let fix = "write one `allow` for each VM, with all that it may do";
        problems.add(Problem::new(title, span, "again here", fix).with_other(&first.address.span, "first here"));
        return;
    }
    let own = registers.allowed.as_deref().unwrap_or_default();
    for (n, allowed) in own.iter().enumerate() {
        if let Some(first) = own.iter().take(n).find(|other| other.offset.value == allowed.offset.value) {
            let title = format!("register {:#x} of `{name}` is allowed twice", allowed.offset.value);
            let fix = "write one mask with all bits";
            let problem = Problem::new(title, &allowed.offset.span, "again here", fix);
            problems.add(problem.with_other(&first.offset.span, "first here"));
        } else {
            bits(system, device, shared, allowed, &others().copied().collect::<Vec<_>>(), problems);
        }
    }
    if others().map(|(_, range)| range.allowed.iter().flatten().count()).sum::<usize>() + own.len() > RULES_MAX {
        let title = format!("more than {RULES_MAX} registers are allowed on {}", device.board.name);
        problems.add(Problem::new(title, &device.name.span, "with this one there are more", "allow fewer"));
    }
}

fn bits(
    system: &System,
    device: &Device,
    shared: &Shared,
    allowed: &Allowed,
    others: &[(&Device, &Registers)],
    problems: &Problems,
) {
    let (offset, mask) = (allowed.offset.value, allowed.mask.value);
    let Some(register) = shared.register(offset) else {
        let known: Vec<_> = shared.registers.iter().map(|register| format!("{:#x}", register.offset)).collect();
        let title = format!("no VM can have register {offset:#x} of {}", shared.block.what);
        let fix = format!("those of which VMs can have bits are {}", known.join(", "));
        problems.add(Problem::new(title, &allowed.offset.span, "not one that VMs can share", fix));
        return;
    };
    let kept = mask & !register.bits;
    if kept != 0 {
        let title = format!("bits {kept:#x} of register {offset:#x} of {} are for no VM", shared.block.what);
        let why = "they are the hypervisor's, of what is on the board, or nothing's";
        problems.add(Problem::new(title, &allowed.mask.span, why, format!("choose bits of {:#x}", register.bits)));
    }
    let all = others.iter().flat_map(|(other, range)| range.allowed.iter().flatten().map(move |rule| (other, rule)));
    let mut met = all.filter(|(_, rule)| rule.offset.value == offset && rule.mask.value & mask != 0);
    if let Some((other, first)) = met.next() {
        let (one, two) = (system.label(other.vm), system.label(device.vm));
        let title = format!("`{one}` and `{two}` have the same bits of register {offset:#x}");
        let why = format!("{:#x} again here", first.mask.value & mask);
        let problem = Problem::new(title, &allowed.mask.span, why, "give each bit to one VM");
        problems.add(problem.with_other(&first.mask.span, "first here"));
    }
}
