//! One file per subcommand: each strings rooms together and prints. Called by `main`; no room calls a command.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::{Cli, Command, ImageKind, Machine};
use crate::exit::Usage;
use crate::image::load::{self, Loaded};
use crate::project::{Form, Project};
use crate::qemu::tree::Given;
use crate::qemu::{Qemu, Virt, session};
use crate::system::{self, Board, Source, System};

pub mod bench;
pub mod boot;
pub mod build;
pub mod card;
pub mod count;
pub mod gdb;
pub mod lint;
pub mod report;
pub mod run;
pub mod test;
pub mod trace;

/// Runs what the command line says and returns the exit status.
///
/// # Errors
/// `exit::status` tells the status of each.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let mut project = Project::find()?;
    session::catch_signals().context("cannot catch signals")?;
    match cli.command {
        Command::Build { system, image } => {
            project.take(form(image));
            build::build(&mut project, system.as_deref())
        }
        Command::Check { system } => build::check(&mut project, &system),
        Command::Pack { system, output, image } => {
            project.take(form(image));
            build::pack(&mut project, &system, &output)
        }
        Command::Run { system, machine, cores, timeout, raw, explain, vm, ring, image } => {
            project.take(form(image));
            let explain = explain.then_some(run::Explain { ring_order: ring, vm });
            run::run(&mut project, &run::Request { system, machine, cores, timeout_s: timeout, is_raw: raw, explain })
        }
        Command::Trace { system, output, svg, ring, machine, cores, timeout, image } => {
            project.take(form(image));
            let request = trace::Request { system, machine, cores, timeout_s: timeout, ring_order: ring, output, svg };
            trace::trace(&mut project, &request)
        }
        Command::Bench { json, gic, check } => {
            bench::bench(&mut project, bench::Request { is_json: json, gic, is_check: check })
        }
        Command::Size { symbols } => bench::size(&mut project, symbols),
        Command::Gdb { system, machine, cores } => gdb::gdb(&mut project, &system, &machine, cores),
        Command::Report { system, machine, cores, json, check } => {
            report::report(&mut project, &report::Request { system, machine, cores, is_json: json, is_check: check })
        }
        Command::Sd { system, board, firmware, output, size, force, image } => {
            project.take(form(image));
            card::sd(&mut project, &card::Request { system, board, firmware, output, size, is_forced: force })
        }
        Command::Doctor { board, card } => card::doctor(board, &card),
        Command::Lint { source_only } => lint::lint(&mut project, source_only),
        Command::Test { filter, json, board, device_tree, gic, cores, counted, long, jobs, image } => {
            project.take(form(image));
            let device_tree = given(board.unwrap_or(Board::QemuVirt), device_tree.as_ref())?;
            test::test(
                &mut project,
                &test::Request {
                    board,
                    device_tree,
                    filter,
                    is_json: json,
                    gic,
                    cores,
                    is_counted: counted,
                    is_long: long,
                    jobs,
                },
            )
        }
    }
}

/// Returns the machine that the command line and the system ask for.
///
/// # Errors
/// [`Usage`]: the board does not have so many cores, or that interrupt controller; [`Missing`](crate::exit::Missing): this QEMU does not have the board.
pub fn machine_of(qemu: &Qemu, asked: &Machine, cores: Option<u8>, system: &System) -> anyhow::Result<Virt> {
    let wrong =
        |what: &str| Usage { what: what.to_owned(), fix: "leave the option out, or take --board qemu-virt".into() };
    let (gic, cores) = match asked.board {
        Board::QemuVirt => (asked.gic.unwrap_or(3), cores.unwrap_or(system.cores)),
        Board::Rpi4 => {
            if asked.gic.is_some_and(|gic| gic != 2) {
                return Err(wrong("a Raspberry Pi 4 has a GICv2").into());
            }
            if cores.is_some_and(|cores| cores != 4) {
                return Err(wrong("a Raspberry Pi 4 has 4 cores").into());
            }
            qemu.needs_rpi4()?;
            (2, 4)
        }
    };
    let cpu = asked.cpu.clone().unwrap_or_else(|| system.cpu.into());
    let device_tree = given(asked.board, asked.device_tree.as_ref())?;
    let is_counted = asked.counted;
    Ok(Virt { board: asked.board, gic, cores, cpu, device_tree, is_counted, is_traced: false, gdb_port: None })
}

/// Returns which device tree `--device-tree` asks for.
fn given(board: Board, asked: Option<&Option<PathBuf>>) -> Result<Given, Usage> {
    match asked {
        None => Ok(Given::Nothing),
        Some(_) if board != Board::Rpi4 => {
            let what = "QEMU's machine `virt` makes its own device tree".to_owned();
            Err(Usage { what, fix: "leave --device-tree out, or take --board rpi4".into() })
        }
        Some(None) => Ok(Given::Own),
        Some(Some(file)) => Ok(Given::File(file.clone())),
    }
}

fn form(image: ImageKind) -> Form {
    if image.checked { Form::Checked } else { Form::Release }
}

/// A system with its images, checked.
#[derive(Debug)]
pub struct Ready {
    /// The system.
    pub system: System,
    /// Text of its file, for messages.
    pub source: Source,
    /// The image of each VM.
    pub images: Vec<Loaded>,
}

/// Returns the system of a name or path, checked, with its images built and checked.
///
/// # Errors
/// There is none, it is refused, or a build failed.
pub fn ready(project: &mut Project, name: &str) -> anyhow::Result<Ready> {
    let path = project.system(name)?;
    ready_path(project, &path)
}

/// As [`ready`], from the path of a system file.
///
/// # Errors
/// As [`ready`].
pub fn ready_path(project: &mut Project, path: &Path) -> anyhow::Result<Ready> {
    let (system, source) = system::load(path, &project.shown(path))?;
    let images = load::images(&system, &source, project)?;
    Ok(Ready { system, source, images })
}
