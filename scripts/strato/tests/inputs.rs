//! Systems that are there are accepted, and no text and no file makes the tool panic: system files and images are damaged at random places, always the same ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "common/elf.rs"]
mod elf;

use std::path::Path;

use strato_cli::image;
use strato_cli::image::note::Note;
use strato_cli::system::{self, Source};

/// A small generator of numbers (xorshift64*), the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % limit.max(1)
    }
}

const PIECES: [&str; 22] = [
    "0",
    "-1",
    "18446744073709551616",
    "0x7fffffffffff",
    "\"\"",
    "\"é\u{1f980}\"",
    "[]",
    "{}",
    "=",
    "\n",
    "\"",
    "[[vm]]\n",
    "true",
    "1.5",
    "'",
    "ping:",
    ":@9",
    "\"GiB\"",
    "99999999999GiB",
    "#",
    "[expect]\nlines = [\"[é] x\"]\n",
    "0xffff_ffff_ffff_f000",
];

fn damaged(text: &str, numbers: &mut Numbers) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(chars.len());
        let until = (at + numbers.below(12)).min(chars.len());
        let piece = PIECES[numbers.below(PIECES.len())];
        let _ = chars.splice(at..until, piece.chars());
    }
    chars.into_iter().collect()
}

#[test]
fn every_system_of_the_workspace_is_accepted() {
    let paths = strato_cli::project::Project::find().unwrap().systems();
    assert!(!paths.is_empty());
    for path in paths {
        if let Err(error) = system::load(&path, &path.to_string_lossy()) {
            panic!("{error}");
        }
    }
}

#[test]
fn a_damaged_system_file_is_read_or_refused() {
    let good = include_str!("../../systems/demo.toml");
    let mut numbers = Numbers(0x5eed);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3000 {
        let source = Source { path: "damaged.toml".into(), text: damaged(good, &mut numbers) };
        match system::parse(&source, Path::new("."), "damaged") {
            Ok(_) => accepted += 1,
            Err(report) => {
                assert!(report.to_string().contains("error: "));
                refused += 1;
            }
        }
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_damaged_image_is_read_or_refused() {
    let handles = vec![(1, "to_pong"), (2, "shared")];
    let good = elf::build(&elf::Guest { handles, ..elf::Guest::default() });
    let mut numbers = Numbers(0xe1f);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(bytes.len());
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)];
        }
        bytes.truncate(if numbers.below(4) == 0 { numbers.below(good.len()) } else { good.len() });
        let _ = image::read(&bytes);
        let _ = Note::find(&bytes);
    }
}
