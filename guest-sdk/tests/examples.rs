//! What an example's README shows is what its system.toml makes the run print, line for line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;

fn shown(readme: &str) -> Vec<String> {
    readme.lines().filter(|line| line.starts_with('[') && line.contains("] ")).map(str::to_owned).collect()
}

/// Returns the texts of `lines = [...]` in the table `[expect]`, one text to a line.
fn expected(system: &str) -> Vec<String> {
    let expect = &system[system.find("[expect]").unwrap()..];
    let lines = &expect[expect.find("lines = [").unwrap()..];
    let texts = lines.split("\"[").skip(1).take_while(|text| text.contains("] "));
    texts.map(|text| format!("[{}", text.split('"').next().unwrap())).collect()
}

fn label(line: &str) -> &str {
    line.split(']').next().unwrap()
}

fn is_shown_as(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => line.starts_with(start) && line.ends_with(end),
        None => pattern == line,
    }
}

#[test]
fn a_readme_shows_the_lines_that_the_run_must_print() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../example-guests");
    for guest in ["hello", "mirror", "ping_pong", "pager", "yielder", "faulty", "floats"] {
        let read = |file: &str| fs::read_to_string(guests.join(guest).join(file)).unwrap();
        let (shown, expected) = (shown(&read("README.md")), expected(&read("system.toml")));
        assert_eq!(shown.len(), expected.len(), "{guest}");
        for name in expected.iter().map(|line| label(line)) {
            let of = |lines: &'_ [String]| lines.iter().filter(|line| label(line) == name).cloned().collect::<Vec<_>>();
            for (pattern, line) in of(&expected).iter().zip(of(&shown)) {
                assert!(is_shown_as(pattern, &line), "{guest}: README shows {line}, the run prints {pattern}");
            }
        }
    }
}

#[test]
fn an_example_is_short_enough_to_be_read() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../example-guests");
    for guest in fs::read_dir(guests).unwrap().map(|entry| entry.unwrap().path().join("src/main.rs")) {
        // The attacker of the scenarios hostile_* is a test, not an example.
        let is_example = !guest.ends_with("hostile/src/main.rs");
        if let Some(text) = fs::read_to_string(&guest).ok().filter(|_| is_example) {
            assert!(text.lines().count() <= 100, "{} has more than 100 lines", guest.display());
        }
    }
}
