//! `strato build`, `check` and `pack`: everything up to the image. Called by `commands::run`.

use std::path::Path;

use anyhow::Context;
use strato_abi::plan::{HEADER_MINI_UART, HEADER_REPORT};
use strato_abi::trace::trace_flags;
use strato_abi::watchdog::watchdog_flags;

use super::{Ready, ready};
use crate::exit::{PASSED, say};
use crate::image::Image;
use crate::pack::damage::Damage;
use crate::pack::{self, hypervisor};
use crate::project::Project;
use crate::system::size;
use crate::system::{Reset, System, admission};

/// Seconds of a card's watchdog, and of a scenario's: a hang costs as long, and nothing else does.
const WATCHDOG_S: u32 = 10;

/// Builds the hypervisor and what `system` needs.
///
/// # Errors
/// The system is refused, or a build failed.
pub fn build(project: &mut Project, system: Option<&str>) -> anyhow::Result<u8> {
    let hypervisor = project.hypervisor()?;
    say(project.shown(&hypervisor))?;
    if let Some(system) = system {
        for loaded in ready(project, system)?.images {
            say(project.shown(&loaded.file))?;
        }
    }
    Ok(PASSED)
}

/// Checks a system and says what it is.
///
/// # Errors
/// The system is refused, or a build failed.
pub fn check(project: &mut Project, system: &str) -> anyhow::Result<u8> {
    let Ready { system, source, images } = ready(project, system)?;
    for (vm, loaded) in system.vms.iter().zip(&images) {
        let (_, image_size) = loaded.image.extent();
        let (memory, vcpus) = (size::show(vm.memory.value), vm.vcpus);
        say(format_args!("{:<16} {memory:>8}, {vcpus} vCPU(s), image {image_size} bytes", vm.label.value))?;
    }
    if system.has_cycle_counter {
        say(
            "cycle_counter: not promised: every guest reads and can stop a counter of its core, by which it sees what others do",
        )?;
    }
    say(format_args!(
        "{}: ok, {} VM(s), {} channel(s), {} region(s)",
        source.path,
        system.vms.len(),
        system.channels.len(),
        system.regions.len()
    ))?;
    Ok(PASSED)
}

/// Packs a system into one bootable image.
///
/// # Errors
/// The system is refused, a build failed, or the file cannot be written.
pub fn pack(project: &mut Project, system: &str, output: &Path) -> anyhow::Result<u8> {
    let ready = ready(project, system)?;
    let image = image(project, &ready, None)?;
    std::fs::write(output, &image).with_context(|| format!("cannot write {}", output.display()))?;
    say(format_args!("{}: {} bytes, {}", output.display(), image.len(), ready.system.name))?;
    Ok(PASSED)
}

/// Returns the packed image of a system; home cores count modulo `cores`, if given.
///
/// # Errors
/// The hypervisor does not build, or is no image.
pub fn image(project: &mut Project, ready: &Ready, cores: Option<u8>) -> anyhow::Result<Vec<u8>> {
    packed(project, ready, cores, 0)
}

/// As [`image`], to be run here: boot says where everything stands if the system wants guests' addresses followed.
///
/// # Errors
/// As [`image`].
pub fn image_to_run(project: &mut Project, ready: &Ready, cores: Option<u8>) -> anyhow::Result<Vec<u8>> {
    let report = if ready.system.is_followed { HEADER_REPORT } else { 0 };
    // QEMU's watchdog resets the machine as soon as it runs, which one kind of scenario looks at.
    let is_armed = ready.system.reset == Some(Reset::Armed);
    packed(project, ready, cores, report | if is_armed { watchdog_flags(WATCHDOG_S) } else { 0 })
}

/// As [`image`], of a system whose boot says where everything stands.
///
/// # Errors
/// As [`image`].
pub fn reporting_image(project: &mut Project, ready: &Ready, cores: Option<u8>) -> anyhow::Result<Vec<u8>> {
    packed(project, ready, cores, HEADER_REPORT)
}

/// As [`image`], for a card: its watchdog runs, unless the system's file says otherwise.
///
/// # Errors
/// As [`image`].
pub fn card_image(project: &mut Project, ready: &Ready, cores: u8) -> anyhow::Result<Vec<u8>> {
    packed(project, ready, Some(cores), card_flags(&ready.system))
}

/// Returns the header's flags of a system on a card.
#[must_use]
pub fn card_flags(system: &System) -> u32 {
    watchdog_flags(system.watchdog_s.unwrap_or(WATCHDOG_S))
}

/// As [`image_to_run`], of a system that each core records into a ring of `1 << order` frames of 4 KiB.
///
/// # Errors
/// As [`image`].
pub fn traced_image(project: &mut Project, ready: &Ready, cores: u8, order: u32) -> anyhow::Result<Vec<u8>> {
    let report = if ready.system.is_followed { HEADER_REPORT } else { 0 };
    packed(project, ready, Some(cores), report | trace_flags(order))
}

fn packed(project: &mut Project, ready: &Ready, cores: Option<u8>, flags: u32) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::read(project.hypervisor_of(&ready.system)?)?;
    let mut hypervisor = hypervisor::flatten(&file)?;
    if let Some((function, code)) = ready.system.damage.and_then(Damage::code) {
        hypervisor.overwrite(&file, function, code)?;
    }
    if let Some(refused) = cores.and_then(|cores| admission::admit(&ready.system, cores)) {
        anyhow::bail!("{}: {refused}", ready.system.name);
    }
    let flags = flags | if ready.system.has_mini_uart { HEADER_MINI_UART } else { 0 };
    let images: Vec<Image> = ready.images.iter().map(|loaded| loaded.image.clone()).collect();
    Ok(pack::image(&hypervisor, &pack::payload(&ready.system, &images, cores, flags)?))
}
