//! `strato bench` and `strato size`: the figures, measured and held against their bars. Called by `commands::run`.

use std::time::Duration;

use anyhow::ensure;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSymbol};

use super::place::Place;
use super::{boot, build, ready, report};
use crate::bench::{self, Row, Runs, Sources, TEXT_BAR, miss, sections, text_bytes};
use crate::exit::{FAILED, PASSED, say};
use crate::pack::hypervisor;
use crate::project::Project;
use crate::qemu::tree::Given;
use crate::qemu::{Qemu, Virt};
use crate::serial::{self, Line};
use crate::system::Board;
use crate::transcript::Transcript;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether results are JSON.
    pub is_json: bool,
    /// Only this version of the interrupt controller.
    pub gic: Option<u8>,
    /// Whether a missed bar fails, unless the miss is accepted.
    pub is_check: bool,
    /// The board that is measured instead.
    pub line: Option<Line>,
}

/// Measures every figure; with `is_check` a missed bar gives status 1, unless the miss is accepted.
///
/// # Errors
/// QEMU or the toolchain is missing, a run failed, or a figure is not there.
pub fn bench(project: &mut Project, request: Request) -> anyhow::Result<u8> {
    if let Some(line) = request.line {
        return on_board(project, line, request.is_json);
    }
    let qemu = Qemu::find()?;
    let elf = std::fs::read(project.hypervisor()?)?;
    let text_bytes = text_bytes(&sections(&elf)?);
    let image_bytes = u64::try_from(hypervisor::flatten(&elf)?.bytes.len())?;
    let mut rows: Vec<Row> = Vec::new();
    for gic in [2, 3].into_iter().filter(|gic| request.gic.is_none_or(|only| only == *gic)) {
        let machine = machine(gic);
        let (bench, hello) = (counted(project, &qemu, &machine, "bench")?, counted(project, &qemu, &machine, "hello")?);
        let longest = counted(project, &qemu, &machine, "longest")?;
        let guarded = counted(project, &qemu, &machine, "bench_guarded")?;
        let two = Virt { cores: 2, ..machine.clone() };
        let cores = counted(project, &qemu, &two, "bench_cores")?;
        let cores_guarded = counted(project, &qemu, &two, "bench_cores_guarded")?;
        let wide = counted(project, &qemu, &machine, "bench_wide")?;
        let reserved = counted(project, &qemu, &machine, "reserved")?;
        let hello_system = ready(project, "hello")?;
        let memory = report::facts(project, &qemu, &hello_system, &machine)?;
        let sources = Sources {
            runs: Runs { bench: &bench, guarded: &guarded, wide: &wide, reserved: &reserved, hello: &hello },
            cores: &cores,
            cores_guarded: &cores_guarded,
            longest: &longest,
            memory: &memory,
            text_bytes,
            image_bytes,
        };
        if !request.is_json {
            // The figure is the most of these; which call and which argument it is, no table has room for.
            let (mut longest, board) = (bench::longest(&longest).chain(bench::longest(&reserved)), machine.board());
            longest.try_for_each(|(ticks, what)| say(format_args!("{board} {ticks:>6} {what}")))?;
        }
        rows.extend(bench::rows(&machine.board(), &sources)?);
    }
    if let Err(why) = qemu.needs_rpi4() {
        eprintln!("SKIPPED: no figure of board rpi4: {why}");
    } else if request.gic != Some(3) {
        let machine = Virt { board: Board::Rpi4, cores: 4, ..machine(2) };
        let mut counted = |system| counted(project, &qemu, &machine, system);
        let (bench, guarded, hello) = (counted("bench")?, counted("bench_guarded")?, counted("hello")?);
        let (wide, reserved) = (counted("bench_wide")?, counted("reserved")?);
        let runs = Runs { bench: &bench, guarded: &guarded, wide: &wide, reserved: &reserved, hello: &hello };
        rows.extend(bench::rpi4::rows(&rows, runs)?);
    }
    if request.is_json {
        say(serde_json::to_string_pretty(&rows)?)?;
    } else {
        say(bench::table(&rows).trim_end())?;
    }
    if !request.is_check {
        return Ok(PASSED);
    }
    for row in rows.iter().filter(|row| !row.is_within()) {
        let accepted =
            miss(row.name).map_or_else(String::new, |miss| format!("; {} are accepted: {}", miss.ceiling, miss.why));
        eprintln!("{} on {} missed its bar: {}{accepted}", row.name, row.board, row.value);
    }
    Ok(if rows.iter().all(Row::is_accepted) { PASSED } else { FAILED })
}

/// Measures what takes time on a board.
fn on_board(project: &mut Project, line: Line, is_json: bool) -> anyhow::Result<u8> {
    let place = Place::Board(line);
    let (bench, hello) = (passed(project, &place, "bench")?, passed(project, &place, "hello")?);
    let times = bench::board::times(serial::NAME, &bench, &hello)?;
    if is_json {
        say(serde_json::to_string_pretty(&times)?)?;
    } else {
        say(bench::board::table(&times).trim_end())?;
    }
    Ok(PASSED)
}

// The machine that counts.
fn machine(gic: u8) -> Virt {
    Virt {
        board: Board::QemuVirt,
        gic,
        cores: 1,
        cpu: "cortex-a72".into(),
        device_tree: Given::Nothing,
        has_mini_uart: false,
        is_counted: true,
        is_traced: false,
        reset: None,
        gdb_port: None,
    }
}

// The same machine and the same image give the same instructions each time.
fn counted(project: &mut Project, qemu: &Qemu, machine: &Virt, system: &str) -> anyhow::Result<Transcript> {
    passed(project, &Place::Qemu(qemu.clone(), machine.clone()), system)
}

fn passed(project: &mut Project, place: &Place, system: &str) -> anyhow::Result<Transcript> {
    let ready = ready(project, system)?;
    let image = build::image(project, &ready, Some(place.cores()))?;
    let limit = Duration::from_secs(u64::from(ready.system.time_limit_s));
    let run = boot::boot_unseen(place, &image, &ready, limit)?;
    let board = place.board();
    let lines = run.transcript.lines.join("\n");
    ensure!(run.reasons.is_empty(), "`{system}` failed on {board}: {}\n{lines}", run.reasons.join("; "));
    Ok(run.transcript)
}

/// Shows the hypervisor's sections and its `count` biggest symbols; more text than the bar gives status 1, unless the miss
/// is accepted.
///
/// # Errors
/// The toolchain is missing, or the build failed.
pub fn size(project: &mut Project, count: usize) -> anyhow::Result<u8> {
    let file = std::fs::read(project.hypervisor()?)?;
    let sections = sections(&file)?;
    for section in &sections {
        say(format_args!("{:>9}  {}", section.bytes, section.name))?;
    }
    let elf = ElfFile64::<LittleEndian>::parse(file.as_slice())?;
    let mut symbols: Vec<(u64, &str)> =
        elf.symbols().filter_map(|symbol| Some((symbol.size(), symbol.name().ok()?))).collect();
    symbols.sort_by_key(|(bytes, name)| (std::cmp::Reverse(*bytes), *name));
    say("\nbiggest symbols:")?;
    for (bytes, name) in symbols.iter().take(count).filter(|(bytes, _)| *bytes != 0) {
        say(format_args!("{bytes:>9}  {:#}", rustc_demangle::demangle(name)))?;
    }
    let (text, image) = (text_bytes(&sections), hypervisor::flatten(&file)?.bytes.len());
    let word = if text <= TEXT_BAR { "within" } else { "MISSES" };
    say(format_args!("\nimage {image} bytes, text {text} bytes, {word} its bar of {TEXT_BAR}"))?;
    let most = miss("text_bytes").map_or(TEXT_BAR, |miss| miss.ceiling.max(TEXT_BAR));
    Ok(if text <= most { PASSED } else { FAILED })
}
