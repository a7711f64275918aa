//! One file per subcommand: each strings rooms together and prints. Called by `main`; no room calls a command.

use std::path::Path;

use anyhow::Context;

use crate::cli::{Cli, Command, ImageKind};
use crate::image::load::{self, Loaded};
use crate::machine::signals;
use crate::project::{Form, Project};
use crate::system::{self, Board, Source, System};

pub mod bench;
pub mod boot;
pub mod build;
pub mod card;
pub mod cases;
pub mod count;
pub mod gdb;
pub mod lint;
pub mod place;
pub mod report;
pub mod resolve;
pub mod run;
pub mod selftest;
pub mod test;
pub mod trace;

/// Runs what the command line says and returns the exit status.
///
/// # Errors
/// `exit::status` tells the status of each.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let mut project = Project::find()?;
    signals::catch().context("cannot catch signals")?;
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
        Command::Run { system, machine, serial, cores, timeout, raw, explain, vm, ring, image } => {
            project.take(form(image));
            let explain = explain.then_some(run::Explain { ring_order: ring, vm });
            let request = run::Request { system, machine, serial, cores, timeout_s: timeout, is_raw: raw, explain };
            run::run(&mut project, &request)
        }
        Command::Trace { system, output, svg, ring, machine, cores, timeout, image } => {
            project.take(form(image));
            let request = trace::Request { system, machine, cores, timeout_s: timeout, ring_order: ring, output, svg };
            trace::trace(&mut project, &request)
        }
        Command::Bench { json, gic, check, board, serial } => {
            let line = place::line(&serial, board)?;
            bench::bench(&mut project, bench::Request { is_json: json, gic, is_check: check, line })
        }
        Command::Size { symbols } => bench::size(&mut project, symbols),
        Command::Gdb { system, machine, cores } => gdb::gdb(&mut project, &system, &machine, cores),
        Command::Report { system, machine, cores, json, check } => {
            report::report(&mut project, &report::Request { system, machine, cores, is_json: json, is_check: check })
        }
        Command::Sd { system, selftest, board, firmware, output, size, force, image } => {
            project.take(form(image));
            let system = (!selftest).then_some(system);
            card::sd(&mut project, &card::Request { system, board, firmware, output, size, is_forced: force })
        }
        Command::Doctor { board, card } => card::doctor(board, &card),
        Command::Lint { source_only } => lint::lint(&mut project, source_only),
        Command::Test { filter, json, board, device_tree, serial, gic, cores, counted, long, jobs, image } => {
            project.take(form(image));
            let device_tree = place::given(board.unwrap_or(Board::QemuVirt), device_tree.as_ref())?;
            let line = place::line(&serial, board)?;
            test::test(
                &mut project,
                &cases::Request {
                    board,
                    device_tree,
                    line,
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
