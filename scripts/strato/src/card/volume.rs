//! Reads a FAT32 volume, however damaged: every chain is followed as far as there are clusters, and no further. Called by `doctor`.
//! Shares no line with `fat`, which writes one, so that what that writes is not judged by itself.
//! Source: Microsoft, "FAT: General Overview of On-Disk Format" 1.03.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, bail, ensure};

use super::Finding;
use super::files::{Files, bounded};
use super::table::{self, Partition};

const ENTRY: usize = 32;
const DIRECTORY: u8 = 0x10;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
const FREE: u8 = 0xe5;
/// Fewer clusters make a FAT16, more a FAT32: nothing else decides.
const FAT32_MIN: u64 = 65_525;
const FAT16_MIN: u64 = 4_085;
// A folder is no longer by the rules; a damaged one is not read to the end of the card.
const FOLDER_MAX: usize = 2 << 20;

/// A FAT32 volume on something that can be read.
#[derive(Debug)]
pub struct Volume<D> {
    disk: D,
    shape: Shape,
}

/// Where everything is, in bytes of the disk, and how much there is.
#[derive(Clone, Copy, Debug)]
struct Shape {
    table: u64,
    data: u64,
    cluster_bytes: u64,
    clusters: u64,
    root: u64,
}

/// A name in a folder.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    is_folder: bool,
    cluster: u64,
    bytes: u64,
}

/// Returns the volume that a card called `name` boots from, if it can be read, and what is wrong with how it is laid out.
///
/// # Errors
/// The card itself cannot be read.
pub fn open<D: Read + Seek>(mut disk: D, name: &str) -> anyhow::Result<(Option<Volume<D>>, Vec<Finding>)> {
    let bytes = disk.seek(SeekFrom::End(0)).with_context(|| format!("cannot read {name}"))?;
    let first = at(&mut disk, 0, 512.min(bytes)).with_context(|| format!("cannot read {name}"))?;
    let (partition, mut findings) = table::read(&first, name, bytes);
    let Some(partition) = partition else { return Ok((None, findings)) };
    let shape = at(&mut disk, partition.start, 512).map(|sector| shape(&sector, partition));
    let volume = shape.unwrap_or_else(|_| Err("its first sector cannot be read".into())).and_then(|shape| {
        let mut volume = Volume { disk, shape };
        volume.folder(shape.root).map_err(|error| format!("{error:#}"))?;
        Ok(volume)
    });
    match volume {
        Ok(volume) => Ok((Some(volume), findings)),
        Err(what) => {
            let fix = "write the card again with `cargo strato sd`, or format the partition with `mkfs.fat -F 32`; \
                       the files on it were not looked at";
            findings.push(Finding::error(format!("{name}, byte {:#x}", partition.start), what, "a FAT32 volume", fix));
            Ok((None, findings))
        }
    }
}

fn at(disk: &mut (impl Read + Seek), start: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
    disk.seek(SeekFrom::Start(start))?;
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or_default()];
    disk.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn half(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 2).and_then(|half| half.try_into().ok()).map_or(0, |half| u64::from(u16::from_le_bytes(half)))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    half(bytes, at) | half(bytes, at + 2) << 16
}

fn shape(sector: &[u8], partition: Partition) -> Result<Shape, String> {
    let byte = |at: usize| sector.get(at).map_or(0, |byte| u64::from(*byte));
    if half(sector, 510) != 0xaa55 {
        return Err("the partition holds no file system: its first sector has no signature".into());
    }
    let (sector_bytes, per_cluster, reserved, tables) = (half(sector, 11), byte(13), half(sector, 14), byte(16));
    let either = |short: u64, long: u64| if short == 0 { long } else { short };
    let table_sectors = either(half(sector, 22), word(sector, 36));
    let sectors = either(half(sector, 19), word(sector, 32));
    let is_size = |bytes: u64| bytes.is_power_of_two() && (512..=4096).contains(&bytes);
    if !is_size(sector_bytes) || !per_cluster.is_power_of_two() || reserved == 0 || tables == 0 || table_sectors == 0 {
        return Err("the partition holds no FAT file system, or its first sector is damaged".into());
    }
    let root_sectors = (half(sector, 17) * 32).div_ceil(sector_bytes);
    let before = reserved + tables * table_sectors + root_sectors;
    let clusters = sectors.saturating_sub(before) / per_cluster;
    if clusters < FAT16_MIN {
        return Err(format!("the file system is FAT12: it has {clusters} clusters"));
    }
    if clusters < FAT32_MIN {
        return Err(format!("the file system is FAT16: it has {clusters} clusters, fewer than {FAT32_MIN}"));
    }
    if half(sector, 17) != 0 || half(sector, 22) != 0 || table_sectors * sector_bytes / 4 < clusters + 2 {
        return Err("the first sector of the file system contradicts itself".into());
    }
    if sectors * sector_bytes > partition.bytes {
        let (has, needs) = (partition.bytes, sectors * sector_bytes);
        return Err(format!("the file system has {needs} bytes, its partition {has}"));
    }
    let (start, root) = (partition.start, word(sector, 44));
    let (table, data) = (start + reserved * sector_bytes, start + before * sector_bytes);
    Ok(Shape { table, data, cluster_bytes: per_cluster * sector_bytes, clusters, root })
}

impl<D: Read + Seek> Volume<D> {
    /// Returns up to `bytes` bytes of the chain that begins at `cluster`.
    fn chain(&mut self, mut cluster: u64, bytes: u64) -> anyhow::Result<Vec<u8>> {
        let Shape { table, data, cluster_bytes, clusters, .. } = self.shape;
        let mut content = Vec::new();
        for _ in 0..clusters.min(bytes.div_ceil(cluster_bytes)) {
            ensure!((2..clusters + 2).contains(&cluster), "it leads to cluster {cluster:#x}, which is none");
            content.extend(at(&mut self.disk, data + (cluster - 2) * cluster_bytes, cluster_bytes)?);
            let next = word(&at(&mut self.disk, table + cluster * 4, 4)?, 0) & 0x0fff_ffff;
            if next >= 0x0fff_fff8 {
                break;
            }
            cluster = next;
        }
        content.truncate(usize::try_from(bytes)?);
        Ok(content)
    }

    fn folder(&mut self, cluster: u64) -> anyhow::Result<Vec<Entry>> {
        let bytes = self.chain(cluster, u64::try_from(FOLDER_MAX)?).context("a folder cannot be read")?;
        Ok(entries(&bytes))
    }

    fn find(&mut self, name: &str) -> anyhow::Result<Option<Entry>> {
        let root = Entry { name: String::new(), is_folder: true, cluster: self.shape.root, bytes: 0 };
        let mut found = root;
        for part in name.split('/').filter(|part| !part.is_empty()) {
            if !found.is_folder {
                return Ok(None);
            }
            let entries = self.folder(found.cluster)?;
            let Some(entry) = entries.into_iter().find(|entry| entry.name.eq_ignore_ascii_case(part)) else {
                return Ok(None);
            };
            found = entry;
        }
        Ok(Some(found))
    }
}

impl<D: Read + Seek> Files for Volume<D> {
    fn size(&mut self, name: &str) -> anyhow::Result<Option<u64>> {
        Ok(self.find(name)?.filter(|entry| !entry.is_folder).map(|entry| entry.bytes))
    }

    fn read(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let Some(entry) = self.find(name)?.filter(|entry| !entry.is_folder) else { bail!("there is no {name}") };
        bounded(name, entry.bytes)?;
        let content = self.chain(entry.cluster, entry.bytes).with_context(|| format!("{name} cannot be read"))?;
        let found = u64::try_from(content.len())?;
        ensure!(found == entry.bytes, "{name} is torn: {found} bytes are there, of {}", entry.bytes);
        Ok(content)
    }

    fn names(&mut self, folder: &str) -> anyhow::Result<Vec<String>> {
        let Some(entry) = self.find(folder)?.filter(|entry| entry.is_folder) else { return Ok(Vec::new()) };
        let mut names: Vec<String> = self.folder(entry.cluster)?.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }
}

fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut long: Vec<u16> = Vec::new();
    for entry in bytes.chunks_exact(ENTRY) {
        let byte = |at: usize| entry.get(at).copied().unwrap_or_default();
        if byte(0) == 0 {
            break;
        }
        if byte(0) != FREE && byte(11) == LONG_NAME {
            // The parts of a long name stand before its entry, the last one first.
            let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
            let part = places.map(|at| u16::from_le_bytes([byte(at), byte(at + 1)]));
            long = part.chain(std::mem::take(&mut long)).collect();
            continue;
        }
        let unused = std::mem::take(&mut long);
        if byte(0) == FREE || byte(11) & LABEL != 0 {
            continue;
        }
        let name: Vec<u16> = unused.into_iter().take_while(|unit| *unit != 0).collect();
        let name = if name.is_empty() { short(entry) } else { String::from_utf16_lossy(&name) };
        let cluster = half(entry, 26) | (half(entry, 20) << 16);
        entries.push(Entry { name, is_folder: byte(11) & DIRECTORY != 0, cluster, bytes: word(entry, 28) });
    }
    entries.retain(|entry| entry.name != "." && entry.name != "..");
    entries
}

fn short(entry: &[u8]) -> String {
    let text = |part: &[u8]| String::from_utf8_lossy(part).trim_end().to_owned();
    let (name, extension) = (text(entry.get(..8).unwrap_or_default()), text(entry.get(8..11).unwrap_or_default()));
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}
