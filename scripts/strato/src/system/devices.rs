//! Devices of boards in a system file: reading them, and their rules: no page of registers is the hypervisor's or two VMs',
//! no interrupt is, and what can reach memory by itself says so. Called by `manifest` and `check`.

use std::collections::BTreeMap;

use strato_abi::addr::{IPA_BITS, PAGE_SIZE};
use strato_abi::board::{Map, share_a_page};

use super::console;
use super::device::{Device, Interrupt, Registers};
use super::filters;
use super::model::System;
use super::names::{self, NAME_MAX, Names};
use super::problem::{At, Problem, Span};
use super::reader::{Problems, Table};

/// The boards, with what messages call their tables.
const BOARDS: [(&str, &str, &str); 2] = [
    ("qemu-virt", "[board.qemu-virt]", "[[board.qemu-virt.device]]"),
    ("rpi4", "[board.rpi4]", "[[board.rpi4.device]]"),
];
/// INTID of the first shared interrupt, which is number 0 in device trees and board manuals.
const FIRST_SPI: u32 = 32;
/// Most ranges, and most interrupts, that can be given on one board.
const GIVEN_MAX: usize = 32;

/// Returns the devices of the table `board`.
pub fn read(boards: Table<'_>, names: &Names) -> Vec<Device> {
    let mut devices = Vec::new();
    for (name, what, each) in BOARDS {
        let Some((board, map)) = boards.table(name, what).zip(Map::find(name)) else { continue };
        devices.extend(board.tables("device", each).into_iter().filter_map(|table| device(table, map, names)));
        board.finish();
    }
    boards.finish();
    devices
}

fn device(table: Table<'_>, board: &'static Map, names: &Names) -> Option<Device> {
    let name = table.needed_text("name", "\"rtc\"");
    let vm = table.needed_text("vm", "\"driver\"").and_then(|at| names.vm(&at.value, &at.span, table.problems()));
    let registers = table.tables("registers", "`registers` of a device").into_iter().filter_map(registers).collect();
    let interrupts = table.tables("interrupts", "`interrupts` of a device").into_iter().filter_map(interrupt).collect();
    let is_trusted = table.choice("dma", &[("none", false), ("trusted", true)]).unwrap_or(false);
    if !table.has("registers") && !table.has("interrupts") {
        table.missing("registers", "[{ address = 0x0901_0000, size = \"4KiB\" }]");
    }
    table.finish();
    Some(Device { board, name: name?, vm: vm?, registers, interrupts, is_trusted })
}

fn registers(table: Table<'_>) -> Option<Registers> {
    let (address, size) = (table.size("address"), table.size("size"));
    for (key, example) in [("address", "0x0901_0000"), ("size", "\"4KiB\"")] {
        if !table.has(key) {
            table.missing(key, example);
        }
    }
    let allowed = table.has("allow").then(|| filters::read(&table));
    table.finish();
    Some(Registers { address: address?, size: size?, allowed })
}

fn interrupt(table: Table<'_>) -> Option<Interrupt> {
    let spi = table.integer("spi", 0..=987);
    if !table.has("spi") {
        table.missing("spi", "2");
    }
    let is_edge = table.choice("trigger", &[("level", false), ("edge", true)]).unwrap_or(false);
    table.finish();
    let spi = spi?;
    Some(Interrupt { intid: At { value: u32::try_from(spi.value).ok()? + FIRST_SPI, span: spi.span }, is_edge })
}

/// Adds what is wrong with the devices of `system`.
pub fn check(system: &System, problems: &Problems) {
    handles(system, problems);
    for board in Map::ALL {
        let mut taken: Vec<(&Device, &Registers)> = Vec::new();
        let mut lines: BTreeMap<u32, (&Device, &Span)> = BTreeMap::new();
        for device in system.devices.iter().filter(|device| device.board == board) {
            for registers in &device.registers {
                if registers.allowed.is_some() {
                    filters::check(system, device, registers, &taken, problems);
                } else if is_range(device, registers, problems) {
                    place(system, device, registers, &taken, problems);
                }
                taken.push((device, registers));
            }
            for interrupt in &device.interrupts {
                line(system, device, interrupt, lines.get(&interrupt.intid.value), problems);
                lines.entry(interrupt.intid.value).or_insert((device, &interrupt.intid.span));
            }
            if taken.len() > GIVEN_MAX || lines.len() > GIVEN_MAX {
                let why = "with this one there are more";
                let title = format!("more than {GIVEN_MAX} ranges of registers, or interrupts, on {}", board.name);
                problems.add(Problem::new(title, &device.name.span, why, "assign fewer"));
            }
        }
    }
}

// A VM finds each handle by kind and name.
fn handles(system: &System, problems: &Problems) {
    let mut seen: BTreeMap<(&str, usize, &str), &Span> = BTreeMap::new();
    for device in &system.devices {
        let (name, span, label) = (device.name.value.as_str(), &device.name.span, system.label(device.vm));
        if let Some(flaw) = names::flaw(name, NAME_MAX - 3) {
            let rule = format!("use 1 to {} of a-z, 0-9, `_` and `-`", NAME_MAX - 3);
            problems.add(Problem::new(format!("`{name}` cannot be the name of a device"), span, flaw, rule));
        } else if let Some(first) = seen.insert((device.board.name, device.vm, name), span) {
            let title = format!("`{label}` has two devices called `{name}`");
            let fix = "give one of them another name";
            problems.add(Problem::new(title, span, "again here", fix).with_other(first, "first here"));
        }
        let ends = system.channels.iter().flat_map(|channel| [&channel.a, &channel.b]);
        let mut ends = ends.filter(|end| end.value.vm == device.vm && end.value.port == name);
        if let Some(end) = ends.next().filter(|_| !device.interrupts.is_empty()) {
            let title = format!("`{label}` has two ports called `{name}`");
            let fix = "give the device or the port another name";
            problems.add(Problem::new(title, span, "its interrupt brings one", fix).with_other(&end.span, "this one"));
        }
    }
}

fn is_range(device: &Device, registers: &Registers, problems: &Problems) -> bool {
    let (name, start, bytes) = (&device.name.value, registers.address.value, registers.size.value);
    let odd = if !start.is_multiple_of(PAGE_SIZE) {
        Some((&registers.address.span, start & !(PAGE_SIZE - 1)))
    } else if bytes == 0 || !bytes.is_multiple_of(PAGE_SIZE) {
        Some((&registers.size.span, bytes.max(1).next_multiple_of(PAGE_SIZE)))
    } else {
        None
    };
    if let Some((span, better)) = odd {
        let why = format!("{PAGE_SIZE:#x} bytes are the least that can be given to a VM");
        let fix = format!("write {better:#x}; all that stands in the page is this VM's then");
        problems.add(Problem::new(format!("the registers of `{name}` are not whole pages"), span, why, fix));
    } else if start.checked_add(bytes).is_none_or(|end| end > 1 << IPA_BITS) {
        let why = format!("the end is {:#x}", 1_u64 << IPA_BITS);
        let title = format!("the registers of `{name}` lie beyond the address space");
        problems.add(Problem::new(title, &registers.address.span, why, "choose a lower address"));
        return false;
    }
    odd.is_none()
}

pub(super) fn range(registers: &Registers) -> (u64, u64) {
    (registers.address.value, registers.address.value.saturating_add(registers.size.value))
}

fn place(
    system: &System,
    device: &Device,
    registers: &Registers,
    taken: &[(&Device, &Registers)],
    problems: &Problems,
) {
    let (name, (start, end), span) = (&device.name.value, range(registers), &registers.address.span);
    if let Some(kept) = device.board.keeps(start, end).or_else(|| console::keeps(system, device.board, start, end)) {
        let why = format!("{:#x}..{:#x} is {}", kept.start, kept.end, kept.what);
        let title = format!("`{name}` is in a page that the hypervisor keeps");
        let fix = match device.board.shares(kept.start, kept.end) {
            Some(_) => "give single registers of it: `allow = [{ offset = 0x8, mask = 0x38 }]`",
            None => "no VM can have it: assign another device",
        };
        problems.add(Problem::new(title, span, why, fix));
        return;
    }
    let is_met = |other: &&(&Device, &Registers)| share_a_page(range(other.1), (start, end));
    if let Some((other, first)) = taken.iter().find(is_met) {
        let (one, two) = (system.label(other.vm), system.label(device.vm));
        let title = if other.vm == device.vm {
            format!("`{two}` has a page of registers twice")
        } else {
            format!("`{one}` and `{two}` have the same page of registers")
        };
        let fix = "give the whole page to one VM";
        problems.add(Problem::new(title, span, "again here", fix).with_other(&first.address.span, "first here"));
    } else if !device.is_trusted && device.board.may_master(start, end) {
        problems.add(Problem::new(
            format!("`{name}` may read and write all memory by itself"),
            span,
            device.board.master(start, end).map_or("not a device that is known to have no DMA", |block| block.what),
            format!(
                "write `dma = \"trusted\"` if the image of `{}` may be trusted with every VM's memory",
                system.label(device.vm)
            ),
        ));
    }
}

fn line(
    system: &System,
    device: &Device,
    interrupt: &Interrupt,
    first: Option<&(&Device, &Span)>,
    problems: &Problems,
) {
    let (spi, span) = (interrupt.intid.value - FIRST_SPI, &interrupt.intid.span);
    if console::keeps_interrupt(system, device.board, interrupt.intid.value) {
        let why = format!("it is that of the console, INTID {}", interrupt.intid.value);
        let title = format!("interrupt {spi} is the hypervisor's");
        problems.add(Problem::new(title, span, why, "no VM can have it: assign another device"));
    } else if let Some((other, other_span)) = first {
        let title = format!("interrupt {spi} is given to `{}` and `{}`", other.name.value, device.name.value);
        let (one, two) = (system.label(other.vm), system.label(device.vm));
        let why = if one == two { "again here".to_owned() } else { format!("`{two}` here, `{one}` before") };
        let fix = "an interrupt has one driver: give both devices to it, and the interrupt to one of them";
        problems.add(Problem::new(title, span, why, fix).with_other(other_span, "first here"));
    }
}
