//! `strato test`: every scenario on every configuration, several machines at once. Called by `commands::run`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::boot;
use super::cases::{self, Case, Request, What};
use super::count::{self, Counting};
use super::place::Place;
use super::resolve::Resolver;
use crate::exit::{FAILED, PASSED, say, say_in_color};
use crate::machine::signals;
use crate::project::Project;
use crate::qemu::Qemu;
use crate::scenario;
use crate::system::Board;

/// Most lines of a failed run's transcript that are shown: the last.
const LINES_SHOWN: usize = 200;

/// One result, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Name of the scenario.
    pub id: String,
    /// `virt-gicv2`, `virt-gicv3`, `rpi4`, `rpi4-dtb` with a device tree, or `rpi4-serial` for a board.
    pub board: String,
    /// Number of cores.
    pub cores: u8,
    /// `passed`, `failed` or, on a board alone, `skipped`.
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
    let mut request = request.clone();
    let qemu = match &request.line {
        Some(_) => None,
        None => Some(Qemu::find()?),
    };
    if let Some(Err(why)) = qemu.as_ref().map(Qemu::needs_rpi4) {
        if request.board == Some(Board::Rpi4) {
            return Err(why.into());
        }
        eprintln!("SKIPPED: no scenario runs on board rpi4: {why}");
        request.board = Some(Board::QemuVirt);
    }
    let request = &request;
    let cases = cases::of(project, request, qemu.as_ref())?;
    // There is one board.
    let jobs = if request.line.is_some() { 1 } else { request.jobs };
    let is_json = request.is_json;
    let (total, queue) = (cases.len(), Arc::new(Mutex::new(VecDeque::from(cases))));
    let (sender, results) = mpsc::channel();
    let workers: Vec<_> = (0..jobs)
        .map(|_| {
            let (queue, sender) = (queue.clone(), sender.clone());
            thread::spawn(move || {
                while let Some(case) = next(&queue) {
                    if sender.send(run(case, is_json)).is_err() {
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
    let count = |status| records.iter().filter(|record| record.status == status).count();
    let (passed, skipped) = (count("passed"), count("skipped"));
    let failed = total.saturating_sub(passed + skipped);
    if request.is_json {
        for record in &records {
            say(serde_json::to_string(record)?)?;
        }
    } else {
        let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        say(format_args!("{passed} passed, {failed} failed{skipped}"))?;
    }
    Ok(if failed == 0 { PASSED } else { FAILED })
}

fn next(queue: &Mutex<VecDeque<Case>>) -> Option<Case> {
    if signals::is_interrupted() {
        return None; // what was not run counts as failed
    }
    // A panic in another worker leaves the queue as good as it was.
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

fn run(case: Case, is_json: bool) -> Report {
    let (id, place) = (case.id, case.place);
    let (board, cores) = (place.board(), place.cores());
    let mut record = Record { id, board, cores, status: "failed", instructions: None };
    let (ready, hypervisor, image) = match case.what {
        What::Image(ready, hypervisor, image) => (ready, hypervisor, image),
        What::Broken(why) => return Report { record, details: why.lines().map(Into::into).collect() },
        What::Unfit(why) => {
            record.status = "skipped";
            return Report { record, details: vec![why] };
        }
    };
    let limit = u64::from(ready.system.time_limit_s);
    let limit = Duration::from_secs(match place {
        // What a run is given up after: a suite shares its host with others, and a slow host is no failure.
        Place::Qemu(..) => 4 * limit,
        Place::Board(_) => limit,
    });
    let run = match boot::boot_unseen(&place, &image, &ready, limit) {
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
        let counted = match &place {
            Place::Qemu(qemu, virt) => {
                // A run that was counted already has its number.
                let counting = Counting::of(&ready.system, is_json && !virt.is_counted);
                count::count(qemu, virt, &image, &ready, counting)
            }
            Place::Board(_) => Ok(None),
        };
        match counted {
            Ok(instructions) => {
                record.instructions = instructions.or(record.instructions);
                record.status = "passed";
                return Report { record, details };
            }
            Err(why) => details.push(why),
        }
    }
    let lines = [run.before, run.transcript.lines].concat();
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
    let (word, color) = match *status {
        "passed" => ("ok", anstyle::AnsiColor::Green),
        "skipped" => ("SKIPPED", anstyle::AnsiColor::Yellow),
        _ => ("FAILED", anstyle::AnsiColor::Red),
    };
    let style = color.on_default().bold();
    say_in_color(format_args!("{style}{word}{style:#} {id} {board} {cores}"))?;
    report.details.iter().try_for_each(|line| say_in_color(format_args!("    {line}")))
}
