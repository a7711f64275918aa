//! Report: says where everything stands and whose it is, for the host tool, which compares it with what the system's file
//! promises. Called once by `start`, only when the packed system asks for it, before any guest runs.
//!
//! A line is `report: <what> <numbers>`, numbers in hexadecimal; [`strato_abi::plan::HEADER_REPORT`] asks for it and
//! `report: end` ends it. Each line is sent before the next is made: none is lost, and nothing else waits for the UART yet.

use core::fmt::Write;

use heapless::String;
use log::Level;

use super::Parts;
use crate::allocator::Owner;
use crate::arch::entry;
use crate::arch::epoch::Stay;
use crate::arch::region::{PAGE, Region};
use crate::console::{Console, say};
use crate::lock::Held;
use crate::machine::Machine;
use crate::vm::spaces::FIRST;
use crate::vm::{Inner, Vm};

/// Says a line: six numbers of 16 digits fit.
fn line(console: &Console, what: &str, numbers: &[u64]) {
    let mut text = String::<128>::new();
    for number in numbers {
        // It fits, as said above.
        let _ = write!(text, " {number:x}");
    }
    send(console, what, &text);
}

#[cold]
#[inline(never)]
fn send(console: &Console, what: &str, text: &str) {
    say(Level::Info, format_args!("report: {what}{text}"));
    console.drain();
}

/// Says what stood before the first VM: RAM, and the hypervisor's own part of it.
#[cold]
#[inline(never)]
pub(super) fn ground(parts: &Parts) {
    let image = entry::image();
    let payload = parts.payload.as_ptr().addr() as u64;
    let own = [
        ("image", Region { start: image.start, end: image.end }),
        ("text", Region { start: image.start, end: image.text_end }),
        ("rodata", Region { start: image.text_end, end: image.rodata_end }),
        ("data", Region { start: image.rodata_end, end: image.data_end }),
        ("payload", Region::new(payload, parts.payload.len() as u64).outer_pages()),
        ("carved", parts.carved.whole),
        ("tables", parts.carved.tables),
    ];
    let retained = parts.carved.retained.map(|region| ("retained", region));
    let ram = parts.board.ram.iter().map(|region| ("ram", *region));
    let reserved = parts.board.reserved.iter().map(|region| ("reserved", *region));
    let stacks = parts.carved.stacks.iter();
    let stacks = stacks.flat_map(|of| [("emergency", of.emergency), ("stack", of.stack)]);
    for (what, region) in ram.chain(reserved).chain(own).chain(stacks).chain(retained) {
        line(parts.console, what, &[region.start, region.end]);
    }
}

/// Says whose each extent is, what each VM maps, and what it holds; then that this was all.
#[cold]
#[inline(never)]
pub(super) fn owners(machine: &Machine, stay: &Stay<'_>, none: &mut Held<'_, 0>) {
    let console = machine.console;
    {
        let (pool, _held) = machine.memory.lock(none);
        let (ledger, frames) = pool.allocator.ledger_frames();
        line(console, "ledger", &[ledger.bytes(), ledger.bytes().saturating_add(frames.saturating_mul(PAGE))]);
        for extent in pool.allocator.extents() {
            let owner = match extent.owner {
                Owner::Pool => 0,
                Owner::Hypervisor => 1,
                Owner::Vm(place) => u64::from(place).saturating_add(2),
            };
            let (kind, mapped, handles) = (extent.kind as u64, extent.mapped.into(), extent.references.into());
            line(console, "extent", &[extent.base.bytes(), extent.pages, owner, kind, mapped, handles]);
        }
    }
    for vm in machine.vms.iter().filter_map(|slot| slot.get(stay)) {
        space(console, vm, &vm.inner.lock(none).0);
    }
    line(console, "end", &[]);
}

fn space(console: &Console, vm: &Vm, inner: &Inner) {
    let place = u64::from(vm.place);
    line(console, "vm", &[place]);
    send(console, "label ", &vm.label);
    let mut at = 0;
    // Before its start a VM has the address space that it was made with, and no other.
    while let Some(found) = inner.spaces.get(FIRST).and_then(|space| space.stretch_from(at)) {
        let start = found.start.bytes();
        line(console, "map", &[place, start, found.bytes, found.attr.rights().bits(), found.pa.bytes()]);
        at = start.saturating_add(found.bytes);
    }
    let mut from = 0;
    while let Some((handle, mem)) = inner.handles.next_mem(from) {
        let rights = mem.rights.bits().into();
        line(console, "handle", &[place, handle.index().into(), mem.base.bytes(), mem.pages, rights]);
        from = handle.index().saturating_add(1);
    }
}
