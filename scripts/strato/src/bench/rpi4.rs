//! The figures on board `rpi4`: those of `virt` with the same interrupt controller, within a tenth, and a bar of its own for boot.

use anyhow::Context;

use super::{FIGURES, From, Row, guest};
use crate::transcript::Transcript;

/// Most instructions from the first one to the first of a guest.
const BOOT_BAR: u64 = 400_000;

/// Returns the figures of counted runs of `bench` and `hello` on board `rpi4`; `virt` are those of `virt` with GICv2.
///
/// # Errors
/// A run does not have one of them.
pub fn rows(virt: &[Row], bench: &Transcript, hello: &Transcript) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for figure in FIGURES {
        let (value, bar) = match figure.from {
            From::Guest => {
                let twin = virt.iter().find(|row| row.name == figure.name).map(|row| row.value);
                (guest(bench, figure.name), twin.map(|value| value * 11 / 10))
            }
            From::Boot => (hello.number("first guest instruction at ", " ticks"), Some(BOOT_BAR)),
            From::Cores
            | From::Wide
            | From::WideYield
            | From::Lateness
            | From::Misses
            | From::Vm
            | From::LargeVm
            | From::LongestMemory
            | From::Longest
            | From::Ledger
            | From::Text
            | From::Image => continue,
        };
        let value = value.with_context(|| format!("rpi4 gave no figure `{}`", figure.name))?;
        rows.push(Row { name: figure.name, value, unit: figure.unit, board: "rpi4".into(), bar });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Unit;

    #[test]
    fn a_figure_may_be_a_tenth_more_than_that_of_virt_and_no_miss_is_accepted() {
        let bench: Vec<String> = FIGURES.iter().map(|figure| format!("[a] bench {} 110", figure.name)).collect();
        let bench = Transcript { lines: bench };
        let hello = Transcript { lines: vec!["strato: first guest instruction at 400001 ticks".into()] };
        let twin = |figure: &super::super::Figure| {
            let value = if figure.name == "share_accept_map" { 99 } else { 100 };
            Row { name: figure.name, value, unit: Unit::Instructions, board: "virt-gicv2".into(), bar: None }
        };
        let virt: Vec<Row> = FIGURES.iter().map(twin).collect();
        let rows = rows(&virt, &bench, &hello).unwrap();
        let missed: Vec<_> = rows.iter().filter(|row| !row.is_accepted()).map(|row| row.name).collect();
        assert_eq!(missed, ["share_accept_map", "boot_to_first_guest"]);
        assert!(super::rows(&virt, &hello, &hello).is_err(), "a figure that is not there is no figure");
    }
}
