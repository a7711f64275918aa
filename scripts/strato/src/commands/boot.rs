//! Boots a packed system in QEMU or on a board and judges the run. Called by `run`, `test` and `bench`; prints nothing itself.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;

use super::Ready;
use super::place::Place;
use crate::machine::End;
use crate::machine::session::{self, Heard};
use crate::pack::hypervisor;
use crate::qemu::monitor::Monitor;
use crate::qemu::process::Process;
use crate::qemu::tree::{self, Given};
use crate::qemu::{Qemu, Virt, led};
use crate::report::follow::Follower;
use crate::scenario;
use crate::serial::board::Board;
use crate::system::{self, System};
use crate::trace;
use crate::transcript::Transcript;

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
    /// This tool's cannot be made or written.
    pub fn of(given: &'a Given) -> anyhow::Result<Self> {
        match given {
            Given::Nothing => Ok(Self::Nothing),
            Given::Own => Ok(Self::Own(Scratch::new(&tree::rpi4().context("the device tree cannot be made")?)?)),
            Given::File(file) => Ok(Self::File(file)),
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
    /// What a board's serial line brought before it: of its firmware, and of what ran before.
    pub before: Vec<String>,
    /// How it ended.
    pub end: End,
    /// Why it is not as expected; nothing when it passed.
    pub reasons: Vec<String>,
    /// Instructions that all cores together executed, if the machine was counted ([`Transcript::instructions`]).
    pub instructions: Option<u64>,
    /// The rings that its cores wrote, as they stood in memory at the end, if the machine was traced.
    pub rings: Vec<Vec<u8>>,
}

/// Boots `image`, the packed form of `ready`, and hands each line to `on_line`.
///
/// # Errors
/// QEMU or the board does not start, or the image cannot be written.
pub fn boot(
    place: &Place,
    image: &[u8],
    ready: &Ready,
    limit: Duration,
    on_line: impl FnMut(&str),
) -> anyhow::Result<Run> {
    let mut ear = Ear::new(&ready.system, on_line);
    let (end, executed) = match place {
        Place::Qemu(qemu, machine) => in_qemu(qemu, machine, image, &mut ear, limit)?,
        Place::Board(line) => {
            let mut board = Board::start(line, image)?;
            (session::run(&mut board, limit, |heard| ear.hear(heard, None))?, None)
        }
    };
    let Ear { transcript, before, lost, rings, .. } = ear;
    let mut reasons = scenario::judge(&ready.system, &transcript, &end);
    if place.is_counted() {
        reasons.extend(scenario::judge_counted(&ready.system, &transcript));
    }
    reasons.extend(lost);
    if place.is_rpi4() {
        reasons.extend(scenario::judge_signs(&transcript, &end));
    }
    reasons.extend(scenario::judge_image(&ready.system, hypervisor::build_id(image), &transcript));
    let executed = executed.filter(|_| place.is_counted());
    let instructions = executed.and_then(|executed| transcript.instructions(place.cores(), executed));
    let rings = rings.iter().map(|ring| std::fs::read(ring.path())).collect::<Result<_, _>>();
    let rings = rings.context("cannot read what the machine's cores wrote down")?;
    Ok(Run { transcript, before, end, reasons, instructions, rings })
}

/// As [`boot`], for a run that nobody follows. QEMU itself crashes at times as a counted machine powers off (10.0: a null pointer, all lines
/// said before); then that is said, and the machine is booted once more.
///
/// # Errors
/// As [`boot`].
pub fn boot_unseen(place: &Place, image: &[u8], ready: &Ready, limit: Duration) -> anyhow::Result<Run> {
    again_if_crashed(&ready.system.name, || boot(place, image, ready, limit, |_| {}))
}

fn again_if_crashed(name: &str, mut run: impl FnMut() -> anyhow::Result<Run>) -> anyhow::Result<Run> {
    let first = run()?;
    let End::Crashed { signal, .. } = first.end else { return Ok(first) };
    anstream::eprintln!("{name}: QEMU itself crashed, by signal {signal}; it runs once more");
    run()
}

/// Boots `image` in QEMU; returns how that ended, and what QEMU counted.
fn in_qemu(
    qemu: &Qemu,
    machine: &Virt,
    image: &[u8],
    ear: &mut Ear<'_, impl FnMut(&str)>,
    limit: Duration,
) -> anyhow::Result<(End, Option<u64>)> {
    let file = Scratch::new(image)?;
    let tree = DeviceTree::of(&machine.device_tree)?;
    let mut command = qemu.command(machine, ear.system.entered_at, file.path(), tree.path());
    let rings = if machine.is_traced { usize::from(machine.cores) } else { 0 };
    let is_reset = machine.reset.is_some();
    let has_led = is_reset && machine.board == system::Board::Rpi4;
    let blinks = scenario::blinks(ear.system).filter(|_| machine.board == system::Board::Rpi4);
    let writes = blinks.map(|_| Scratch::new(&[])).transpose()?;
    if let Some(writes) = &writes {
        led::trace(&mut command, writes.path());
    }
    let attach = || Monitor::attach(&mut command, rings, is_reset, has_led);
    let monitor = machine.has_monitor().then(attach).transpose()?;
    let mut process = Process::start(command, monitor.as_ref())?;
    let end = session::run(&mut process, limit, |heard| ear.hear(heard, monitor.as_ref()))?;
    // The monitor has its last word when the process has ended.
    drop(process);
    let (instructions, led) = monitor.map(Monitor::last_words).unwrap_or_default();
    if has_led {
        ear.lost.extend(scenario::judge_led(ear.system, &led));
    }
    if let (Some(blinks), Some(writes)) = (blinks, writes) {
        let log = std::fs::read(writes.path()).context("cannot read what QEMU traced")?;
        ear.lost.extend(scenario::judge_blinks(blinks, &led::turned(&String::from_utf8_lossy(&log))));
    }
    Ok((end, instructions))
}

/// What is made of the lines of one run.
struct Ear<'r, F> {
    system: &'r System,
    on_line: F,
    follower: Option<Follower>,
    transcript: Transcript,
    before: Vec<String>,
    lost: Vec<String>,
    rings: Vec<Scratch>,
}

impl<'r, F: FnMut(&str)> Ear<'r, F> {
    fn new(system: &'r System, on_line: F) -> Self {
        let follower = system.is_followed.then(Follower::default);
        let (transcript, before, lost, rings) = (Transcript::default(), Vec::new(), Vec::new(), Vec::new());
        Self { system, on_line, follower, transcript, before, lost, rings }
    }

    fn hear(&mut self, heard: Heard<'_>, monitor: Option<&Monitor>) -> ControlFlow<()> {
        match heard {
            Heard::Before(line) => {
                (self.on_line)(line);
                self.before.push(line.to_owned());
            }
            Heard::Begins => {
                self.before.append(&mut self.transcript.lines);
                self.lost.clear();
                self.follower = self.system.is_followed.then(Follower::default);
            }
            Heard::Line(line) => return self.line(line, monitor),
        }
        ControlFlow::Continue(())
    }

    fn line(&mut self, line: &str, monitor: Option<&Monitor>) -> ControlFlow<()> {
        if let (Some((start, bytes)), Some(monitor)) = (trace::announced(line), monitor) {
            match Scratch::new(&[]) {
                Ok(ring) => {
                    monitor.want(start, bytes, ring.path());
                    self.rings.push(ring);
                }
                Err(why) => self.lost.push(format!("{why:#}")),
            }
            return ControlFlow::Continue(());
        }
        let followed = self.follower.as_mut().map_or(Ok(Some(line.to_owned())), |follower| follower.line(line));
        let shown = followed.unwrap_or_else(|why| {
            self.lost.push(why);
            Some(line.to_owned())
        });
        if let Some(line) = shown {
            (self.on_line)(&line);
            self.transcript.lines.push(line);
        }
        // A core that was entered at the wrong level has nothing but the UART: it cannot power off.
        let is_last = self.system.entered_at.refusal().is_some_and(|refusal| line.starts_with(refusal));
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_booted_once_more_if_qemu_crashed_and_never_a_third_time() {
        let crashed = || End::Crashed { signal: 11, messages: String::new() };
        let off = || End::PoweredOff { messages: String::new() };
        for (ends, expected) in [
            (vec![off()], off()),
            (vec![crashed(), off()], off()),
            (vec![crashed(), crashed()], crashed()),
            (vec![End::TimedOut], End::TimedOut),
        ] {
            let mut left = ends.into_iter();
            let run = again_if_crashed("a", || {
                let end = left.next().unwrap();
                let (transcript, before, reasons, rings) = (Transcript::default(), Vec::new(), Vec::new(), Vec::new());
                Ok(Run { transcript, before, end, reasons, instructions: None, rings })
            });
            assert_eq!(run.unwrap().end, expected);
            assert_eq!(left.next(), None, "all of them ran");
        }
    }
}
