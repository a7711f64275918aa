//! The image of a self-test: every system of the suite that a board can run by itself, then the benchmark, to be run one after the other.
//! Called by `card`, and by tests for systems of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;

use super::{Ready, build, ready_path};
use crate::exit::say;
use crate::image::Image;
use crate::pack::series::{self, Part};
use crate::pack::{self, hypervisor};
use crate::project::{Project, short_name};
use crate::system::{self, Board, Level, System, admission};

/// What the report ends with.
const BENCHMARK: &str = "bench_cycles";

/// Returns why a board cannot run `system` by itself, if it cannot.
#[must_use]
pub fn hindrance(system: &System) -> Option<&'static str> {
    let reasons = [
        (!system.is_test, "no test"),
        (system.is_long, "long"),
        (system.board == Some(Board::QemuVirt), "for qemu-virt"),
        (system.damage.is_some() || system.entered_at != Level::El2, "to be refused, or to panic"),
        (system.cpu == "max", "for later cores"),
        (system.has_mini_uart, "on the mini UART"),
        (system.vms.iter().any(|vm| vm.has_console_input), "waiting for a keyboard"),
    ];
    reasons.iter().find(|(is_met, _)| *is_met).map(|(_, reason)| *reason)
}

/// Returns the packed image of the whole suite for a board of `cores` cores, and what it is called; and says what it leaves out.
///
/// # Errors
/// A system is refused, or a build failed.
pub fn whole(project: &mut Project, cores: u8) -> anyhow::Result<(Vec<u8>, String)> {
    let (mut paths, mut left_out) = (Vec::new(), BTreeMap::<&str, Vec<String>>::new());
    for path in project.systems() {
        let name = short_name(&path);
        let (system, _) = system::load(&path, &project.shown(&path))?;
        match hindrance(&system) {
            _ if name == BENCHMARK => {}
            Some("no test") => {}
            Some(why) => left_out.entry(why).or_default().push(name),
            None => paths.push(path),
        }
    }
    for (why, names) in left_out {
        say(format_args!("left out, {why}: {}", names.join(", ")))?;
    }
    let benchmark = project.system(BENCHMARK)?;
    let name = format!("the self-test, {} systems and the benchmark", paths.len());
    Ok((image(project, &paths, &benchmark, (cores, build::card_flags), |_| Ok(()))?, name))
}

/// Returns the packed image of the systems at `paths`, then that of the one that the report ends with, for a board of so many cores; the
/// function says the flags of each one's header. `change` may change the hypervisor.
///
/// # Errors
/// A system is refused, or a build failed.
pub fn image(
    project: &mut Project,
    paths: &[PathBuf],
    last: &PathBuf,
    (cores, flags): (u8, fn(&System) -> u32),
    change: impl FnOnce(&mut hypervisor::Flat) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u8>> {
    let mut systems = Vec::new();
    for path in paths.iter().chain([last]) {
        let ready = ready_path(project, path)?;
        if let Some(refused) = admission::admit(&ready.system, cores) {
            anyhow::bail!("{}: {refused}", ready.system.name);
        }
        let Ready { system, images, .. } = ready;
        let images: Vec<Image> = images.into_iter().map(|loaded| loaded.image).collect();
        systems.push((short_name(path), system, images));
    }
    let end = systems.len();
    let parts: Vec<Part<'_>> = (1..)
        .zip(&systems)
        .map(|(n, (name, system, images))| Part { name, system, images, flags: flags(system), is_report: n == end })
        .collect();
    let file = project.hypervisor()?;
    let file = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hypervisor = hypervisor::flatten(&file)?;
    change(&mut hypervisor)?;
    Ok(pack::image(&hypervisor, &series::payloads(&parts, cores)?))
}
