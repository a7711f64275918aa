//! The entries of a FAT folder: each file by its long name and by a short one. Called by `fat`.

const ENTRY: usize = 32;
const PER_ENTRY: usize = 13;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const VOLUME: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
// The first day that can be told: the same files make the same image.
const DAY: [u8; 2] = 0x0021_u16.to_le_bytes();

/// What a folder holds.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its first cluster, 0 if it has none.
    pub cluster: u32,
    /// Its bytes, 0 for a folder.
    pub bytes: u32,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Returns the bytes of a folder that holds `names`, with two entries for itself.
pub fn bytes<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let entries: usize = names.map(|name| name.encode_utf16().count().div_ceil(PER_ENTRY) + 1).sum();
    (entries + 2) * ENTRY
}

/// Returns the bytes of a folder of the root whose first cluster is `own`, or of the root itself, which has the label.
#[must_use]
pub fn folder(items: &[Item<'_>], own: Option<u32>, label: &[u8; 11]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match own {
        None => bytes.extend(entry(label, VOLUME, 0, 0)),
        Some(own) => {
            bytes.extend(entry(b".          ", FOLDER, own, 0));
            bytes.extend(entry(b"..         ", FOLDER, 0, 0));
        }
    }
    for (number, item) in items.iter().enumerate() {
        let short = short(item.name, number + 1);
        bytes.extend(long(item.name, &short));
        bytes.extend(entry(&short, if item.is_folder { FOLDER } else { ARCHIVE }, item.cluster, item.bytes));
    }
    bytes
}

fn entry(name: &[u8; 11], attributes: u8, cluster: u32, bytes: u32) -> Vec<u8> {
    let [c0, c1, c2, c3] = cluster.to_le_bytes();
    let [day0, day1] = DAY;
    let mut entry = name.to_vec();
    entry.extend([attributes, 0, 0, 0, 0, day0, day1, day0, day1, c2, c3, 0, 0, day0, day1, c0, c1]);
    entry.extend(bytes.to_le_bytes());
    entry
}

/// Returns the entries of a long name: its last part first, each with the checksum of the short name behind them.
fn long(name: &str, short: &[u8; 11]) -> Vec<u8> {
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut entries = Vec::new();
    let parts: Vec<&[u16]> = units.chunks(PER_ENTRY).collect();
    for (index, part) in parts.iter().enumerate().rev() {
        // A name that ends within an entry ends with a zero, and what is behind it is all ones.
        let mut units = part.to_vec();
        if units.len() < PER_ENTRY {
            units.push(0);
        }
        units.resize(PER_ENTRY, 0xffff);
        let mut places = units.into_iter().flat_map(u16::to_le_bytes);
        let last = if index + 1 == parts.len() { 0x40 } else { 0 };
        entries.push(u8::try_from(index + 1).unwrap_or(u8::MAX) | last);
        entries.extend(places.by_ref().take(10));
        entries.extend([LONG_NAME, 0, sum]);
        entries.extend(places.by_ref().take(12));
        entries.extend([0, 0]);
        entries.extend(places);
    }
    entries
}

/// Returns the short name of the `number`th file of its folder: its own where that is short, else one with the number.
fn short(name: &str, number: usize) -> [u8; 11] {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let kept =
        |part: &str| part.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect();
    let is_short = (1..=8).contains(&stem.len()) && extension.len() <= 3 && is_plain(stem) && is_plain(extension);
    let stem: Vec<u8> = if is_short {
        stem.to_ascii_uppercase().into_bytes()
    } else {
        let kept: Vec<u8> = kept(stem);
        let tail = format!("~{number}").into_bytes();
        kept.into_iter().take(8_usize.saturating_sub(tail.len())).chain(tail).collect()
    };
    let extension: Vec<u8> = if is_short { extension.to_ascii_uppercase().into_bytes() } else { kept(extension) };
    let mut short = *b"           ";
    short.iter_mut().take(8).zip(stem).for_each(|(to, from)| *to = from);
    short.iter_mut().skip(8).zip(extension).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_the_own_ones_where_they_fit() {
        assert_eq!(&short("start4.elf", 1), b"START4  ELF");
        assert_eq!(&short("overlays", 1), b"OVERLAYS   ");
        assert_eq!(&short("bcm2711-rpi-4-b.dtb", 2), b"BCM271~2DTB");
        assert_eq!(&short("LICENCE.broadcom", 12), b"LICEN~12BRO");
        assert_eq!(&short("a.b.c", 3), b"AB~3    C  ");
    }

    #[test]
    fn a_folder_is_as_long_as_was_said() {
        let names = ["start4.elf", "bcm2711-rpi-4-b.dtb", "thirteen-long"];
        let items = names.map(|name| Item { name, cluster: 7, bytes: 9, is_folder: false });
        let whole = bytes(names.into_iter());
        assert_eq!(folder(&items, Some(3), b"STRATO     ").len(), whole);
        assert_eq!(folder(&items, None, b"STRATO     ").len(), whole - ENTRY);
    }
}
