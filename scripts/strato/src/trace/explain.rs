//! Explain: one line per crossing: guest, PC with symbol, trap, room, decision, instructions.

use strato_abi::trace::NOBODY;

use super::{Trace, words};
use crate::transcript::backtrace::Symbols;

/// Returns the lines of all crossings, or of those of the VM named `only`. `symbols` are those of each VM, by place.
#[must_use]
pub fn lines(trace: &Trace, symbols: &[Option<Symbols<'_>>], only: Option<&str>) -> Vec<String> {
    let place = |vm: u8| usize::from(vm);
    let is_wanted = |vm: u8| only.is_none_or(|only| trace.vms.get(place(vm)).is_some_and(|label| label == only));
    let mut rows: Vec<[String; 6]> = vec![["guest", "pc", "trap", "room", "decision", trace.unit()].map(Into::into)];
    for (_, record) in trace.records() {
        if record.from_vm == NOBODY || !is_wanted(record.from_vm) {
            continue;
        }
        let pc = words::pc(record);
        let symbol = symbols.get(place(record.from_vm)).and_then(Option::as_ref);
        let symbol = symbol.and_then(|symbols| symbols.label(pc)).map(|name| format!(" {name}")).unwrap_or_default();
        rows.push([
            trace.who(record.from_vm, record.from_vcpu),
            format!("{pc:#x}{symbol}"),
            words::full(record),
            words::room(record).into(),
            words::decision(trace, record),
            record.spent.to_string(),
        ]);
    }
    let mut lines = vec![note(trace)];
    lines.extend(columns(&rows));
    lines
}

/// Returns what the numbers are.
fn note(trace: &Trace) -> String {
    let what = if trace.is_counted {
        "a tick is an instruction"
    } else {
        "ticks of the machine's clock, not instructions: --counted counts those"
    };
    format!("{}; {what}", trace.summary())
}

fn columns(rows: &[[String; 6]]) -> Vec<String> {
    /// A cell that is longer than this moves those behind it; most functions of the guest library have room.
    const WIDEST: [usize; 6] = [48, 64, 48, 48, 48, 48];
    let width = |(n, widest): (usize, usize)| {
        let lengths = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        lengths.filter(|length| *length <= widest).max().unwrap_or(0)
    };
    let widths: Vec<usize> = WIDEST.into_iter().enumerate().map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
