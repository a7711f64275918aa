//! The partition table of a card: one sector, one partition. Owns both directions. Called by `write` and `volume`.

use super::Finding;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// First sector of the partition: 1 MiB, the unit in which cards erase.
pub const START: u64 = 2048;
/// Type of a partition with FAT32, addressed by sector numbers.
pub const FAT32: u8 = 0x0c;

const ENTRIES: usize = 0x1be;
const ENTRY_LEN: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// First byte on the card.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Returns the first sector of a card whose one partition has `sectors` sectors.
#[must_use]
pub fn write(sectors: u32) -> [u8; 512] {
    let mut table = [0; 512];
    // Cylinders, heads and sectors cannot say where it is: the values for "look at the sector numbers".
    let [s0, s1, s2, s3] = u32::try_from(START).unwrap_or_default().to_le_bytes();
    let [n0, n1, n2, n3] = sectors.to_le_bytes();
    let entry = [0, 0xfe, 0xff, 0xff, FAT32, 0xfe, 0xff, 0xff, s0, s1, s2, s3, n0, n1, n2, n3];
    table.iter_mut().skip(ENTRIES).zip(entry).for_each(|(to, from)| *to = from);
    table.iter_mut().skip(510).zip(SIGNATURE).for_each(|(to, from)| *to = from);
    table
}

/// Returns the partition that the firmware boots from, if there is any, and what is wrong with the table of a card called `name` of
/// `card_bytes` bytes.
#[must_use]
pub fn read(sector: &[u8], name: &str, card_bytes: u64) -> (Option<Partition>, Vec<Finding>) {
    let fix = "write the card again with `cargo strato sd -o card.img`, and copy that to the whole card";
    let error = |what: String, expected: &str| Finding::error(format!("{name}, sector 0"), what, expected, fix);
    let expected = "a partition table with a FAT32 partition, type 0x0c";
    if sector.get(510..512) != Some(&SIGNATURE) {
        return (None, vec![error(format!("{name} has no partition table"), expected)]);
    }
    if has_volume(sector) {
        let finding =
            error(format!("{name} has no partition table: a FAT volume begins at its first sector"), expected);
        return (Some(Partition { start: 0, bytes: card_bytes }), vec![finding]);
    }
    let entries = sector.get(ENTRIES..510).unwrap_or_default().chunks_exact(ENTRY_LEN).filter_map(entry);
    let entries: Vec<(u8, Partition)> = entries.collect();
    let is_fat = |kind: u8| [0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e].contains(&kind);
    let Some((kind, partition)) = entries.iter().find(|(kind, _)| is_fat(*kind)).or(entries.first()) else {
        return (None, vec![error(format!("the partition table of {name} is empty"), expected)]);
    };
    let mut findings = Vec::new();
    if ![0x0b, FAT32].contains(kind) {
        findings.push(error(format!("the partition has type {kind:#04x}{}", known(*kind)), expected));
    }
    let end = partition.start.saturating_add(partition.bytes);
    if end > card_bytes {
        let what = format!("the partition ends at byte {end}, and {name} at byte {card_bytes}: it is cut short");
        findings.push(error(what, "a partition that lies on the card"));
    }
    (Some(*partition), findings)
}

fn entry(bytes: &[u8]) -> Option<(u8, Partition)> {
    let kind = *bytes.get(4)?;
    let word = |at: usize| Some(u64::from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)));
    let partition = Partition { start: word(8)? * SECTOR, bytes: word(12)? * SECTOR };
    (kind != 0 && partition.start != 0 && partition.bytes != 0).then_some((kind, partition))
}

// A boot sector of FAT has its name at one of two places, by its version.
fn has_volume(sector: &[u8]) -> bool {
    let is_at = |at: usize, name: &[u8]| sector.get(at..at + name.len()) == Some(name);
    is_at(0x52, b"FAT32") || is_at(0x36, b"FAT1")
}

fn known(kind: u8) -> &'static str {
    match kind {
        0x01 => ", FAT12",
        0x04 | 0x06 | 0x0e => ", FAT16",
        0x07 => ", NTFS or exFAT",
        0x82 => ", Linux swap",
        0x83 => ", Linux",
        0xee => ", which stands for a GPT",
        0xef => ", EFI system",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (partition, findings) = read(&write(100_000), "card.img", 1 << 30);
        assert_eq!(partition, Some(Partition { start: 1 << 20, bytes: 51_200_000 }));
        assert_eq!(findings, []);
    }

    #[test]
    fn a_sector_of_anything_is_no_reason_to_fail() {
        for fill in 0..=255 {
            let mut sector = [fill; 512];
            sector[510..].copy_from_slice(&SIGNATURE);
            let _ = read(&sector, "card.img", u64::MAX);
        }
        assert_eq!(read(&[], "card.img", 0).1.len(), 1);
    }
}
