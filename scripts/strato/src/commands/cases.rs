//! Which scenarios run where: each on every configuration that it is for. Called by `test`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::Place;
use super::{Ready, build, ready_path};
use crate::exit::{Missing, Usage};
use crate::project::{Project, short_name};
use crate::qemu::tree::Given;
use crate::qemu::{Qemu, Virt};
use crate::serial::{Line, fit};
use crate::system::{self, Board, System};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Only this board.
    pub board: Option<Board>,
    /// The device tree that it is given.
    pub device_tree: Given,
    /// The board that they run on instead of in QEMU.
    pub line: Option<Line>,
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
    /// Returns the configurations of a scenario in QEMU: board, interrupt controller, cores.
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

    /// Returns the places where a scenario runs; of one whose file is broken, the only one that fails with its message.
    fn places(&self, qemu: Option<&Qemu>, system: Option<&System>) -> Vec<Place> {
        if let Some(line) = &self.line {
            return vec![Place::Board(line.clone())];
        }
        let Some(qemu) = qemu else { return Vec::new() };
        let (is_smp, cpu, only, reset) = match system {
            Some(system) => (system.is_smp, system.cpu, system.board, system.reset),
            None => (false, "cortex-a72", Some(Board::QemuVirt), None),
        };
        let has_mini_uart = system.is_some_and(|system| system.has_mini_uart);
        let machines = self.machines(is_smp).filter(|(board, ..)| only.is_none_or(|only| only == *board));
        let place = |(board, gic, cores)| {
            let (cpu, device_tree, is_counted) = (cpu.into(), self.device_tree.clone(), self.is_counted);
            let is_traced = false;
            let virt = Virt {
                board,
                gic,
                cores,
                cpu,
                device_tree,
                has_mini_uart,
                is_counted,
                is_traced,
                reset,
                gdb_port: None,
            };
            Place::Qemu(qemu.clone(), virt)
        };
        machines.map(place).collect()
    }
}

/// One scenario on one configuration.
#[derive(Debug)]
pub struct Case {
    /// Name of the scenario.
    pub id: String,
    /// Where it runs.
    pub place: Place,
    /// What runs.
    pub what: What,
}

/// What a case runs.
#[derive(Debug)]
pub enum What {
    /// The packed image with its hypervisor's ELF.
    Image(Arc<Ready>, PathBuf, Vec<u8>),
    /// Nothing: its file is broken, or it does not build.
    Broken(String),
    /// Nothing: it cannot run there.
    Unfit(String),
}

/// A scenario that the filter leaves.
struct Chosen {
    id: String,
    path: PathBuf,
    places: Vec<Place>,
    /// Why it cannot run there, if it cannot.
    unfit: Option<String>,
}

/// Returns every case; `qemu` may be missing when all run on a board.
///
/// # Errors
/// The toolchain is missing, no scenario is left by the filter, or more than one is left for a board that somebody has to start.
pub fn of(project: &mut Project, request: &Request, qemu: Option<&Qemu>) -> anyhow::Result<Vec<Case>> {
    let chosen = choose(project, request, qemu);
    if chosen.is_empty() {
        let what = format!("no scenario matches {}", request.filter.join(", "));
        return Err(Usage { what, fix: "give a part of a name that `strato run` knows, or nothing".into() }.into());
    }
    let starts = chosen.iter().filter(|chosen| chosen.unfit.is_none()).count();
    if starts > 1 && request.line.as_ref().is_some_and(|line| !line.is_unattended()) {
        let what = format!("the board has to start {starts} times, once for each scenario");
        let fix = "say by --reset-with COMMAND what makes it start, or name one scenario".into();
        return Err(Usage { what, fix }.into());
    }
    let mut cases = Vec::new();
    for Chosen { id, path, places, unfit } in chosen {
        cases.extend(match unfit {
            Some(why) => places.into_iter().map(|place| case(&id, place, What::Unfit(why.clone()))).collect(),
            None => cases_of(project, places, &id, &path)?,
        });
    }
    Ok(cases)
}

fn choose(project: &Project, request: &Request, qemu: Option<&Qemu>) -> Vec<Chosen> {
    let mut chosen = Vec::new();
    for path in project.systems() {
        let id = short_name(&path);
        if !request.filter.is_empty() && !request.filter.iter().any(|part| id.contains(part)) {
            continue;
        }
        let system = system::load(&path, &project.shown(&path)).map(|(system, _)| system).ok();
        if system.as_ref().is_some_and(|system| !system.is_test || system.is_long && !request.is_long) {
            continue;
        }
        let places = request.places(qemu, system.as_ref());
        let unfit = system.as_ref().filter(|_| request.line.is_some()).and_then(fit::unfit);
        chosen.push(Chosen { id, path, places, unfit });
    }
    chosen.retain(|chosen| !chosen.places.is_empty());
    chosen
}

fn case(id: &str, place: Place, what: What) -> Case {
    Case { id: id.to_owned(), place, what }
}

fn cases_of(project: &mut Project, places: Vec<Place>, id: &str, path: &Path) -> anyhow::Result<Vec<Case>> {
    // The file may be broken: then every configuration fails with its message, which counts as one case.
    let ready = told(ready_path(project, path))?.map(Arc::new);
    let mut cases = Vec::new();
    for place in places {
        let what = match &ready {
            Ok(ready) => {
                let file = project.hypervisor_of(&ready.system)?;
                // Its shares may be too much for so few cores.
                let image = told(build::image_to_run(project, ready, Some(place.cores())))?;
                image.map_or_else(What::Broken, |image| What::Image(ready.clone(), file, image))
            }
            Err(why) => What::Broken(why.clone()),
        };
        cases.push(case(id, place, what));
    }
    Ok(cases)
}

/// Returns what came of a case, or why nothing did: what is missing alone, which every case would miss, is an error of them all.
fn told<T>(what: anyhow::Result<T>) -> anyhow::Result<Result<T, String>> {
    match what {
        Ok(what) => Ok(Ok(what)),
        Err(error) if error.is::<Missing>() => Err(error),
        Err(error) => Ok(Err(format!("{error:#}"))),
    }
}
