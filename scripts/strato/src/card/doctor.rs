//! Doctor: everything that is wrong with a card, each with its place, what should be there, and what to do. Called by `commands::card`.
//! What cannot be told from outside, as whether the firmware's files are of one release, is not judged.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::Context;

use super::config::Config;
use super::kernel::{self, Packed};
use super::volume;
use super::{CONFIG, Files, Finding, Folder, KERNEL, firmware, settings};

/// What is known of a card.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// What is packed in its kernel, if it can be read.
    pub packed: Option<Packed>,
}

/// Lines of config.txt that lead away from what Strato relies on: key, what it does, what to do.
const ASTRAY: [(&str, &str, &str); 4] = [
    ("kernel_old", "the image is loaded at address 0, over the firmware's own code", "take the line out"),
    ("arm_peri_high", "the devices are at other addresses", "take the line out"),
    ("os_prefix", "files are looked for under another name", "take the line out; nothing is looked for there here"),
    ("armstub", "other code than the firmware's own runs before Strato", "take the line out, unless you mean it"),
];

/// Returns what is wrong with the card at `path`: an image of a card, a card, or a folder.
///
/// # Errors
/// There is nothing, or it cannot be read.
pub fn of(path: &Path) -> anyhow::Result<Report> {
    if path.is_dir() {
        return Ok(examine(&mut Folder::new(path)));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let name = path.file_name().map_or("card".into(), |name| name.to_string_lossy().into_owned());
    of_disk(file, &name)
}

/// Returns what is wrong with a card called `name`, from its partition table on.
///
/// # Errors
/// It cannot be read.
pub fn of_disk(disk: impl Read + Seek, name: &str) -> anyhow::Result<Report> {
    let (volume, mut findings) = volume::open(disk, name)?;
    let Some(mut volume) = volume else { return Ok(Report { findings, packed: None }) };
    let report = examine(&mut volume);
    findings.extend(report.findings);
    Ok(Report { findings, ..report })
}

/// Returns what is wrong with the files of a card.
pub fn examine(files: &mut dyn Files) -> Report {
    let mut findings = Vec::new();
    let config = text(files).map(|text| Config::read(&text)).map_err(|finding| findings.push(finding)).ok();
    let is_read = config.is_some();
    let config = config.unwrap_or_default();
    let started = started(files, &config.file("kernel", KERNEL));
    if is_read {
        findings.extend(config.findings.clone());
        findings.extend(settings::compare(&config, started.as_ref().is_ok_and(|packed| packed.has_mini_uart)));
        findings.extend(astray(&config));
    }
    findings.extend(firmware::check(files, &config));
    let packed = started.map_err(|finding| findings.push(finding)).ok();
    Report { findings, packed }
}

// Without the file the firmware takes its defaults; what it would say is not asked for line by line then.
fn text(files: &mut dyn Files) -> Result<String, Finding> {
    let fix = format!("write the card again with `cargo strato sd`, which writes {CONFIG}");
    let missing = |what: String| Finding::error(CONFIG, what, "the lines that Strato needs", &fix);
    match files.size(CONFIG) {
        Ok(None) => return Err(missing(format!("{CONFIG} is missing"))),
        Err(error) => return Err(missing(format!("{error:#}"))),
        Ok(Some(size)) if size > 1 << 20 => return Err(missing(format!("{CONFIG} has {size} bytes"))),
        Ok(Some(_)) => {}
    }
    let bytes = files.read(CONFIG).map_err(|error| missing(format!("{error:#}")))?;
    if bytes.contains(&0) || bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(missing(format!("{CONFIG} is no plain text: damaged, or saved as UTF-16")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn astray(config: &Config) -> Vec<Finding> {
    let found = ASTRAY.iter().filter_map(|(key, what, fix)| {
        let line = config.last(key).filter(|line| !line.value.is_empty() && line.value != "0")?;
        let place = format!("{CONFIG}:{}", line.number);
        let finding = Finding::error(place, format!("`{key}={}`: {what}", line.value), format!("no `{key}`"), *fix);
        // Trusted Firmware-A is such code, and brings PSCI, which Strato uses where the device tree has it.
        Some(if *key == "armstub" { finding.as_warning() } else { finding })
    });
    found.collect()
}

fn started(files: &mut dyn Files, name: &str) -> Result<Packed, Finding> {
    if let Ok(Some(size)) = files.size(name)
        && let Some(finding) = kernel::too_big(name, size)
    {
        return Err(finding);
    }
    let other = match files.size(name) {
        Ok(None) => misnamed(files),
        _ => None,
    };
    let if_missing = match other {
        Some(other) => format!("rename {other}, which holds a packed system, to {name}"),
        None => "write it: `cargo strato sd`, or `cargo strato pack SYSTEM -o kernel8.img`".into(),
    };
    kernel::check(name, &firmware::content(files, name, KERNEL, if_missing)?)
}

fn misnamed(files: &mut dyn Files) -> Option<String> {
    let mut names = files.names("").ok()?.into_iter().filter(|name| name.to_lowercase().ends_with(".img"));
    names.find(|name| files.read(name).is_ok_and(|bytes| kernel::check(name, &bytes).is_ok()))
}
