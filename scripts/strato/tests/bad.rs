//! The corpus of broken system files: each is refused with exactly the message that stands beside it.
//! `STRATO_BLESS=1 cargo test -p strato-cli --test bad` writes the messages anew; read them before you commit.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "a test may panic")]

#[path = "common/elf.rs"]
mod elf;

use std::fs;
use std::path::{Path, PathBuf};

use strato_cli::image::load;
use strato_cli::project::Project;
use strato_cli::system::{self, Source};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn corpus() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files
}

/// Returns what `strato check` says about a file, its images made by `elf` in a folder of their own.
fn verdict(path: &Path, images: &Path) -> String {
    let shown = path.file_name().unwrap().to_string_lossy().into_owned();
    let source = Source { path: shown, text: fs::read_to_string(path).unwrap() };
    let system = match system::parse(&source, images, "bad") {
        Ok(system) => system,
        Err(refused) => return refused.to_string() + "\n",
    };
    match load::images(&system, &source, &mut Project::find().unwrap()) {
        Ok(_) => "accepted\n".into(),
        Err(error) => error.to_string().replace(&*images.to_string_lossy(), "IMAGES") + "\n",
    }
}

#[test]
fn every_broken_system_is_refused_with_the_message_beside_it() {
    let images = std::env::temp_dir().join(format!("strato-bad-{}", std::process::id()));
    fs::create_dir_all(&images).unwrap();
    elf::write_all(&images);
    let bless = std::env::var_os("STRATO_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in corpus() {
        let message = verdict(&path, &images);
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, &message).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != message {
            wrong.push(format!("{}:\n{message}", path.display()));
        }
    }
    fs::remove_dir_all(&images).unwrap();
    assert!(wrong.is_empty(), "messages differ from the files beside:\n{}", wrong.join("\n"));
}

#[test]
fn every_message_names_file_line_cause_and_fix() {
    for path in corpus() {
        let message = fs::read_to_string(path.with_extension("txt")).unwrap();
        let place = format!("--> {}:", path.file_name().unwrap().to_string_lossy());
        for part in ["error: ", &place, "^", "= help: "] {
            assert!(message.contains(part), "{}: no `{part}` in\n{message}", path.display());
        }
    }
}

#[test]
fn the_corpus_is_not_lost() {
    assert!(corpus().len() >= 40);
}
