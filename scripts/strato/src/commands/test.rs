//! `strato test`: every scenario on every configuration, several machines at once. Called by `commands::run`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::boot::{self, Resolver};
use super::count::{self, Counting};
use super::{Ready, build, ready_path};
use crate::exit::{FAILED, Missing, PASSED, Usage, say, say_in_color};
use crate::project::{Project, short_name};
use crate::qemu::tree::Given;
use crate::qemu::{Qemu, Virt, session};
use crate::system::Board;
use crate::{scenario, system};

/// Most lines of a failed run's transcript that are shown: the last.
const LINES_SHOWN: usize = 200;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Only this board.
    pub board: Option<Board>,
    /// The device tree that it is given.
    pub device_tree: Given,
    /// Texts of which a scenario's name has to contain one; none means all.
    pub filter: Vec<String>,
    /// Whether results are JSON.
    pub is_json: bool,
    /// Only this version of the interrupt controller.
    pub gic: Option<u8>,
    /// Only this number of cores.
    pub cores: Option<u8>,
    /// Whether every run is the same.
    pub is_counted: bool,
    /// Whether scenarios that take minutes run too.
    pub is_long: bool,
    /// Machines at once.
    pub jobs: u8,
}

impl Request {
    /// Returns the configurations of a scenario: board, interrupt controller, cores.
    fn machines(&self, is_smp: bool) -> impl Iterator<Item = (Board, u8, u8)> {
        let usual: &[u8] = if is_smp { &[1, 2, 4] } else { &[1, 4] };
        let cores = self.cores.map_or(usual.to_vec(), |only| vec![only]);
        let virt = [2, 3]
            .into_iter()
            .flat_map(move |gic| cores.clone().into_iter().map(move |cores| (Board::QemuVirt, gic, cores)));
        let (board, gic) = (self.board, self.gic);
        let rpi4 = self.cores.is_none_or(|only| only == 4).then_some((Board::Rpi4, 2, 4));
        virt.chain(rpi4).filter(move |machine| {
            board.is_none_or(|only| only == machine.0) && gic.is_none_or(|only| only == machine.1)
        })
    }
}

/// One scenario on one configuration.
struct Case {
    id: String,
    machine: Virt,
    /// The packed image with its hypervisor's ELF, or why there is none.
    image: Result<(Arc<Ready>, PathBuf, Vec<u8>), String>,
}

/// One result, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Name of the scenario.
    pub id: String,
    /// `virt-gicv2`, `virt-gicv3`, `rpi4`, or `rpi4-dtb` with a device tree.
    pub board: String,
    /// Number of cores.
    pub cores: u8,
    /// `passed` or `failed`.
    pub status: &'static str,
    /// Instructions of a counted run, of all cores together, if the case can be counted.
    pub instructions: Option<u64>,
}

/// A result and what to show when it is a failure.
struct Report {
    record: Record,
    details: Vec<String>,
}

/// Runs the scenarios and returns 0 when all passed.
///
/// # Errors
/// QEMU or the toolchain is missing, or no scenario is left by the filter.
pub fn test(project: &mut Project, request: &Request) -> anyhow::Result<u8> {
    let qemu = Qemu::find()?;
    let mut request = request.clone();
    if let Err(why) = qemu.needs_rpi4() {
        if request.board == Some(Board::Rpi4) {
            return Err(why.into());
        }
        eprintln!("SKIPPED: no scenario runs on board rpi4: {why}");
        request.board = Some(Board::QemuVirt);
    }
    let request = &request;
    let cases = cases(project, request)?;
    let is_json = request.is_json;
    let (total, queue) = (cases.len(), Arc::new(Mutex::new(VecDeque::from(cases))));
    let (sender, results) = mpsc::channel();
    let workers: Vec<_> = (0..request.jobs)
        .map(|_| {
            let (queue, sender, qemu) = (queue.clone(), sender.clone(), qemu.clone());
            thread::spawn(move || {
                while let Some(case) = next(&queue) {
                    if sender.send(run(&qemu, case, is_json)).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut records = Vec::new();
    let mut shown = Ok(()); // the machines run to their ends even when nobody reads on
    for report in results {
        if request.is_json {
            explain(&report);
        } else if shown.is_ok() {
            shown = show(&report);
        }
        records.push(report.record);
    }
    for worker in workers {
        // A worker that panicked has lost its case: the count below says so.
        let _ = worker.join();
    }
    shown?;
    records.sort_by(|a, b| (&a.id, &a.board, a.cores).cmp(&(&b.id, &b.board, b.cores)));
    let passed = records.iter().filter(|record| record.status == "passed").count();
    let failed = total.saturating_sub(passed);
    if request.is_json {
        for record in &records {
            say(serde_json::to_string(record)?)?;
        }
    } else {
        say(format_args!("{passed} passed, {failed} failed"))?;
    }
    Ok(if failed == 0 { PASSED } else { FAILED })
}

fn next(queue: &Mutex<VecDeque<Case>>) -> Option<Case> {
    if session::is_interrupted() {
        return None; // what was not run counts as failed
    }
    // A panic in another worker leaves the queue as good as it was.
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

fn cases(project: &mut Project, request: &Request) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in project.systems() {
        let id = short_name(&path);
        if !request.filter.is_empty() && !request.filter.iter().any(|part| id.contains(part)) {
            continue;
        }
        cases.extend(cases_of(project, request, &id, &path)?);
    }
    if cases.is_empty() {
        let what = format!("no scenario matches {}", request.filter.join(", "));
        return Err(Usage { what, fix: "give a part of a name that `strato run` knows, or nothing".into() }.into());
    }
    Ok(cases)
}

fn cases_of(project: &mut Project, request: &Request, id: &str, path: &Path) -> anyhow::Result<Vec<Case>> {
    // The file may be broken: then every configuration fails with its message, which counts as one case.
    let (is_smp, cpu, only) = match system::load(path, &project.shown(path)) {
        Ok((system, _)) if !system.is_test || system.is_long && !request.is_long => return Ok(Vec::new()),
        Ok((system, _)) => (system.is_smp, system.cpu, system.board),
        Err(_) => (false, "cortex-a72", Some(Board::QemuVirt)),
    };
    let ready = match ready_path(project, path) {
        Ok(ready) => Ok(Arc::new(ready)),
        Err(error) if error.is::<Missing>() => return Err(error),
        Err(error) => Err(format!("{error:#}")),
    };
    let mut cases = Vec::new();
    for (board, gic, cores) in request.machines(is_smp).filter(|(board, ..)| only.is_none_or(|only| only == *board)) {
        let (cpu, is_counted) = (cpu.into(), request.is_counted);
        let device_tree = request.device_tree.clone();
        let machine = Virt { board, gic, cores, cpu, device_tree, is_counted, is_traced: false, gdb_port: None };
        let image = match &ready {
            Ok(ready) => {
                let image = build::image_to_run(project, ready, Some(cores))?;
                Ok((ready.clone(), project.hypervisor_of(&ready.system)?, image))
            }
            Err(why) => Err(why.clone()),
        };
        cases.push(Case { id: id.to_owned(), machine, image });
    }
    Ok(cases)
}

fn run(qemu: &Qemu, case: Case, is_json: bool) -> Report {
    let mut record = Record {
        id: case.id,
        board: case.machine.board(),
        cores: case.machine.cores,
        status: "failed",
        instructions: None,
    };
    let (ready, hypervisor, image) = match case.image {
        Ok(packed) => packed,
        Err(why) => return Report { record, details: why.lines().map(Into::into).collect() },
    };
    // What a run is given up after: a suite shares its host with others, and a slow host is no failure.
    let limit = Duration::from_secs(4 * u64::from(ready.system.time_limit_s));
    let run = match boot::boot(qemu, &case.machine, &image, &ready, limit, |_| {}) {
        Ok(run) => run,
        Err(error) => return Report { record, details: vec![format!("{error:#}")] },
    };
    record.instructions = run.instructions;
    let mut details = run.reasons;
    let resolver = Resolver::new(&hypervisor, &ready);
    if details.is_empty() {
        details.extend(scenario::judge_frames(&ready.system, &run.transcript, |line| resolver.explain(line)));
    }
    if details.is_empty() {
        // A run that was counted already has its number.
        let counting = Counting::of(&ready.system, is_json && !case.machine.is_counted);
        match count::count(qemu, &case.machine, &image, &ready, counting) {
            Ok(instructions) => {
                record.instructions = instructions.or(record.instructions);
                record.status = "passed";
                return Report { record, details };
            }
            Err(why) => details.push(why),
        }
    }
    let lines = &run.transcript.lines;
    let skipped = lines.len().saturating_sub(LINES_SHOWN);
    if skipped > 0 {
        details.push(format!("| ({skipped} lines left out)"));
    }
    for line in lines.iter().skip(skipped) {
        details.push(format!("| {line}"));
        details.extend(resolver.explain(line).into_iter().map(|frame| format!("|     {frame}")));
    }
    Report { record, details }
}

// Records go to the output, so why a case failed goes beside it.
fn explain(report: &Report) {
    for line in &report.details {
        eprintln!("{} {} {}: {line}", report.record.id, report.record.board, report.record.cores);
    }
}

fn show(report: &Report) -> anyhow::Result<()> {
    let Record { id, board, cores, status, .. } = &report.record;
    let (word, color) =
        if *status == "passed" { ("ok", anstyle::AnsiColor::Green) } else { ("FAILED", anstyle::AnsiColor::Red) };
    let style = color.on_default().bold();
    say_in_color(format_args!("{style}{word}{style:#} {id} {board} {cores}"))?;
    report.details.iter().try_for_each(|line| say_in_color(format_args!("    {line}")))
}
