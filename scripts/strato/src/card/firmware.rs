//! The firmware's files: what can be told of each without knowing what is in it. Called by `doctor`.

use super::config::Config;
use super::settings::number;
use super::{CONFIG, FIXUP, Files, Finding, OVERLAYS, START, TREE};

const ELF_MAGIC: &[u8] = b"\x7fELF";
// Device tree specification, "Header".
const TREE_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
const BOARD: &[u8] = b"raspberrypi,4-model-b";
// EM_VIDEOCORE3 (object files of binutils, "elf/common.h").
const VIDEOCORE: u64 = 137;

/// Returns what is wrong with the files that the firmware itself is.
pub fn check(files: &mut dyn Files, config: &Config) -> Vec<Finding> {
    let (start, fixup) = names(config);
    let tree = config.file("device_tree", TREE);
    let mut findings = Vec::new();
    for (name, default, judge) in [
        (&start, START, started as fn(&str, &[u8]) -> Option<Finding>),
        (&fixup, FIXUP, fixed_up),
        (&tree, TREE, described),
    ] {
        let fix = format!("copy {name} to the card; docs/raspberry-pi-4.md says where it comes from");
        match content(files, name, default, fix) {
            Ok(bytes) => findings.extend(judge(name, &bytes)),
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(overlays(files, config));
    findings
}

// Which program the firmware takes ("start_file, fixup_file", "start_x", "gpu_mem" of the documentation of config.txt).
fn names(config: &Config) -> (String, String) {
    let is_set = |key| config.last(key).and_then(|line| number(&line.value)).is_some_and(|value| value != 0);
    let is_cut = config.last("gpu_mem").and_then(|line| number(&line.value)).is_some_and(|mebibytes| mebibytes <= 16);
    let kind = match (is_cut, is_set("start_x"), is_set("start_debug")) {
        (true, ..) => "cd",
        (_, true, _) => "x",
        (_, _, true) => "db",
        _ => "",
    };
    let start = config.file("start_file", &format!("start4{kind}.elf"));
    (start, config.file("fixup_file", &format!("fixup4{kind}.dat")))
}

/// Returns the content of a file that the firmware looks for, `default` unless config.txt says otherwise; `if_missing` is what to do then.
///
/// # Errors
/// It is missing, empty, nothing but zeros, or unreadable: the finding that says so.
pub fn content(files: &mut dyn Files, name: &str, default: &str, if_missing: String) -> Result<Vec<u8>, Finding> {
    let why = if name.eq_ignore_ascii_case(default) {
        "the firmware of a Raspberry Pi 4 does not boot without it".to_owned()
    } else {
        format!("{CONFIG} leads to it, instead of {default}")
    };
    let expected = format!("the file {name}: {why}");
    let again = format!("write the card again from a whole copy: `cargo strato sd`, or copy {name} to it");
    match files.size(name) {
        Ok(None) if name.eq_ignore_ascii_case(default) => {
            return Err(Finding::error(name, format!("{name} is missing"), expected, if_missing));
        }
        Ok(None) => {
            let fix = format!("take the line out of {CONFIG}, or {if_missing}");
            return Err(Finding::error(CONFIG, format!("{CONFIG} names {name}, which is missing"), expected, fix));
        }
        Ok(Some(0)) => return Err(Finding::error(name, format!("{name} is empty"), expected, again)),
        Ok(Some(_)) => {}
        Err(error) => return Err(Finding::error(name, format!("{error:#}"), expected, again)),
    }
    let bytes = files.read(name).map_err(|error| Finding::error(name, format!("{error:#}"), &expected, &again))?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(Finding::error(name, format!("{name} holds nothing but zeros"), expected, again));
    }
    Ok(bytes)
}

fn copy_again(name: &str) -> String {
    format!("copy {name} again, and compare it with where it came from")
}

fn started(name: &str, bytes: &[u8]) -> Option<Finding> {
    let expected = "the firmware's program, a 32-bit ELF file for the VideoCore";
    let wrong = |what: String, expected: String| Some(Finding::error(name, what, expected, copy_again(name)));
    if !bytes.starts_with(ELF_MAGIC) {
        let what = format!("{name} does not begin as an ELF file, but with {}", hex(bytes));
        return wrong(what, format!("{expected}: {}", hex(ELF_MAGIC)));
    }
    let half = |at: usize| bytes.get(at..at + 2).and_then(|half| half.try_into().ok()).map_or(0, u16::from_le_bytes);
    let half = |at: usize| u64::from(half(at));
    // The table of sections stands at the end: e_shoff, e_shentsize and e_shnum of the header tell where that is.
    let end = (half(0x20) | half(0x22) << 16) + half(0x2e) * half(0x30);
    if u64::try_from(bytes.len()).is_ok_and(|have| have < end.max(52)) {
        let what = format!("{name} has {} bytes: it is cut short", bytes.len());
        return wrong(what, format!("{expected}, of {} bytes", end.max(52)));
    }
    let machine = half(0x12);
    (machine != VIDEOCORE)
        .then(|| wrong(format!("{name} is a program for another machine, {machine}"), expected.into()))?
}

// What is in it is known to nobody outside; that it belongs to the program is a matter of the same release.
fn fixed_up(name: &str, bytes: &[u8]) -> Option<Finding> {
    (bytes.len() < 1024 || bytes.starts_with(ELF_MAGIC)).then(|| {
        let what = format!("{name} has {} bytes that begin with {}: it is another file", bytes.len(), hex(bytes));
        Finding::error(name, what, "some KiB of the same release as the firmware's program", copy_again(name))
    })
}

fn described(name: &str, bytes: &[u8]) -> Option<Finding> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| <[u8; 4]>::try_from(word).ok());
    let expected = format!("a device tree blob, {}", hex(&TREE_MAGIC));
    if word(0) != Some(TREE_MAGIC) {
        let what = format!("{name} does not begin as a device tree, but with {}", hex(bytes));
        return Some(Finding::error(name, what, expected, copy_again(name)));
    }
    let total = word(4).map_or(u64::MAX, |total| u64::from(u32::from_be_bytes(total)));
    if u64::try_from(bytes.len()).is_ok_and(|have| total > have) {
        let what = format!("{name} has {} bytes, of {total} that its header tells", bytes.len());
        return Some(Finding::error(name, what, format!("{expected}, whole"), copy_again(name)));
    }
    (!bytes.windows(BOARD.len()).any(|part| part == BOARD)).then(|| {
        let what = format!("{name} describes another board");
        let fix = format!("take {TREE}, and no other model's");
        Finding::error(name, what, "a device tree that is compatible with raspberrypi,4-model-b", fix)
    })
}

fn overlays(files: &mut dyn Files, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in config.all("dtoverlay") {
        let name = line.value.split([',', ':']).next().unwrap_or_default();
        let file = format!("{OVERLAYS}/{name}.dtbo");
        if name.is_empty() || files.size(&file).is_ok_and(|size| size.is_some_and(|size| size > 0)) {
            continue;
        }
        let what = format!("`dtoverlay={}`: there is no {file}", line.value);
        let fix = "copy it to the card, or take the line out: Strato needs no overlay";
        let place = format!("{CONFIG}:{}", line.number);
        findings.push(Finding::error(place, what, format!("the file {file}"), fix).as_warning());
    }
    findings
}

/// Returns the first bytes, as people read them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
