//! A card that has nothing wrong, of made-up firmware: files with the right beginnings and nothing of the real ones.

use std::collections::BTreeMap;
use std::path::Path;

use strato_cli::card::{Card, FIXUP, LICENSE, START, TREE};
use strato_cli::image;
use strato_cli::pack::{self, hypervisor::Flat};
use strato_cli::system::{self, Source};

use crate::elf;

/// A system for every board.
pub(crate) const PLAIN: &str = "[[vm]]\nname = \"main\"\nimage = \"./a.elf\"\nmemory = \"1MiB\"\n";

/// Returns the packed image of a system behind a hypervisor that is a header alone.
pub(crate) fn packed(text: &str) -> Vec<u8> {
    let source = Source { path: "card.toml".into(), text: text.into() };
    let system = system::parse(&source, Path::new("."), "card").unwrap_or_else(|refused| panic!("{refused}"));
    let images = vec![image::read(&elf::build(&elf::Guest::default())).unwrap(); system.vms.len()];
    let mut bytes = vec![0; 0x3000];
    bytes[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&0x3000_u64.to_le_bytes());
    bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
    pack::image(&Flat { bytes }, &pack::payload(&system, &images, Some(4), 0).unwrap())
}

/// Returns a device tree that says as much as is looked at.
pub(crate) fn tree(board: &str) -> Vec<u8> {
    let mut tree = vec![0xd0, 0x0d, 0xfe, 0xed];
    tree.extend(4096_u32.to_be_bytes());
    tree.extend([0; 64]);
    tree.extend(board.bytes());
    tree.resize(4096, 0);
    tree
}

/// Returns the firmware.
pub(crate) fn firmware() -> Card {
    let mut program = vec![0x5a; 600 << 10];
    program[..0x34].fill(0);
    // A VideoCore's, with a table of sections at its end.
    let table = 600 * 1024 - 40 * 2;
    program[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    program[0x12] = 137;
    program[0x20..0x24].copy_from_slice(&u32::to_le_bytes(table));
    (program[0x2e], program[0x30]) = (40, 2);
    let files = [
        (START, program),
        (FIXUP, vec![0x77; 5000]),
        (TREE, tree("raspberrypi,4-model-b")),
        (LICENSE, b"made up".to_vec()),
        ("overlays/disable-bt.dtbo", vec![0xd0; 100]),
        ("overlays/README", vec![b'x'; 100]),
    ];
    Card { files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into_iter().collect::<BTreeMap<_, _>>() }
}

/// Returns the card of a system.
pub(crate) fn card(text: &str) -> Card {
    Card::of(packed(text), &mut firmware()).unwrap()
}
