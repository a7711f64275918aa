//! `strato trace`: runs a system whose cores write down what leaves them, and writes that as files. Called by `commands::run`; `run`
//! uses its reading for `--explain`.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};

use super::boot::{self, Run};
use super::place::{Place, machine_of};
use super::run::verdict;
use super::{Ready, build, ready};
use crate::cli::Machine;
use crate::exit::{Usage, say};
use crate::project::Project;
use crate::qemu::{Qemu, Virt};
use crate::trace::{Core, Trace, chrome, svg};
use crate::transcript::backtrace::Symbols;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name or path of the system.
    pub system: String,
    /// The machine.
    pub machine: Machine,
    /// Cores, or as the system says.
    pub cores: Option<u8>,
    /// Time limit, or as the system says.
    pub timeout_s: Option<u32>,
    /// log2 of the frames of each core's ring.
    pub ring_order: u32,
    /// The file for Perfetto.
    pub output: Option<PathBuf>,
    /// The picture.
    pub svg: Option<PathBuf>,
}

/// Runs a system and writes its trace; the status is that of the run.
///
/// # Errors
/// A file cannot be written, QEMU or the toolchain is missing, the system is refused, or a build failed.
pub fn trace(project: &mut Project, request: &Request) -> anyhow::Result<u8> {
    let output = match (&request.output, &request.svg) {
        (None, None) => Some(Path::new("trace.json")),
        (output, _) => output.as_deref(),
    };
    for file in [output, request.svg.as_deref()].into_iter().flatten() {
        try_to_write(file)?;
    }
    let qemu = Qemu::find()?;
    let ready = ready(project, &request.system)?;
    let machine = Virt { is_traced: true, ..machine_of(&qemu, &request.machine, request.cores, &ready.system)? };
    let image = build::traced_image(project, &ready, machine.cores, request.ring_order)?;
    let limit = Duration::from_secs(u64::from(request.timeout_s.unwrap_or(ready.system.time_limit_s)));
    let is_counted = machine.is_counted;
    let place = Place::Qemu(qemu, machine);
    let run = boot::boot_unseen(&place, &image, &ready, limit)?;
    let trace = of(&run, &ready, is_counted)?;
    if let Some(output) = output {
        let files = files(&ready);
        write(output, &chrome::json(&trace, &symbols(&files)).to_string())?;
    }
    if let Some(picture) = &request.svg {
        write(picture, &svg::picture(&trace))?;
    }
    say(trace.summary())?;
    verdict(&ready.system.name, &run)
}

/// Says before a run, and not behind it, that a file cannot be written. What stands in it stays.
fn try_to_write(file: &Path) -> anyhow::Result<()> {
    let is_there = file.exists();
    OpenOptions::new().append(true).create(true).open(file).map_err(|why| Usage {
        what: format!("cannot write {}: {why}", file.display()),
        fix: "name a file in a folder that is there and that you may write to".into(),
    })?;
    if !is_there {
        std::fs::remove_file(file).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    say(format_args!("{}: {} bytes", file.display(), text.len()))
}

/// Returns what the cores of a run wrote down.
///
/// # Errors
/// They wrote nothing, or what was read is no ring.
pub fn of(run: &Run, ready: &Ready, is_counted: bool) -> anyhow::Result<Trace> {
    let lines = run.transcript.lines.join("\n");
    ensure!(!run.rings.is_empty(), "no core wrote anything down ({:?})\n{lines}", run.end);
    let cores = run.rings.iter().map(|ring| Core::read(ring));
    let cores: Vec<Core> = cores.collect::<Result<_, _>>().map_err(|why| anyhow!("a ring cannot be read: {why}"))?;
    let vms = ready.system.vms.iter().map(|vm| vm.label.value.clone()).collect();
    Ok(Trace { system: ready.system.name.clone(), vms, is_counted, cores })
}

/// Returns the ELF file of each VM; one that cannot be read resolves nothing.
#[must_use]
pub fn files(ready: &Ready) -> Vec<Vec<u8>> {
    ready.images.iter().map(|loaded| std::fs::read(&loaded.file).unwrap_or_default()).collect()
}

/// Returns the symbols of each VM.
#[must_use]
pub fn symbols(files: &[Vec<u8>]) -> Vec<Option<Symbols<'_>>> {
    files.iter().map(|file| Symbols::of(file)).collect()
}
