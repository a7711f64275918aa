//! `strato report`: boots a system as far as its first guest, and compares what the hypervisor says about memory with what
//! the file and the images promise. Called by `commands::run`.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;

use super::boot::Scratch;
use super::place::machine_of;
use super::{Ready, build, ready};
use crate::cli::Machine;
use crate::exit::{FAILED, PASSED, Usage, say};
use crate::machine::session::{self, Heard};
use crate::project::Project;
use crate::qemu::monitor::Monitor;
use crate::qemu::process::Process;
use crate::qemu::{Qemu, Virt};
use crate::report::facts::{self, Facts};
use crate::report::{join, predict, show};
use crate::system::Board;
use crate::transcript::Transcript;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name or path of the system.
    pub system: String,
    /// The machine.
    pub machine: Machine,
    /// Cores, or as the system says.
    pub cores: Option<u8>,
    /// Whether the report is JSON.
    pub is_json: bool,
    /// Whether only the verdict is shown.
    pub is_check: bool,
}

/// Shows the report; a contradiction gives status 1.
///
/// # Errors
/// QEMU or the toolchain is missing, the system is refused, a build failed, or the hypervisor does not report.
pub fn report(project: &mut Project, request: &Request) -> anyhow::Result<u8> {
    let qemu = Qemu::find()?;
    let ready = ready(project, &request.system)?;
    let images = ready.images.iter().map(|loaded| &loaded.image);
    let promises = predict::promises(&ready.system, images, &std::fs::read(project.hypervisor()?)?)?;
    if request.machine.board == Some(Board::Rpi4) {
        let what = "what is where is predicted for qemu-virt alone".to_owned();
        return Err(Usage { what, fix: "leave --board out".into() }.into());
    }
    let machine = machine_of(&qemu, &request.machine, request.cores, &ready.system)?;
    let facts = facts(project, &qemu, &ready, &machine)?;
    let report = join::join(&ready.system.name, &machine.board(), &promises, &facts);
    match (request.is_json, request.is_check) {
        (true, _) => say(serde_json::to_string_pretty(&report)?)?,
        (false, false) => say(format_args!("{}\n{}", show::text(&report), show::verdict(&report)))?,
        (false, true) => say(show::verdict(&report))?,
    }
    for contradiction in &report.contradictions {
        eprintln!("contradiction: {contradiction}");
    }
    Ok(if report.contradictions.is_empty() { PASSED } else { FAILED })
}

/// Returns what the hypervisor says about memory when it boots `ready` on `machine`.
///
/// # Errors
/// QEMU does not start, the hypervisor does not build, or does not report.
pub fn facts(project: &mut Project, qemu: &Qemu, ready: &Ready, machine: &Virt) -> anyhow::Result<Facts> {
    let file = Scratch::new(&build::reporting_image(project, ready, Some(machine.cores))?)?;
    let mut transcript = Transcript::default();
    let limit = Duration::from_secs(u64::from(ready.system.time_limit_s));
    let mut command = qemu.command(machine, ready.system.entered_at, file.path(), None);
    // A counted machine's command line names the monitor's socket.
    let is_reset = machine.reset.is_some();
    let monitor = machine.has_monitor().then(|| Monitor::attach(&mut command, 0, is_reset, false)).transpose()?;
    let mut process = Process::start(command, monitor.as_ref())?;
    let end = session::run(&mut process, limit, |heard| {
        let Heard::Line(line) = heard else { return ControlFlow::Continue(()) };
        transcript.lines.push(line.to_owned());
        if line.strip_prefix("strato: ") == Some(facts::END) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    facts::read(transcript.hypervisor()).map_err(|why| anyhow!("{why} ({end:?})\n{}", transcript.lines.join("\n")))
}
