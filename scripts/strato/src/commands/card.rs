//! `strato sd` and `strato doctor`: a card for a Raspberry Pi 4, and what is wrong with one. Called by `commands::run`.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};

use super::{build, ready, selftest};
use crate::card::files::Files;
use crate::card::{CONFIG, Card, FIXUP, Finding, Folder, KERNEL, LICENSE, Level, START, TREE, doctor, write};
use crate::exit::{FAILED, Missing, PASSED, Usage, say};
use crate::project::Project;
use crate::system::{Board, size};

const WHENCE: &str = "take them from the Debian packages raspi-firmware (non-free-firmware) and linux-image-arm64, as \
                      docs/raspberry-pi-4.md shows; nothing is fetched for you";
// A Raspberry Pi 4 has so many.
const CORES: u8 = 4;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name or path of the system, or none for the self-test.
    pub system: Option<String>,
    /// The board.
    pub board: Board,
    /// The folder with the firmware's files.
    pub firmware: PathBuf,
    /// The folder or image to write.
    pub output: PathBuf,
    /// Bytes of the image, or as many as it needs.
    pub size: Option<u64>,
    /// Whether files that are there are written over.
    pub is_forced: bool,
}

/// Writes a card that boots a system.
///
/// # Errors
/// The system is refused or not for this board, a build failed, the firmware is missing or damaged, or the card cannot be written.
pub fn sd(project: &mut Project, request: &Request) -> anyhow::Result<u8> {
    only_rpi4(request.board)?;
    let mut firmware = Folder::new(&request.firmware);
    complete(&request.firmware, &mut firmware)?;
    if write::is_image(&request.output) {
        write::refuse(&request.output, request.size.unwrap_or(write::IMAGE_MIN), request.is_forced)?;
    }
    let (image, name) = match &request.system {
        Some(system) => one(project, system)?,
        None => selftest::whole(project, CORES)?,
    };
    let mut card = Card::of(image, &mut firmware)?;
    refuse(&doctor::examine(&mut card).findings)?;
    if write::is_image(&request.output) {
        let bytes = request.size.unwrap_or_else(|| write::image_size(write::bytes(&card)));
        write::image(&card, &request.output, bytes, request.is_forced)?;
        say(format_args!("{}: an image of {}, FAT32, {}", shown(&request.output), size::show(bytes), name))?;
    } else if request.size.is_some() {
        let fix = "name a file that ends with `.img`, or leave --size out".into();
        return Err(Usage { what: "a folder has no size".into(), fix }.into());
    } else {
        write::folder(&card, &request.output, request.is_forced)?;
        say(format_args!("{}: a folder, {}", shown(&request.output), name))?;
    }
    tell(&card, &request.firmware)
}

/// Returns the packed image of a system, and its name.
fn one(project: &mut Project, system: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let ready = ready(project, system)?;
    if ready.system.board == Some(Board::QemuVirt) {
        let what = format!("the system `{}` is for board qemu-virt alone", ready.system.name);
        return Err(Usage { what, fix: "take `board` out of its [system], or take another system".into() }.into());
    }
    Ok((build::card_image(project, &ready, CORES)?, ready.system.name))
}

fn only_rpi4(board: Board) -> Result<(), Usage> {
    if board == Board::Rpi4 {
        return Ok(());
    }
    let fix = "say --board rpi4".into();
    Err(Usage { what: "QEMU's machine virt boots from no card".into(), fix })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn complete(folder: &Path, firmware: &mut Folder) -> anyhow::Result<()> {
    if !folder.is_dir() {
        let what = format!("there is no folder {} with the firmware", folder.display());
        return Err(Missing { what, fix: WHENCE.into() }.into());
    }
    let mut missing = Vec::new();
    for name in [START, FIXUP, TREE] {
        if firmware.size(name)?.is_none() {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("{} has no {}", folder.display(), missing.join(", no "));
    Err(Missing { what, fix: WHENCE.into() }.into())
}

fn refuse(findings: &[Finding]) -> anyhow::Result<()> {
    let errors: Vec<String> =
        findings.iter().filter(|finding| finding.level == Level::Error).map(ToString::to_string).collect();
    ensure!(errors.is_empty(), "this card would not boot, and was not written\n{}", errors.join("\n"));
    Ok(())
}

fn tell(card: &Card, firmware: &Path) -> anyhow::Result<u8> {
    let mut overlays = 0;
    for (name, bytes) in &card.files {
        let whence = match name.as_str() {
            KERNEL => "the packed system".into(),
            CONFIG => "what the firmware does, with a comment on each line".into(),
            name if name.contains('/') => {
                overlays += 1;
                continue;
            }
            _ => format!("copied from {}", firmware.display()),
        };
        say(format_args!("  {name:<20} {:>8} bytes, {whence}", bytes.len()))?;
    }
    if overlays > 0 {
        say(format_args!("  overlays/            {overlays} files, copied from {}", firmware.display()))?;
    }
    let license = if card.files.contains_key(LICENSE) {
        format!("{LICENSE} is on the card")
    } else {
        format!("{} has no {LICENSE}: add it before you pass the card on", firmware.display())
    };
    say(format_args!("The firmware is Broadcom's, for use on a Raspberry Pi alone; {license}."))?;
    Ok(PASSED)
}

/// Shows everything that is wrong with a card; an error gives status 1.
///
/// # Errors
/// There is no card, or it cannot be read.
pub fn doctor(board: Board, path: &Path) -> anyhow::Result<u8> {
    only_rpi4(board)?;
    if !path.exists() {
        let fix = "name a folder, an image of a card, or a card's device".into();
        return Err(Usage { what: format!("there is no {}", path.display()), fix }.into());
    }
    let report = doctor::of(path).map_err(|error| anyhow!("{error:#}"))?;
    for finding in &report.findings {
        say(format_args!("{finding}\n"))?;
    }
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if let Some(packed) = &report.packed {
        let watchdog = match packed.watchdog_s {
            0 => "no watchdog".into(),
            seconds => format!("watchdog {seconds} s"),
        };
        let console = if packed.has_mini_uart { ", mini UART" } else { "" };
        let vms = packed.vms.len();
        match packed.systems {
            1 => say(format_args!("{}: {vms} VM(s), {watchdog}{console}: {}", shown(path), packed.vms.join(", ")))?,
            systems => {
                say(format_args!("{}: a series of {systems} systems, {vms} VMs, {watchdog}{console}", shown(path)))?
            }
        }
    }
    match (errors, warnings) {
        (0, 0) => say(format_args!("{}: nothing is wrong that can be told from outside", shown(path)))?,
        _ => say(format_args!("{}: {errors} error(s), {warnings} warning(s)", shown(path)))?,
    }
    Ok(if errors == 0 { PASSED } else { FAILED })
}
