//! The figures on board `rpi4`: those of `virt` with the same interrupt controller, within a tenth, and a bar of its own for boot.

use anyhow::Context;

use super::{FIGURES, From, GUARDED, Row, Runs, Unit, guest};

/// Most instructions from the first one to the first of a guest.
const BOOT_BAR: u64 = 400_000;

/// Returns the figures of counted runs on board `rpi4`; `virt` are those of `virt` with GICv2. Not taken are the sizes, which are the same,
/// what `longest` takes its time for, and the events between cores: the two VMs would have to compare their clocks by the date, which the
/// board does not know.
///
/// # Errors
/// A run does not have one of them.
pub fn rows(virt: &[Row], runs: Runs<'_>) -> anyhow::Result<Vec<Row>> {
    let twin = |name: &str| virt.iter().find(|row| row.name == name).map(|row| row.value * 11 / 10);
    let mut rows = Vec::new();
    let mut add = |name, unit, value: Option<u64>, bar| {
        let value = value.with_context(|| format!("rpi4 gave no figure `{name}`"))?;
        rows.push(Row { name, value, unit, board: "rpi4".into(), bar });
        anyhow::Ok(())
    };
    for figure in FIGURES {
        if matches!(
            figure.from,
            From::Cores
                | From::Vm
                | From::LargeVm
                | From::LongestMemory
                | From::Longest
                | From::Ledger
                | From::Text
                | From::Image
        ) {
            continue;
        }
        let bar = if figure.from == From::Boot { Some(BOOT_BAR) } else { twin(figure.name) };
        add(figure.name, figure.unit, runs.value(figure), bar)?;
    }
    let of_cores = |plain: &str| FIGURES.iter().any(|figure| figure.name == plain && figure.from == From::Cores);
    for figure in GUARDED.iter().filter(|figure| !of_cores(figure.plain)) {
        add(figure.name, Unit::Instructions, guest(runs.guarded, figure.plain), twin(figure.name))?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Transcript;

    #[test]
    fn a_figure_may_be_a_tenth_more_than_that_of_virt_and_no_miss_is_accepted() {
        let bench: Vec<String> = FIGURES.iter().map(|figure| format!("[a] bench {} 110", figure.name)).collect();
        let bench = Transcript { lines: bench };
        let hello = Transcript { lines: vec!["strato: first guest instruction at 400001 ticks".into()] };
        let reserved = Transcript { lines: vec!["[a] 9 periods of 100 us: 1 missed, at worst 110 ticks late".into()] };
        let twin = |name: &'static str| {
            let value = match name {
                "share_accept_map" | "map_2m_guarded" => 99,
                "reserved_misses" => 0,
                _ => 100,
            };
            Row { name, value, unit: Unit::Instructions, board: "virt-gicv2".into(), bar: None }
        };
        let names = FIGURES.iter().map(|figure| figure.name).chain(GUARDED.iter().map(|figure| figure.name));
        let virt: Vec<Row> = names.map(twin).collect();
        let (guarded, wide) = (&bench, &bench);
        let runs = Runs { bench: &bench, guarded, wide, reserved: &reserved, hello: &hello };
        let missed: Vec<_> = rows(&virt, runs).unwrap().into_iter().filter(|row| !row.is_accepted()).collect();
        let missed: Vec<_> = missed.iter().map(|row| row.name).collect();
        assert_eq!(missed, ["share_accept_map", "reserved_misses", "boot_to_first_guest", "map_2m_guarded"]);
        for lost in [
            Runs { bench: &hello, ..runs },
            Runs { guarded: &hello, ..runs },
            Runs { wide: &hello, ..runs },
            Runs { reserved: &hello, ..runs },
            Runs { hello: &bench, ..runs },
        ] {
            assert!(rows(&virt, lost).is_err(), "a figure that is not there is no figure");
        }
    }
}
