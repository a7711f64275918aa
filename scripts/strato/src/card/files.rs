//! Files of a card, wherever they are: names as FAT takes them, without regard to case. Owns the folder; `volume` is the card itself.
//! Called by `doctor` and its parts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use super::{Card, MEMORY_END};

/// Where the files of a card can be looked at.
pub trait Files {
    /// Returns the bytes of a file, or `None` if there is no such file.
    ///
    /// # Errors
    /// The folder that it is in cannot be read.
    fn size(&mut self, name: &str) -> anyhow::Result<Option<u64>>;

    /// Returns the content of a file.
    ///
    /// # Errors
    /// There is none, it is longer than the memory of a Raspberry Pi, or it cannot be read.
    fn read(&mut self, name: &str) -> anyhow::Result<Vec<u8>>;

    /// Returns the names in a folder, sorted; none if there is no such folder.
    ///
    /// # Errors
    /// It cannot be read.
    fn names(&mut self, folder: &str) -> anyhow::Result<Vec<String>>;
}

/// Returns an error for a file that is too long to be meant.
///
/// # Errors
/// It is longer than the memory of every Raspberry Pi 4.
pub fn bounded(name: &str, bytes: u64) -> anyhow::Result<()> {
    ensure!(bytes < MEMORY_END, "{name} has {bytes} bytes, more than fits in memory");
    Ok(())
}

/// A folder of this computer, such as a card that is mounted.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Returns the files of the folder at `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    // A name is looked up as a card would: start4.elf is START4.ELF.
    fn find(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let mut path = self.root.clone();
        for part in name.split('/') {
            let listed = || fs::read_dir(&path).with_context(|| format!("cannot read the folder {}", path.display()));
            let is_it = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(part);
            if path.join(part).exists() {
                path.push(part);
                continue;
            }
            if !path.is_dir() {
                return Ok(None);
            }
            let Some(entry) = listed()?.flatten().find(is_it) else { return Ok(None) };
            path = entry.path();
        }
        Ok(Some(path))
    }
}

impl Files for Folder {
    fn size(&mut self, name: &str) -> anyhow::Result<Option<u64>> {
        let Some(path) = self.find(name)? else { return Ok(None) };
        let about = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(about.is_file().then_some(about.len()))
    }

    fn read(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let Some(path) = self.find(name)? else { bail!("there is no {name}") };
        bounded(name, fs::metadata(&path)?.len())?;
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn names(&mut self, folder: &str) -> anyhow::Result<Vec<String>> {
        let Some(path) = self.find(folder)?.filter(|path| path.is_dir()) else { return Ok(Vec::new()) };
        let entries = fs::read_dir(&path).with_context(|| format!("cannot read the folder {}", path.display()))?;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }
}

impl Files for Card {
    fn size(&mut self, name: &str) -> anyhow::Result<Option<u64>> {
        let file = self.files.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(file.map(|(_, bytes)| u64::try_from(bytes.len())).transpose()?)
    }

    fn read(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.files.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(file.with_context(|| format!("there is no {name}"))?.1.clone())
    }

    fn names(&mut self, folder: &str) -> anyhow::Result<Vec<String>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Ok(self.files.keys().filter_map(|name| name.strip_prefix(&prefix)).map(String::from).collect())
    }
}
