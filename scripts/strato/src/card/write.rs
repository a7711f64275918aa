//! Writes a card: into a folder, or as an image of a whole card that any writing program copies. Needs no root: the image is a file.
//! Called by `commands::card`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::table::{self, SECTOR, START};
use super::{Card, fat};
use crate::exit::Usage;
use crate::system::size;

/// The least image: fewer clusters would make a FAT16.
pub const IMAGE_MIN: u64 = 34 << 20;
/// The most that this tool writes; a card may be bigger.
pub const IMAGE_MAX: u64 = 32 << 30;
const IMAGE_DEFAULT: u64 = 64 << 20;

/// Returns the size of an image for `bytes` bytes of files: a power of two, as the cards that QEMU plays have to be.
#[must_use]
pub fn image_size(bytes: u64) -> u64 {
    (bytes + bytes / 8 + (4 << 20)).next_power_of_two().max(IMAGE_DEFAULT)
}

/// Writes the files of `card` into a folder, which is made if there is none. Others that are in it stay.
///
/// # Errors
/// [`Usage`]: some are there and `is_forced` is not said; or what else writing fails with.
pub fn folder(card: &Card, folder: &Path, is_forced: bool) -> anyhow::Result<()> {
    let there: Vec<&str> = card.files.keys().map(String::as_str).filter(|name| folder.join(name).exists()).collect();
    if !there.is_empty() && !is_forced {
        let shown = there.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        return Err(exists(&format!("{} has {shown}", folder.display())).into());
    }
    for (name, bytes) in &card.files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn exists(what: &str) -> Usage {
    Usage { what: what.to_owned(), fix: "name another place with -o, or say --force to write over it".into() }
}

/// Refuses an image that cannot be written whatever is on it. Asked before anything is built, and again by [`image`].
///
/// # Errors
/// [`Usage`]: the file is there and `is_forced` is not said, it is a device, or an image cannot have `bytes` bytes.
pub fn refuse(path: &Path, bytes: u64, is_forced: bool) -> Result<(), Usage> {
    if path.exists() && !path.is_file() {
        let fix = "write a file, and copy that to the card: `sudo dd if=card.img of=/dev/sdX bs=4M conv=fsync`".into();
        return Err(Usage { what: format!("{} is no file", path.display()), fix });
    }
    if path.exists() && !is_forced {
        return Err(exists(&format!("{} is there", path.display())));
    }
    if !(IMAGE_MIN..=IMAGE_MAX).contains(&bytes) || !bytes.is_multiple_of(1 << 20) {
        let what = format!("an image cannot have {}", size::show(bytes));
        let fix = format!("say a --size of whole MiB from {} to {}", size::show(IMAGE_MIN), size::show(IMAGE_MAX));
        return Err(Usage { what, fix });
    }
    Ok(())
}

/// Writes an image of a card of `bytes` bytes, with one FAT32 partition that has the files of `card`.
///
/// # Errors
/// [`Usage`]: as [`refuse`], or `bytes` is too little; or what else writing fails with. The file is left as it was then.
pub fn image(card: &Card, path: &Path, bytes: u64, is_forced: bool) -> anyhow::Result<()> {
    refuse(path, bytes, is_forced)?;
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = whole(card, &part, bytes)
        .and_then(|()| fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display())));
    if written.is_err() {
        // Nothing is lost when the part stays.
        let _ = fs::remove_file(&part);
    }
    written
}

fn whole(card: &Card, path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    // What is not written reads as zeros, and takes no room on most disks.
    file.set_len(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let sectors = bytes / SECTOR - START;
    file.write_all(&table::write(u32::try_from(sectors)?)).context("cannot write the image")?;
    fat::write(&mut file, sectors, &card.files)?;
    Ok(())
}

/// Returns whether a name stands for an image rather than for a folder. What is there and is neither, such as a card's device, counts as one:
/// [`image`] says what to do with it.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    (path.exists() && !path.is_dir()) || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("img"))
}

/// Returns how many bytes the files of a card have.
#[must_use]
pub fn bytes(card: &Card) -> u64 {
    card.files.values().map(|file| u64::try_from(file.len()).unwrap_or(u64::MAX)).sum()
}
