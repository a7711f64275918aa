//! The figures of a board: times, by its counter. No instruction is counted there, so that no bar is held.

use anyhow::Context;
use serde::Serialize;

use super::{FIGURES, From, guest};
use crate::transcript::Transcript;

/// A time, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Time {
    /// Name of the figure.
    pub name: &'static str,
    /// Ticks of the counter, rounded up.
    pub ticks: u64,
    /// The same in nanoseconds.
    pub nanoseconds: u64,
    /// What a second has of ticks (CNTFRQ_EL0).
    pub ticks_per_second: u64,
    /// The board.
    pub board: String,
}

/// Returns the times of runs of `bench` and `hello` on a board: what guests measure, and the boot.
///
/// # Errors
/// A run does not have one of them.
pub fn times(board: &str, bench: &Transcript, hello: &Transcript) -> anyhow::Result<Vec<Time>> {
    let missing = |name: &str| format!("{board} gave no figure `{name}`");
    let name = "ticks_per_second";
    let hz = guest(bench, name).filter(|hz| *hz > 0).with_context(|| missing(name))?;
    let mut times = Vec::new();
    for figure in FIGURES.iter().filter(|figure| matches!(figure.from, From::Guest | From::Boot)) {
        let ticks = if figure.from == From::Boot {
            hello.number("first guest instruction at ", " ticks")
        } else {
            guest(bench, figure.name)
        };
        let ticks = ticks.with_context(|| missing(figure.name))?;
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(hz);
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        times.push(Time { name: figure.name, ticks, nanoseconds, ticks_per_second: hz, board: board.into() });
    }
    Ok(times)
}

/// Returns the table of the times.
#[must_use]
pub fn table(times: &[Time]) -> String {
    let mut table = format!("{:<36} {:<11} {:>12} {:>14}\n", "figure", "board", "ticks", "ns");
    for Time { name, ticks, nanoseconds, board, .. } in times {
        table += &format!("{name:<36} {board:<11} {ticks:>12} {nanoseconds:>14}\n");
    }
    let hz = times.first().map_or(0, |time| time.ticks_per_second);
    table
        + &format!(
            "\n{hz} ticks a second, each value rounded up to one. These are times, no instructions: no bar is held.\n"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_and_a_figure_that_is_not_there_is_none() {
        let mut bench: Vec<String> = FIGURES.iter().map(|figure| format!("[a] bench {} 27", figure.name)).collect();
        let hello = Transcript { lines: vec!["strato: first guest instruction at 54000000 ticks".into()] };
        let some = |lines: &[String]| times("rpi4-serial", &Transcript { lines: lines.to_vec() }, &hello);
        assert!(some(&bench).unwrap_err().to_string().contains("`ticks_per_second`"));
        bench.push("[a] bench ticks_per_second 54000000".into());
        let found = some(&bench).unwrap();
        let of = |name: &str| found.iter().find(|time| time.name == name).map(|time| (time.ticks, time.nanoseconds));
        assert_eq!((of("null_call"), of("boot_to_first_guest")), (Some((27, 500)), Some((54_000_000, 1_000_000_000))));
        assert_eq!((of("text_bytes"), of("event_to_idle_core")), (None, None));
        let table = table(&found);
        assert!(
            table.contains("\nnull_call                            rpi4-serial           27            500\n"),
            "{table}"
        );
        assert!(table.ends_with("\n54000000 ticks a second, each value rounded up to one. These are times, no instructions: no bar is held.\n"));
        bench.retain(|line| !line.contains("null_call"));
        assert!(some(&bench).unwrap_err().to_string().contains("`null_call`"));
    }
}
