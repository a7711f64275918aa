//! What a README shows is what its system file makes the run print, line for line; and an example stays short.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Guests that are read to learn from.
const EXAMPLES: [&str; 16] = [
    "address_spaces",
    "balloon",
    "blink",
    "demand_paging",
    "faulty",
    "floats",
    "hello",
    "mirror",
    "ping_pong",
    "realtime",
    "rtc_driver",
    "shared_ring",
    "ticker",
    "two_vcpus",
    "two_worlds",
    "yielder",
];
/// Guests that measure, test or attack.
const OTHERS: [&str; 3] = ["bench", "hostile", "selftest"];
/// Most lines of a file of an example.
const LINES_MAX: usize = 100;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the lines of VMs in what a README shows of a run.
fn shown(readme: &str) -> Vec<&str> {
    readme.lines().filter(|line| line.starts_with('[') && line.contains("] ") && !line.contains("](")).collect()
}

/// Returns the hypervisor's lines there, without the functions that the tool puts under them.
fn spoken(readme: &str) -> Vec<&str> {
    readme.lines().filter_map(|line| line.strip_prefix("strato: ")).filter(|text| !text.starts_with(' ')).collect()
}

/// Returns the texts of the list `key = [...]` in the table `[expect]`, if it is there.
fn expected<'s>(system: &'s str, key: &str) -> Vec<&'s str> {
    let expect = &system[system.find("\n[expect]").unwrap()..];
    let Some(at) = expect.find(&format!("\n{key} = [")) else { return Vec::new() };
    // The texts have brackets themselves, so the list ends at the bracket that no quote surrounds.
    let mut texts = Vec::new();
    for (n, part) in expect[at..].split('"').enumerate() {
        match n % 2 {
            1 => texts.push(part),
            0 if n > 0 && part.contains(']') => break,
            _ => {}
        }
    }
    texts
}

fn label(line: &str) -> &str {
    line.split(']').next().unwrap()
}

// Each part between two `*` is found behind the one before it; the last one ends the line.
fn is_shown_as(pattern: &str, line: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    while let Some((part, behind)) = rest.split_once('*') {
        let Some((_, after)) = line.split_once(part) else { return false };
        (line, rest) = (after, behind);
    }
    line.ends_with(rest)
}

/// Checks that a README shows what a system file expects, and nothing else of VMs.
fn compare(readme_path: &str, system_path: &str) {
    let (readme, system) = (read(readme_path), read(system_path));
    let (shown, expected_lines) = (shown(&readme), expected(&system, "lines"));
    assert!(!expected_lines.is_empty(), "{system_path} expects nothing");
    assert_eq!(shown.len(), expected_lines.len(), "{readme_path}: {shown:?}");
    for name in expected_lines.iter().map(|line| label(line)) {
        let of = |lines: &[&str]| lines.iter().filter(|line| label(line) == name).map(ToString::to_string).collect();
        let (patterns, lines): (Vec<String>, Vec<String>) = (of(&expected_lines), of(&shown));
        assert_eq!(patterns.len(), lines.len(), "{readme_path}: {name}]");
        for (pattern, line) in patterns.iter().zip(&lines) {
            assert!(is_shown_as(pattern, line), "{readme_path} shows {line}, the run prints {pattern}");
        }
    }
    let (spoken, parts) = (spoken(&readme), expected(&system, "hypervisor"));
    for line in &spoken {
        assert!(parts.iter().any(|part| line.contains(part)), "{readme_path} shows {line}, which nothing expects");
    }
    for part in &parts {
        assert!(spoken.iter().any(|line| line.contains(part)), "{readme_path} does not show {part}");
    }
}

#[test]
fn a_readme_shows_the_lines_that_the_run_must_print() {
    for guest in EXAMPLES {
        compare(&format!("example-guests/{guest}/README.md"), &format!("example-guests/{guest}/system.toml"));
    }
}

#[test]
fn the_first_readme_shows_the_lines_that_the_demo_must_print() {
    compare("README.md", "scripts/systems/demo.toml");
}

/// Returns the lines of the longest file below `folder`.
fn lines_of(folder: &Path) -> usize {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let lines = |path: PathBuf| fs::read_to_string(path).unwrap().lines().count();
    paths.map(|path| if path.is_dir() { lines_of(&path) } else { lines(path) }).max().unwrap_or_default()
}

#[test]
fn the_files_of_an_example_are_short_enough_to_be_read() {
    let folders = fs::read_dir(root().join("example-guests")).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir());
    let mut found: Vec<String> = folders.map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
    found.sort();
    let mut known = [EXAMPLES.as_slice(), OTHERS.as_slice()].concat();
    known.sort_unstable();
    assert_eq!(found, known, "a new guest is an example, or it is not");
    for guest in EXAMPLES {
        let lines = lines_of(&root().join("example-guests").join(guest).join("src"));
        assert!((1..=LINES_MAX).contains(&lines), "{guest} has a file of {lines} lines");
    }
}
