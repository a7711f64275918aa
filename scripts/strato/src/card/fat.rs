//! Writes a FAT32 file system once, from front to back, with every file in one piece. Called by `write`. Written by hand: the crate `fatfs`
//! gives `.` and `..` of a folder long names, at which fsck.fat takes offence.
//! Source: Microsoft, "FAT: General Overview of On-Disk Format" 1.03.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use anyhow::Context;

use super::names::{self, Item};
use super::table::{SECTOR, START};
use crate::exit::Usage;
use crate::system::size;

const RESERVED: u64 = 32;
const TABLES: u64 = 2;
const FIRST_CLUSTER: u64 = 2;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const COPY: u64 = 6; // where the copies of the first two sectors begin
const LABEL: &[u8; 11] = b"STRATO     ";

/// How a volume is laid out.
#[derive(Clone, Copy, Debug)]
struct Shape {
    sectors: u64,
    per_cluster: u64,
    table_sectors: u64,
    clusters: u64,
}

impl Shape {
    // The sizes of clusters and the length of a table are those of the source.
    fn of(sectors: u64) -> Self {
        let per_cluster = match (sectors * SECTOR) >> 20 {
            0..=260 => 1,
            261..=8192 => 8,
            8193..=16384 => 16,
            _ => 32,
        };
        let table_sectors = (sectors - RESERVED).div_ceil((256 * per_cluster + TABLES) / 2);
        let clusters = (sectors - RESERVED - TABLES * table_sectors) / per_cluster;
        Self { sectors, per_cluster, table_sectors, clusters }
    }

    fn cluster_bytes(self) -> u64 {
        self.per_cluster * SECTOR
    }

    /// Returns the first byte of a cluster, in the volume.
    fn place(self, cluster: u64) -> u64 {
        (RESERVED + TABLES * self.table_sectors + (cluster - FIRST_CLUSTER) * self.per_cluster) * SECTOR
    }
}

/// A piece of the volume: a folder's entries or a file's bytes.
struct Piece<'a> {
    first: u64,
    clusters: u64,
    bytes: std::borrow::Cow<'a, [u8]>,
}

/// Writes a volume of `sectors` sectors, which begins at [`START`] of `disk` and holds `files`; what is not written reads as zeros.
///
/// # Errors
/// [`Usage`]: there is no room for the files; or `disk` cannot be written.
pub fn write(disk: &mut (impl Write + Seek), sectors: u64, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let shape = Shape::of(sectors);
    let pieces = pieces(shape, files)?;
    let used: u64 = pieces.iter().map(|piece| piece.clusters).sum();
    if used > shape.clusters {
        let (needed, has) = (used * shape.cluster_bytes(), shape.clusters * shape.cluster_bytes());
        let what = format!("the files need {needed} bytes, the image has room for {has}");
        let fix = format!("say --size {}, or leave --size out", size::show(super::write::image_size(needed)));
        return Err(Usage { what, fix }.into());
    }
    let mut put = |at: u64, bytes: &[u8]| -> anyhow::Result<()> {
        disk.seek(SeekFrom::Start(START * SECTOR + at))?;
        disk.write_all(bytes).context("cannot write the image")
    };
    for copy in [0, COPY * SECTOR] {
        put(copy, &boot_sector(shape)?)?;
        put(copy + SECTOR, &information(shape, used)?)?;
    }
    let table = table(&pieces)?;
    for number in 0..TABLES {
        put((RESERVED + number * shape.table_sectors) * SECTOR, &table)?;
    }
    for piece in pieces.iter().filter(|piece| piece.clusters > 0) {
        put(shape.place(piece.first), &piece.bytes)?;
    }
    Ok(())
}

// The root comes first, then its folders, then the files: where each is follows from how long those before it are.
fn pieces(shape: Shape, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<Piece<'_>>> {
    let mut folders: BTreeMap<&str, Vec<(&str, &[u8])>> = BTreeMap::from([("", Vec::new())]);
    for (name, bytes) in files {
        let (folder, name) = name.split_once('/').unwrap_or(("", name));
        folders.entry(folder).or_default().push((name, bytes));
    }
    let inner: Vec<&str> = folders.keys().copied().filter(|folder| !folder.is_empty()).collect();
    let count = |bytes: usize| u64::try_from(bytes).map(|bytes| bytes.div_ceil(shape.cluster_bytes()));
    let mut next = FIRST_CLUSTER;
    let mut take = |clusters: u64| {
        let first = next;
        next += clusters;
        (first, clusters)
    };
    let mut places = BTreeMap::new();
    for (folder, held) in &folders {
        let inner = if folder.is_empty() { inner.as_slice() } else { &[] };
        let names = held.iter().map(|(name, _)| *name).chain(inner.iter().copied());
        places.insert(*folder, take(count(names::bytes(names))?));
    }
    let mut pieces = Vec::new();
    let mut listed: Vec<(&str, Vec<Item<'_>>)> = Vec::new();
    for (folder, held) in &folders {
        let mut items = Vec::new();
        for (name, bytes) in held {
            let (first, clusters) = take(count(bytes.len())?);
            let cluster = if clusters == 0 { 0 } else { u32::try_from(first)? };
            items.push(Item { name, cluster, bytes: u32::try_from(bytes.len())?, is_folder: false });
            pieces.push(Piece { first, clusters, bytes: (*bytes).into() });
        }
        listed.push((folder, items));
    }
    for (folder, mut items) in listed {
        let place = |folder: &str| places.get(folder).copied().unwrap_or_default();
        let (first, clusters) = place(folder);
        if folder.is_empty() {
            for name in &inner {
                items.push(Item { name, cluster: u32::try_from(place(name).0)?, bytes: 0, is_folder: true });
            }
        }
        let own = (!folder.is_empty()).then_some(u32::try_from(first)?);
        pieces.push(Piece { first, clusters, bytes: names::folder(&items, own, LABEL).into() });
    }
    pieces.sort_by_key(|piece| piece.first);
    Ok(pieces)
}

fn table(pieces: &[Piece<'_>]) -> anyhow::Result<Vec<u8>> {
    let mut entries = vec![0x0fff_fff8, END_OF_CHAIN];
    for piece in pieces {
        for number in 1..=piece.clusters {
            let next = u32::try_from(piece.first + number)?;
            entries.push(if number == piece.clusters { END_OF_CHAIN } else { next });
        }
    }
    Ok(entries.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn put(sector: &mut [u8], at: usize, bytes: &[u8]) {
    sector.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

fn boot_sector(shape: Shape) -> anyhow::Result<[u8; 512]> {
    let mut sector = [0; 512];
    let mut half = |at, value: u16| put(&mut sector, at, &value.to_le_bytes());
    half(11, u16::try_from(SECTOR)?);
    half(14, u16::try_from(RESERVED)?);
    half(24, 63); // sectors of a track and heads, of which nobody asks
    half(26, 255);
    half(48, 1); // where `information` is
    half(50, u16::try_from(COPY)?);
    half(510, 0xaa55);
    let mut word = |at, value: u32| put(&mut sector, at, &value.to_le_bytes());
    word(28, u32::try_from(START)?);
    word(32, u32::try_from(shape.sectors)?);
    word(36, u32::try_from(shape.table_sectors)?);
    word(44, u32::try_from(FIRST_CLUSTER)?);
    word(67, 0x5354_5241); // a number for the volume: the same files make the same image
    for (at, bytes) in [(0, &[0xeb, 0x58, 0x90][..]), (3, b"MSWIN4.1"), (71, LABEL), (82, b"FAT32   ")] {
        put(&mut sector, at, bytes);
    }
    for (at, byte) in
        [(13, u8::try_from(shape.per_cluster)?), (16, u8::try_from(TABLES)?), (21, 0xf8), (64, 0x80), (66, 0x29)]
    {
        put(&mut sector, at, &[byte]);
    }
    Ok(sector)
}

fn information(shape: Shape, used: u64) -> anyhow::Result<[u8; 512]> {
    let mut sector = [0; 512];
    let (free, next) = (u32::try_from(shape.clusters - used)?, u32::try_from(FIRST_CLUSTER + used)?);
    for (at, word) in [(0, 0x4161_5252), (484, 0x6141_7272), (488, free), (492, next), (508, 0xaa55_0000)] {
        put(&mut sector, at, &word.to_le_bytes());
    }
    Ok(sector)
}
