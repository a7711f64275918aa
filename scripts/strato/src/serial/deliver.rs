//! Where the board finds its image: a folder that it boots from, or a file that is handed on. Called by `board`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use crate::card::{CONFIG, KERNEL};
use crate::exit::Usage;

/// An image as a file called `kernel8.img`.
#[derive(Debug)]
pub struct Delivered {
    path: PathBuf,
    /// The folder of a file that nobody wants when the run is over.
    scratch: Option<PathBuf>,
}

impl Delivered {
    /// Writes `image` into `folder`, or into a new one of the temporary folder.
    ///
    /// # Errors
    /// [`Usage`]: no board boots from that folder. Or it cannot be written.
    pub fn new(image: &[u8], folder: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(folder) = folder {
            check(folder)?;
            return Ok(Self { path: write(folder, image)?, scratch: None });
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the number only has to differ from the others.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("strato-{}-board-{number}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { path: write(&folder, image)?, scratch: Some(folder) })
    }

    /// Returns where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        // Nothing is lost when a file in the temporary folder stays.
        let _ = self.scratch.as_ref().map(fs::remove_dir_all);
    }
}

/// Looks whether a board boots from `folder`.
///
/// # Errors
/// [`Usage`]: it does not.
pub fn check(folder: &Path) -> Result<(), Usage> {
    let place = folder.display();
    let make = format!("make it once by `cargo strato sd --board rpi4 --firmware DIR -o {place}`");
    if !folder.is_dir() {
        return Err(Usage { what: format!("there is no folder {place} to deliver to"), fix: make });
    }
    if !folder.join(CONFIG).is_file() {
        return Err(Usage { what: format!("no board boots from {place}: it has no {CONFIG}"), fix: make });
    }
    Ok(())
}

// Who fetches the file meanwhile gets the old one or the new one, and it is on the card before it is taken out.
fn write(folder: &Path, image: &[u8]) -> anyhow::Result<PathBuf> {
    let (new, path) = (folder.join("kernel8.new"), folder.join(KERNEL));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(image)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // What a file system without this gives is no error: the file itself is there.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_the_image_and_keeps_it_and_without_one_it_is_gone_afterwards() {
        let folder = std::env::temp_dir().join(format!("strato-{}-tftp", std::process::id()));
        let said = |folder: &Path| Delivered::new(b"new", Some(folder)).unwrap_err().to_string();
        assert!(
            said(&folder).starts_with("there is no folder /")
                && said(&folder).contains("\nhelp: make it once by `cargo")
        );
        fs::create_dir(&folder).unwrap();
        assert!(said(&folder).contains(": it has no config.txt\nhelp: make it once"), "{}", said(&folder));
        fs::write(folder.join(CONFIG), "").unwrap();
        fs::write(folder.join(KERNEL), "old").unwrap();
        let path = Delivered::new(b"new", Some(&folder)).unwrap().path().to_owned();
        assert_eq!((fs::read(&path).unwrap(), path), (b"new".to_vec(), folder.join(KERNEL)));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "no other file stays");
        fs::remove_dir_all(folder).unwrap();

        let delivered = Delivered::new(b"new", None).unwrap();
        let path = delivered.path().to_owned();
        assert!(path.ends_with(KERNEL) && path.is_file());
        drop(delivered);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }
}
