//! What the texts say of the tree: docs/testing.md names tests and scenarios that exist, README.md the figures that are measured.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use strato_cli::bench::{FIGURES, miss};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the text of every Rust file under a folder.
fn sources(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => sources(&path),
            Some("rs") => fs::read_to_string(path).unwrap(),
            _ => String::new(),
        })
        .collect()
}

fn scenarios() -> Vec<String> {
    let systems = fs::read_dir(root().join("scripts/systems")).unwrap();
    let guests = fs::read_dir(root().join("example-guests")).unwrap();
    let entries = systems.chain(guests).map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Returns the paths of all files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_file_that_keeps_a_rule_of_silicon_exists_and_has_what_is_named() {
    let text = fs::read_to_string(root().join("docs/silicon.md")).unwrap();
    let files = [files(&root().join("hyp/src")), files(&root().join("abi/src"))].concat();
    let mut seen = 0;
    for named in text.split('`').skip(1).step_by(2) {
        let (file, names) = named.split_once("::").unwrap_or((named, ""));
        if !file.ends_with(".rs") && !file.ends_with(".S") {
            continue;
        }
        let found: Vec<_> = files.iter().filter(|path| path.ends_with(file)).collect();
        assert!(!found.is_empty(), "there is no file {file}");
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let has = |path: &&PathBuf| names.split("::").all(|name| text(path).contains(name));
        assert!(found.iter().copied().any(|path| has(&path)), "{file} has no {names}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

/// Returns what a heading is called in links: as GitHub has it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_of_a_text_leads_to_a_file_and_a_heading() {
    let tops = ["abi", "docs", "example-guests", "guest-sdk", "hyp", "scripts"].map(|top| files(&root().join(top)));
    let mut texts: Vec<PathBuf> = tops.concat();
    texts.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    texts.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut seen = 0;
    for path in &texts {
        let text = fs::read_to_string(path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("https:") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
                assert!(is_there, "{}: {link} names no heading", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn every_rule_of_the_specification_that_is_cited_exists() {
    let spec = fs::read_to_string(root().join("abi/SPEC.md")).unwrap();
    let mut seen = 0;
    for folder in ["abi", "docs", "example-guests", "guest-sdk", "hyp/src", "hyp/tests", "scripts"] {
        for path in files(&root().join(folder)) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for rest in text.split("SPEC ").skip(1).chain(text.split("SPEC.md ").skip(1)) {
                let rule = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap().trim_end_matches('.');
                let is_rule =
                    rule.split_once('.').is_some_and(|(chapter, rule)| !chapter.is_empty() && !rule.is_empty());
                if is_rule {
                    assert!(spec.contains(&format!("- **{rule}**")), "{}: SPEC has no {rule}", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_file_with_attacks_is_in_the_readme_of_the_attacker() {
    let hostile = root().join("example-guests/hostile");
    let text = fs::read_to_string(hostile.join("README.md")).unwrap();
    let mut seen = 0;
    for path in files(&hostile.join("src")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A case is called like its id: `ev03_...`.
        let is_case = |line: &&str| {
            let id = line.strip_prefix("pub(crate) fn ").map_or(&[][..], str::as_bytes);
            matches!(id, [a, b, c, d, ..] if [a, b].iter().all(|x| x.is_ascii_lowercase()) && [c, d].iter().all(|x| x.is_ascii_digit()))
        };
        if fs::read_to_string(&path).unwrap().lines().any(|line| is_case(&line)) {
            assert!(text.contains(&format!("`{name}`")), "{name} is not in the table of README.md");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn what_holds_a_promise_exists() {
    let text = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let table = text.split("## Which promise is held by what").nth(1).unwrap().split("\n## ").next().unwrap();
    let folders = [
        "hyp/src",
        "hyp/models/tests",
        "hyp/tests",
        "abi/src",
        "abi/tests",
        "guest-sdk/src",
        "guest-sdk/tests",
        "scripts/strato/src",
        "scripts/strato/tests",
    ];
    let sources: String = folders.iter().map(|folder| sources(&root().join(folder))).collect();
    let scenarios = scenarios();
    let mut seen = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, on_a_pc, in_qemu, _] = cells.as_slice() else { panic!("three cells: {row}") };
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        assert!(!names(on_a_pc).is_empty() || !names(in_qemu).is_empty(), "nothing holds: {row}");
        for name in names(on_a_pc) {
            assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
            seen += 1;
        }
        for name in names(in_qemu).into_iter().filter(|name| !name.contains(' ')) {
            let found = match name.strip_suffix('*') {
                Some(start) => scenarios.iter().any(|scenario| scenario.starts_with(start)),
                None => scenarios.contains(&name),
            };
            assert!(found, "there is no scenario {name}");
            seen += 1;
        }
    }
    assert!(seen > 40, "the table was found: {seen}");
    // Each scenario that is no example and no part of a family stands there by its name.
    let is_listed = |name: &String| {
        let families = table
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|word| word.strip_suffix('*'))
            .filter(|start| !start.is_empty());
        table.contains(&format!("`{name}`")) || families.into_iter().any(|start| name.starts_with(start))
    };
    let systems = fs::read_dir(root().join("scripts/systems")).unwrap().map(|entry| entry.unwrap().path());
    for path in systems {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(is_listed(&name), "no promise names the scenario {name}");
    }
}

#[test]
fn the_first_readme_has_every_figure_with_its_bar_and_says_which_miss_it() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let table = text.split("## Figures").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut figures = FIGURES.iter();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, what, values, bar, _] = cells.as_slice() else { panic!("three cells: {row}") };
        let figure = figures.next().unwrap_or_else(|| panic!("no figure is left for: {row}"));
        assert!(what.starts_with(&format!("`{}`", figure.name)), "here comes {}, not: {row}", figure.name);
        // One number is that of both interrupt controllers.
        let numbers = |cell: &str| cell.replace(',', "").split(" / ").map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
        let is_missed = figure.bar.is_some_and(|bar| numbers(values).iter().any(|&value| value > bar));
        let expected = figure.bar.map_or("-".into(), |bar| bar.to_string() + if is_missed { " MISSED" } else { "" });
        assert_eq!(bar.replace(',', ""), expected, "{row}");
        assert!(!is_missed || miss(figure.name).is_some(), "nobody has accepted: {row}");
    }
    assert_eq!(figures.next().map(|figure| figure.name), None, "README.md has no row for it");
}
