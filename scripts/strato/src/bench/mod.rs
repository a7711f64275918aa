//! Room `bench`: the figures that the project promises, each with its bar, and where each comes from.
//! Owns the one table of bars. Called by `strato bench`; reads transcripts and the hypervisor's ELF, runs nothing.

mod accepted;
pub mod board;
mod guarded;
pub mod rpi4;
mod sections;

use anyhow::Context;
use serde::Serialize;

pub use self::accepted::{ACCEPTED, Miss, miss};
pub use self::guarded::{GUARDED, Guarded};
pub use self::sections::{Section, sections, text_bytes};
use crate::report::facts::Facts;
use crate::transcript::Transcript;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Instructions of all exception levels together.
    Instructions,
    /// Bytes.
    Bytes,
    /// Periods.
    Periods,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A line `bench <name> <value>` of a guest of the system `bench`.
    Guest,
    /// The line of `event_send` in the system `bench_wide`, which has as many VMs and ports as there can be.
    Wide,
    /// The line of the yields there: 62 vCPUs more are ready. Its bar is the figure without them, and 5 % of it.
    WideYield,
    /// A line `bench <name> <value>` of a guest of the system `bench_cores`, on two cores.
    Cores,
    /// What `control` says in the system `reserved`: the ticks that it was late at worst.
    Lateness,
    /// The same: the periods that it missed.
    Misses,
    /// The hypervisor's line about its first guest, in a boot of `hello`.
    Boot,
    /// The hypervisor's line about the VM of `hello`, which has 1 MiB.
    Vm,
    /// The hypervisor's line about the VM of the system `bench` that has 64 MiB.
    LargeVm,
    /// The most of the lines `longest <value> <call>: <argument>` of memory calls, by the guests of the system `longest`.
    LongestMemory,
    /// The most of all such lines, of those of traps, `longest <value> trap: <which>`, and of what `control` says in the system `reserved`: how
    /// long a turn of a core kept it waiting on which much is due.
    Longest,
    /// What the hypervisor reports of its ledger, in a boot of `hello`.
    Ledger,
    /// Executable sections of the hypervisor's ELF.
    Text,
    /// The flat hypervisor, without a payload.
    Image,
}

/// A figure and its bar.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Name, as issues and results write it.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The most that it may be; none when it is only reported.
    pub bar: Option<u64>,
    /// Where it comes from.
    pub from: From,
}

const fn figure(name: &'static str, unit: Unit, bar: Option<u64>, from: From) -> Figure {
    Figure { name, unit, bar, from }
}

/// Most bytes of text; `strato size` holds it as well.
pub const TEXT_BAR: u64 = 80 << 10;

/// Instructions that the hypervisor executes at most with interrupts masked; the admission of shares of cores' time counts on it.
pub const LONGEST_BAR: u64 = 10_000;

/// Every figure, in the order of the table.
pub const FIGURES: &[Figure] = &[
    figure("null_call", Unit::Instructions, Some(48), From::Guest),
    figure("event_send", Unit::Instructions, Some(90), From::Guest),
    figure("event_send_64_vms_1024_ports", Unit::Instructions, Some(94), From::Wide),
    figure("event_send_to_handler_self", Unit::Instructions, Some(240), From::Guest),
    figure("event_to_idle_core", Unit::Instructions, Some(450), From::Cores),
    figure("event_round_trip_two_vms_one_core", Unit::Instructions, Some(850), From::Guest),
    figure("signal_wait_round_trip", Unit::Instructions, Some(700), From::Guest),
    figure("preempt_to_first_instruction", Unit::Instructions, Some(380), From::Guest),
    figure("yield_alone", Unit::Instructions, Some(60), From::Guest),
    figure("yield_round_trip_two_vms_one_core", Unit::Instructions, Some(500), From::Guest),
    figure("yield_round_trip_64_vcpus", Unit::Instructions, None, From::WideYield),
    figure("timer_to_handler", Unit::Instructions, Some(200), From::Guest),
    figure("local_timer_to_handler", Unit::Instructions, Some(150), From::Guest),
    figure("map_4k", Unit::Instructions, Some(190), From::Guest),
    figure("map_4k_batch", Unit::Instructions, Some(18), From::Guest),
    figure("unmap_4k", Unit::Instructions, Some(220), From::Guest),
    figure("unmap_4k_batch", Unit::Instructions, Some(22), From::Guest),
    figure("map_2m", Unit::Instructions, Some(190), From::Guest),
    figure("page_fault_map_return", Unit::Instructions, Some(600), From::Guest),
    figure("share_accept_map", Unit::Instructions, Some(420), From::Guest),
    figure("share_relinquish", Unit::Instructions, Some(450), From::Guest),
    figure("ring_message_64b", Unit::Instructions, Some(80), From::Guest),
    figure("reserved_worst_lateness", Unit::Instructions, Some(20_000), From::Lateness),
    figure("reserved_misses", Unit::Periods, Some(0), From::Misses),
    figure("longest_masked_memory", Unit::Instructions, Some(10_000), From::LongestMemory),
    figure("longest_masked", Unit::Instructions, Some(LONGEST_BAR), From::Longest),
    figure("boot_to_first_guest", Unit::Instructions, Some(300_000), From::Boot),
    figure("text_bytes", Unit::Bytes, Some(TEXT_BAR), From::Text),
    figure("image_bytes", Unit::Bytes, None, From::Image),
    figure("vm_overhead_bytes", Unit::Bytes, Some(48 << 10), From::Vm),
    figure("vm_overhead_bytes_64m", Unit::Bytes, Some(64 << 10), From::LargeVm),
    figure("ledger_bytes", Unit::Bytes, None, From::Ledger),
];

/// A measured figure, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Name.
    pub name: &'static str,
    /// Value.
    pub value: u64,
    /// What it counts.
    pub unit: Unit,
    /// `virt-gicv2`, `virt-gicv3` or `rpi4`.
    pub board: String,
    /// The most that it may be.
    #[serde(skip)]
    pub bar: Option<u64>,
}

impl Row {
    /// Returns whether the value is within its bar.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.bar.is_none_or(|bar| self.value <= bar)
    }

    /// Returns whether the value is within its bar, or misses it no further than is accepted on QEMU's `virt`.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.is_within() || self.board != "rpi4" && miss(self.name).is_some_and(|miss| self.value <= miss.ceiling)
    }
}

/// Counted runs of systems on a board.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'r> {
    /// Of the system `bench`.
    pub bench: &'r Transcript,
    /// Of `bench_guarded`: the same, with entries guarded against branch history.
    pub guarded: &'r Transcript,
    /// Of `bench_wide`.
    pub wide: &'r Transcript,
    /// Of `reserved`.
    pub reserved: &'r Transcript,
    /// Of `hello`.
    pub hello: &'r Transcript,
}

/// What the figures of QEMU's `virt` are read from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// The runs that other boards have too.
    pub runs: Runs<'s>,
    /// Counted run of the system `bench_cores`, on two cores.
    pub cores: &'s Transcript,
    /// Counted run of the system `bench_cores_guarded`.
    pub cores_guarded: &'s Transcript,
    /// Counted run of the system `longest`.
    pub longest: &'s Transcript,
    /// What a boot of `hello` reports of memory.
    pub memory: &'s Facts,
    /// Bytes of executable sections.
    pub text_bytes: u64,
    /// Bytes of the flat hypervisor.
    pub image_bytes: u64,
}

/// Returns every figure of a board.
///
/// # Errors
/// A source does not have one of them.
pub fn rows(board: &str, sources: &Sources<'_>) -> anyhow::Result<Vec<Row>> {
    let row = |figure: &Figure| {
        let value = value(figure, sources).with_context(|| format!("{board} gave no figure `{}`", figure.name))?;
        Ok(Row { name: figure.name, value, unit: figure.unit, board: board.to_owned(), bar: figure.bar })
    };
    let mut rows = FIGURES.iter().map(row).collect::<anyhow::Result<Vec<Row>>>()?;
    let small =
        rows.iter().find(|row| row.name == "yield_round_trip_two_vms_one_core").map(|row| row.value * 105 / 100);
    for row in rows.iter_mut().filter(|row| row.name == "yield_round_trip_64_vcpus") {
        row.bar = small;
    }
    for figure in GUARDED {
        let is_of_cores = FIGURES.iter().any(|plain| plain.name == figure.plain && plain.from == From::Cores);
        let value = guest(if is_of_cores { sources.cores_guarded } else { sources.runs.guarded }, figure.plain);
        let value = value.with_context(|| format!("{board} gave no figure `{}`", figure.name))?;
        let plain = rows.iter().find(|row| row.name == figure.plain).map_or(0, |row| row.value);
        let (unit, bar) = (Unit::Instructions, Some(figure.bar(plain)));
        rows.push(Row { name: figure.name, value, unit, board: board.to_owned(), bar });
    }
    Ok(rows)
}

impl Runs<'_> {
    /// Returns the value of a figure that guests or boot tell in these runs, if it is there.
    fn value(&self, figure: &Figure) -> Option<u64> {
        match figure.from {
            From::Guest => guest(self.bench, figure.name),
            From::Wide => guest(self.wide, "event_send"),
            From::WideYield => guest(self.wide, "yield_round_trip_two_vms_one_core"),
            From::Lateness => said(self.reserved, " missed, at worst ", " ticks late"),
            From::Misses => said(self.reserved, " us: ", " missed, at worst "),
            From::Boot => self.hello.number("first guest instruction at ", " ticks"),
            From::Vm => self.hello.number(" bytes of ram, ", " bytes of overhead"),
            From::LargeVm => self.bench.number(" 67108864 bytes of ram, ", " bytes of overhead"),
            From::Cores | From::LongestMemory | From::Longest | From::Ledger | From::Text | From::Image => None,
        }
    }
}

fn value(figure: &Figure, sources: &Sources<'_>) -> Option<u64> {
    let runs = &sources.runs;
    match figure.from {
        From::Cores => guest(sources.cores, figure.name),
        From::LongestMemory => {
            longest(sources.longest).filter(|(_, what)| is_of_memory(what)).map(|(ticks, _)| ticks).max()
        }
        From::Longest => longest(sources.longest).chain(longest(runs.reserved)).map(|(ticks, _)| ticks).max(),
        From::Ledger => sources.memory.ledger_bytes(),
        From::Text => Some(sources.text_bytes),
        From::Image => Some(sources.image_bytes),
        From::Guest
        | From::Wide
        | From::WideYield
        | From::Lateness
        | From::Misses
        | From::Boot
        | From::Vm
        | From::LargeVm => runs.value(figure),
    }
}

/// Returns the number that a guest says between `before` and `after`.
fn said(transcript: &Transcript, before: &str, after: &str) -> Option<u64> {
    let mut rest = transcript.lines.iter().filter_map(|line| line.split_once(before));
    rest.find_map(|(_, rest)| rest.split_once(after)?.0.parse().ok())
}

fn guest(transcript: &Transcript, name: &str) -> Option<u64> {
    let mut lines = transcript.lines.iter().filter_map(|line| line.split_once("] bench "));
    lines.find_map(|(_, figure)| figure.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Returns whether the call that a line of the longest begins with is one about memory.
fn is_of_memory(what: &str) -> bool {
    ["MEM.", "AS.", "SHARE.", "CORE.HANDLE_"].iter().any(|group| what.starts_with(group))
}

/// Returns the ticks of the longest of each call and trap, and which call with which argument that was.
pub fn longest(transcript: &Transcript) -> impl Iterator<Item = (u64, &str)> {
    let lines = transcript.lines.iter().filter_map(|line| line.split_once("] longest ")?.1.split_once(' '));
    lines.filter_map(|(ticks, what)| Some((ticks.parse().ok()?, what)))
}

/// Returns the table of all boards.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = format!("{:<41} {:<11} {:>9} {:>9}  {}\n", "figure", "board", "value", "bar", "unit");
    for row in rows {
        let bar = row.bar.map_or("-".into(), |bar| bar.to_string());
        let unit = match row.unit {
            Unit::Instructions => "instructions",
            Unit::Bytes => "bytes",
            Unit::Periods => "periods",
        };
        let missed = if row.is_within() { "" } else { "  MISSED" };
        table += &format!("{:<41} {:<11} {:>9} {bar:>9}  {unit}{missed}\n", row.name, row.board, row.value);
    }
    table
}

#[cfg(test)]
mod tests;
