//! Room `system`: from the text of a system file to a checked `System`, or to every reason why not, each with its line.
//! Called by the commands. Never reads an image and never builds anything: `image::fit` checks images.

use std::path::Path;

use anyhow::Context;
use toml::de::DeTable;

pub mod admission;
pub mod board;
mod calls;
pub mod check;
pub mod console;
pub mod device;
pub mod devices;
mod filters;
pub mod layout;
pub mod manifest;
pub mod model;
pub mod names;
pub mod problem;
pub mod reader;
pub mod restart;
pub mod sched;
pub mod size;

pub use board::Board;
pub use device::{Device, Interrupt, Registers};
pub use model::{Channel, End, Expect, Grant, ImageRef, Level, Outcome, Peer, Region, Reset, Sched, System, Vm};
pub use problem::{Problem, Refused, Source};

use reader::{Problems, Table};

/// Returns the system of the file at `path` and its text; messages call it `shown`.
///
/// # Errors
/// The file cannot be read, or [`Refused`] with every problem in it.
pub fn load(path: &Path, shown: &str) -> anyhow::Result<(System, Source)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the system file {shown}"))?;
    let source = Source { path: shown.to_owned(), text };
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok((parse(&source, folder, &default_name(path))?, source))
}

/// Returns the name of a system without one of its own.
///
/// `demo.toml` is `demo`, `hello/system.toml` is `hello`.
#[must_use]
pub fn default_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let name = if stem == "system" { path.parent().and_then(Path::file_name).unwrap_or(stem) } else { stem };
    name.to_string_lossy().into_owned()
}

/// Returns the system that `source` describes; image paths begin at `folder`.
///
/// # Errors
/// Every problem, in the order of the file.
pub fn parse(source: &Source, folder: &Path, name: &str) -> Result<System, Refused> {
    let root = DeTable::parse(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let problem = Problem::new("this is not valid TOML", &span, error.message(), "correct the syntax here");
        Refused::new(source.clone(), vec![problem])
    })?;
    let problems = Problems::default();
    let table = Table::new("the file", 0..0, root.get_ref(), &problems);
    let system = manifest::read(table, folder, name, &problems);
    check::check(&system, &problems);
    let problems = problems.into_vec();
    if problems.is_empty() { Ok(system) } else { Err(Refused::new(source.clone(), problems)) }
}
