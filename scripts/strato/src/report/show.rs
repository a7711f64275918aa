//! Show: the report as aligned tables.

use std::fmt::Write;

use super::{Piece, Report};
use crate::system::size;

/// Returns the report as text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!("{} on {}\n\nphysical memory\n", report.system, report.board);
    out += &table(&["physical", "", "size", "what", "owner"], &report.physical.iter().map(piece).collect::<Vec<_>>());
    let (bytes, count) = (size::show(report.hypervisor_bytes), report.hypervisor.len());
    let _ = writeln!(out, "\nthe hypervisor's own memory: {bytes} in {count} ranges, parts below their whole");
    out += &table(&["physical", "", "size", "what", "owner"], &report.hypervisor.iter().map(piece).collect::<Vec<_>>());
    for vm in &report.vms {
        let (memory, owned, overhead) =
            (size::show(vm.memory_bytes), size::show(vm.owned_bytes), size::show(vm.overhead_bytes));
        let _ = writeln!(out, "\n{}: memory {memory}, owns {owned}, {overhead} of it overhead", vm.name);
        let rows = vm.stage2.iter().map(|row| {
            let (guest, physical) = (range(row.ipa, row.bytes), range(row.pa, row.bytes));
            vec![
                guest,
                "->".into(),
                physical,
                size::show(row.bytes),
                row.rights.clone(),
                row.what.clone(),
                row.owner.clone(),
            ]
        });
        let heads = ["guest-physical", "", "physical", "size", "rights", "what", "owner"];
        out += &table(&heads, &rows.collect::<Vec<_>>());
    }
    if !report.sharing.is_empty() {
        out += "\nsharing\n";
        out += &matrix(report);
    }
    if !report.devices.is_empty() {
        out += "\ndevices\n";
        out += &devices(report);
    }
    out
}

// A row for each range and each interrupt; what is lost by a device below them.
fn devices(report: &Report) -> String {
    let rows = report.devices.iter().flat_map(|device| {
        let ranges = device.registers.iter().map(|(start, bytes)| range(*start, *bytes));
        let lines = device.interrupts.iter().map(|intid| format!("interrupt {intid}"));
        let bits = device.allowed.iter().map(|(at, mask)| format!("{at:#x}, bits {mask:#x}"));
        ranges
            .chain(bits)
            .chain(lines)
            .map(|what| vec![device.name.clone(), what, device.vm.clone()])
            .collect::<Vec<_>>()
    });
    let lost = report.devices.iter().filter_map(|device| device.lost.as_ref());
    let lost: String = lost.map(|promise| format!("  promise lost: {promise}\n")).collect();
    table(&["device", "physical", "vm"], &rows.collect::<Vec<_>>()) + &lost
}

/// Returns the last line: how much was compared, or that it does not go together.
#[must_use]
pub fn verdict(report: &Report) -> String {
    let rows: usize = report.vms.iter().map(|vm| vm.stage2.len()).sum();
    let (system, board, vms) = (&report.system, &report.board, report.vms.len());
    match report.contradictions.len() {
        0 => format!("{system} on {board}: {rows} ranges of {vms} VMs are as promised, no contradiction"),
        count => format!("{system} on {board}: {count} contradictions"),
    }
}

fn range(start: u64, bytes: u64) -> String {
    format!("{start:#010x}..{:#010x}", start.saturating_add(bytes))
}

fn piece(piece: &Piece) -> Vec<String> {
    let place = range(piece.start, piece.bytes);
    vec![place, String::new(), size::show(piece.bytes), piece.what.clone(), piece.owner.clone()]
}

// A row for each region, a column for each VM.
fn matrix(report: &Report) -> String {
    let labels = report.vms.iter().map(|vm| vm.name.as_str());
    let heads: Vec<&str> = ["region", "physical", "size", "owner"].into_iter().chain(labels.clone()).collect();
    let rows = report.sharing.iter().map(|shared| {
        let place = shared.pa.map_or("nobody holds it".into(), |pa| range(pa, shared.bytes));
        let fixed = [shared.region.clone(), place, size::show(shared.bytes), shared.owner.clone()];
        let each = labels.clone().map(|label| shared.rights.get(label).cloned().unwrap_or_else(|| ".".into()));
        fixed.into_iter().chain(each).collect()
    });
    table(&heads, &rows.collect::<Vec<_>>())
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    let all = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width != 0);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "  {}", line.join("  ").trim_end());
    }
    out
}
