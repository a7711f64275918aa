//! Boots a packed system in QEMU and judges the run. Called by `run`, `test` and `bench`; prints nothing itself.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;

use super::Ready;
use crate::qemu::monitor::Monitor;
use crate::qemu::session::{self, End};
use crate::qemu::tree::{self, Given};
use crate::qemu::{Qemu, Virt};
use crate::report::follow::Follower;
use crate::scenario;
use crate::system::Board;
use crate::trace;
use crate::transcript::backtrace::{Symbols, address_after};
use crate::transcript::{Line, Transcript};

/// A file that is removed with the value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Returns a new file of the temporary folder that holds `bytes`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(bytes: &[u8]) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the number only has to differ from the others.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("strato-{}-{number}.img", std::process::id()));
        let scratch = Self(path);
        std::fs::write(&scratch.0, bytes).with_context(|| format!("cannot write {}", scratch.0.display()))?;
        Ok(scratch)
    }

    /// Returns where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is lost when a file in the temporary folder stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The device tree that a machine is given, as long as it runs.
#[derive(Debug)]
pub enum DeviceTree<'a> {
    /// None.
    Nothing,
    /// One of this tool's.
    Own(Scratch),
    /// One of somebody else's.
    File(&'a Path),
}

impl<'a> DeviceTree<'a> {
    /// Returns the tree that is given.
    ///
    /// # Errors
    /// The file is not there, or this tool's cannot be written.
    pub fn of(given: &'a Given) -> anyhow::Result<Self> {
        match given {
            Given::Nothing => Ok(Self::Nothing),
            Given::Own => Ok(Self::Own(Scratch::new(&tree::rpi4().context("the device tree cannot be made")?)?)),
            Given::File(file) if file.is_file() => Ok(Self::File(file)),
            Given::File(file) => anyhow::bail!("{} is not there: name the device tree's file", file.display()),
        }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::Own(scratch) => Some(scratch.path()),
            Self::File(path) => Some(path),
        }
    }
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it printed.
    pub transcript: Transcript,
    /// How it ended.
    pub end: End,
    /// Why it is not as expected; nothing when it passed.
    pub reasons: Vec<String>,
    /// Instructions that all cores together executed, if the machine was counted ([`Transcript::instructions`]).
    pub instructions: Option<u64>,
    /// The rings that its cores wrote, as they stood in memory at the end, if the machine was traced.
    pub rings: Vec<Vec<u8>>,
}

/// What a Raspberry Pi 4 prints first, a character a step, before there is a console.
const BOOT_LINE: &str = "strato: boot 12345";

/// Returns what is wrong with the first signs of life.
fn signs(machine: &Virt, transcript: &Transcript) -> Option<String> {
    let first = transcript.lines.first().map_or("", String::as_str);
    let is_good = machine.board != Board::Rpi4 || first == BOOT_LINE;
    (!is_good).then(|| format!("the first line was not `{BOOT_LINE}`, but `{first}`"))
}

/// Boots `image`, the packed form of `ready`, and hands each line to `on_line`.
///
/// # Errors
/// QEMU does not start, or the image cannot be written.
pub fn boot(
    qemu: &Qemu,
    machine: &Virt,
    image: &[u8],
    ready: &Ready,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> anyhow::Result<Run> {
    let file = Scratch::new(image)?;
    let mut transcript = Transcript::default();
    let entered_at = ready.system.entered_at;
    let tree = DeviceTree::of(&machine.device_tree)?;
    let mut command = qemu.command(machine, entered_at, file.path(), tree.path());
    let rings = if machine.is_traced { usize::from(machine.cores) } else { 0 };
    let monitor = machine.has_monitor().then(|| Monitor::attach(&mut command, rings)).transpose()?;
    let mut follower = ready.system.is_followed.then(Follower::default);
    let mut lost = Vec::new();
    let mut rings: Vec<Scratch> = Vec::new();
    let hear = |line: &str| {
        if let (Some((start, bytes)), Some(monitor)) = (trace::announced(line), &monitor) {
            match Scratch::new(&[]) {
                Ok(ring) => {
                    monitor.want(start, bytes, ring.path());
                    rings.push(ring);
                }
                Err(why) => lost.push(format!("{why:#}")),
            }
            return ControlFlow::Continue(());
        }
        let followed = follower.as_mut().map_or(Ok(Some(line.to_owned())), |follower| follower.line(line));
        let shown = followed.unwrap_or_else(|why| {
            lost.push(why);
            Some(line.to_owned())
        });
        if let Some(line) = shown {
            on_line(&line);
            transcript.lines.push(line);
        }
        // A core that was entered at the wrong level has nothing but the UART: it cannot power off.
        let is_last = entered_at.refusal().is_some_and(|refusal| line.starts_with(refusal));
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let end = session::run_to(command, limit, hear, || monitor.as_ref().is_some_and(Monitor::end_now))?;
    let mut reasons = scenario::judge(&ready.system, &transcript, &end);
    if machine.is_counted {
        reasons.extend(scenario::judge_counted(&ready.system, &transcript));
    }
    reasons.extend(lost);
    reasons.extend(signs(machine, &transcript));
    let executed = monitor.and_then(Monitor::instructions);
    let executed = executed.filter(|_| machine.is_counted);
    let instructions = executed.and_then(|executed| transcript.instructions(machine.cores, executed));
    let rings = rings.iter().map(|ring| std::fs::read(ring.path())).collect::<Result<_, _>>();
    let rings = rings.context("cannot read what the machine's cores wrote down")?;
    Ok(Run { transcript, end, reasons, instructions, rings })
}

/// Resolves the addresses in reports to functions and lines.
#[derive(Debug, Default)]
pub struct Resolver {
    hypervisor: Vec<u8>,
    guests: Vec<(String, Vec<u8>)>,
}

impl Resolver {
    /// Returns a resolver for a hypervisor and the images of a system; a file that cannot be read resolves nothing.
    #[must_use]
    pub fn new(hypervisor: &Path, ready: &Ready) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let vms = ready.system.vms.iter().zip(&ready.images);
        let guests = vms.map(|(vm, loaded)| (vm.label.value.clone(), read(&loaded.file))).collect();
        Self { hypervisor: read(hypervisor), guests }
    }

    /// Returns the functions and lines that a line of the transcript points at, to be shown under it.
    #[must_use]
    pub fn explain(&self, line: &str) -> Vec<String> {
        match Line::parse(line) {
            Line::Guest { label, text } => return self.explain_guest(label, text),
            Line::Hypervisor(_) => {}
            Line::Other(_) => return Vec::new(),
        }
        if line.starts_with("strato: panic: ") {
            let Some(address) = address_after(line, "+") else { return Vec::new() };
            // A return address points behind its call.
            return resolve(&self.hypervisor, address.saturating_sub(1));
        }
        let named = |(label, _): &&(String, Vec<u8>)| line.contains(&format!("vm {label}: "));
        let Some((_, file)) = self.guests.iter().find(named) else { return Vec::new() };
        let mut frames: Vec<String> = address_after(line, "pc ").into_iter().flat_map(|pc| resolve(file, pc)).collect();
        // The caller, which the link register names only until a call was made; so it comes with a `?`.
        let caller = address_after(line, "lr ").filter(|lr| *lr != 0).map(|lr| resolve(file, lr.saturating_sub(1)));
        frames.extend(caller.into_iter().flatten().map(|frame| format!("{frame} ?")));
        frames
    }

    // What a guest writes leads to its own image only.
    fn explain_guest(&self, label: &str, text: &str) -> Vec<String> {
        let Some(address) = text.strip_prefix("panic: ").and_then(|rest| address_after(rest, "called from ")) else {
            return Vec::new();
        };
        let own = self.guests.iter().find(|(name, _)| name == label);
        own.map(|(_, file)| resolve(file, address.saturating_sub(1))).unwrap_or_default()
    }
}

fn resolve(file: &[u8], address: u64) -> Vec<String> {
    Symbols::of(file).map(|symbols| symbols.resolve(address)).unwrap_or_default()
}
