//! Small guest images for tests, written byte by byte: a header, program headers, a note, a page of code.

use std::fs;
use std::path::Path;

use strato_abi::note::{FLAG_FAULT_HANDLER, FLAG_FP};
use strato_abi::version::ABI_VERSION;

/// What is particular about an image.
#[derive(Clone)]
pub(crate) struct Guest {
    /// ELF machine; 183 is AArch64.
    pub(crate) machine: u16,
    /// ELF type; 2 is an executable.
    pub(crate) kind: u16,
    /// Segments: type, flags, address, bytes in the file, bytes in memory.
    pub(crate) segments: Vec<(u32, u32, u64, u64, u64)>,
    /// Where it starts.
    pub(crate) entry: u64,
    /// Whether it has a note.
    pub(crate) has_note: bool,
    /// ABI version of the note.
    pub(crate) abi_version: u32,
    /// Flags of the note.
    pub(crate) flags: u32,
    /// Groups of the note.
    pub(crate) groups: Vec<[u16; 3]>,
    /// Handles of the note: kind and name.
    pub(crate) handles: Vec<(u16, &'static str)>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            machine: 183,
            kind: 2,
            segments: vec![(1, 5, 0x4000_0000, 0x20, 0x1000), (1, 6, 0x4000_1000, 0x10, 0x3000)],
            entry: 0x4000_0000,
            has_note: true,
            abi_version: ABI_VERSION,
            flags: FLAG_FAULT_HANDLER,
            groups: vec![[0, 1, 0], [7, 1, 0]],
            handles: vec![],
        }
    }
}

fn note(guest: &Guest) -> Vec<u8> {
    let mut desc = Vec::new();
    desc.extend(guest.abi_version.to_le_bytes());
    desc.extend(guest.flags.to_le_bytes());
    desc.extend(u16::try_from(guest.groups.len()).unwrap().to_le_bytes());
    desc.extend(u16::try_from(guest.handles.len()).unwrap().to_le_bytes());
    desc.extend([0; 4]);
    desc.extend(0x4000_u64.to_le_bytes());
    for [group, major, minor] in &guest.groups {
        [*group, *major, *minor, 0].iter().for_each(|field| desc.extend(field.to_le_bytes()));
    }
    for (kind, name) in &guest.handles {
        desc.extend(kind.to_le_bytes());
        desc.extend([0; 6]);
        let mut field = name.as_bytes().to_vec();
        field.resize(40, 0);
        desc.extend(field);
    }
    let mut note = Vec::new();
    [7, u32::try_from(desc.len()).unwrap(), 1].iter().for_each(|word: &u32| note.extend(word.to_le_bytes()));
    note.extend(b"Strato\0\0");
    note.extend(desc);
    note
}

/// Returns the bytes of the ELF file.
pub(crate) fn build(guest: &Guest) -> Vec<u8> {
    let note = note(guest);
    let mut programs = guest.segments.clone();
    let note_len = u64::try_from(note.len()).unwrap();
    if guest.has_note {
        programs.push((4, 4, 0, note_len, note_len));
    }
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(guest.kind.to_le_bytes());
    elf.extend(guest.machine.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    [guest.entry, 64, 0].iter().for_each(|word| elf.extend(word.to_le_bytes()));
    elf.extend([0; 4]);
    let count = u16::try_from(programs.len()).unwrap();
    [64_u16, 56, count, 64, 0, 0].iter().for_each(|half| elf.extend(half.to_le_bytes()));
    let mut offset = u64::try_from(64 + 56 * programs.len()).unwrap();
    let mut body = Vec::new();
    for (kind, flags, address, file_len, mem_len) in &programs {
        elf.extend(kind.to_le_bytes());
        elf.extend(flags.to_le_bytes());
        [offset, *address, *address, *file_len, *mem_len, 8].iter().for_each(|word| elf.extend(word.to_le_bytes()));
        let mut bytes = if *kind == 4 { note.clone() } else { vec![0x1f; usize::try_from(*file_len).unwrap()] };
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        offset += u64::try_from(bytes.len()).unwrap();
        body.extend(bytes);
    }
    elf.extend(body);
    elf
}

/// Writes every image that the corpus names.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn write_all(folder: &Path) {
    let good = Guest::default();
    let with = |change: &dyn Fn(&mut Guest)| {
        let mut guest = good.clone();
        change(&mut guest);
        build(&guest)
    };
    let mut cut = build(&good);
    cut.truncate(240);
    let images = [
        ("good.elf", build(&good)),
        ("text.elf", b"#!/bin/sh\n".to_vec()),
        ("cut.elf", cut),
        ("x86.elf", with(&|guest| guest.machine = 62)),
        ("pie.elf", with(&|guest| guest.kind = 3)),
        ("dynamic.elf", with(&|guest| guest.segments.push((2, 6, 0x4000_2000, 8, 8)))),
        ("unaligned.elf", with(&|guest| guest.segments = vec![(1, 5, 0x4000_0100, 0x20, 0x1000)])),
        ("low.elf", with(&|guest| guest.segments = vec![(1, 5, 0x8_0000, 0x20, 0x1000)])),
        ("shared_page.elf", with(&|guest| guest.segments[0].4 = 0x1001)),
        ("empty.elf", with(&|guest| guest.segments.clear())),
        ("no_entry.elf", with(&|guest| guest.entry = 0x4000_1000)),
        ("big.elf", with(&|guest| guest.segments[1].4 = 0x18_0000)),
        ("no_note.elf", with(&|guest| guest.has_note = false)),
        ("newer_minor.elf", with(&|guest| guest.abi_version = ABI_VERSION + 1)),
        ("newer_major.elf", with(&|guest| guest.abi_version = 2 << 16)),
        ("newer_group.elf", with(&|guest| guest.groups = vec![[5, 1, 9], [30, 1, 0]])),
        (
            "needs_handles.elf",
            with(&|guest| guest.handles = vec![(1, "to_pong"), (2, "shared"), (6, "pong"), (2, "ram")]),
        ),
        ("fp.elf", with(&|guest| guest.flags = FLAG_FP)),
        ("wx.elf", with(&|guest| guest.segments[1].1 = 7)),
    ];
    for (name, bytes) in images {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
