//! Room `card`: the files that a Raspberry Pi 4 boots from, on a card, in a folder or in memory. Owns what they are called, what they
//! have to be like, and how they become a card. Called by `commands::card`. Never fetches firmware, and changes none.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;

pub mod config;
pub mod doctor;
pub mod fat;
pub mod files;
pub mod firmware;
pub mod kernel;
pub mod names;
pub mod settings;
pub mod table;
pub mod volume;
pub mod write;

pub use files::{Files, Folder};

/// What the firmware starts.
pub const KERNEL: &str = "kernel8.img";
/// What the firmware does, line by line.
pub const CONFIG: &str = "config.txt";
/// The firmware's program.
pub const START: &str = "start4.elf";
/// What the firmware's program is adjusted with to the memory of the board.
pub const FIXUP: &str = "fixup4.dat";
/// The board's device tree.
pub const TREE: &str = "bcm2711-rpi-4-b.dtb";
/// The firmware's license.
pub const LICENSE: &str = "LICENCE.broadcom";
/// The folder of parts of device trees that config.txt may name.
pub const OVERLAYS: &str = "overlays";
/// Where the packed image is loaded, by its header and by config.txt.
pub const LOAD_ADDRESS: u64 = 0x8_0000;
/// Where the memory ends that every model has for the cores; the VideoCore's begins there.
pub const MEMORY_END: u64 = 0x3b40_0000;

/// Whether what is wrong keeps the card from booting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It boots, perhaps otherwise than meant.
    Warning,
    /// It does not boot, or nobody sees it.
    Error,
}

/// One thing that is wrong with a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// File of the card, with its line or byte.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    /// Returns a finding that keeps the card from booting.
    #[must_use]
    pub fn error(
        place: impl Into<String>,
        what: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (place, what, expected, fix) = (place.into(), what.into(), expected.into(), fix.into());
        Self { level: Level::Error, place, what, expected, fix }
    }

    /// Returns the same as a finding that does not.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { level: Level::Warning, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.level == Level::Error { "error" } else { "warning" };
        writeln!(f, "{level}: {}", self.what)?;
        writeln!(f, " --> {}", self.place)?;
        writeln!(f, "  = expected: {}", self.expected)?;
        write!(f, "  = help: {}", self.fix)
    }
}

/// A card in the making: its files by name, folders with a `/`.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The files.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Card {
    /// Returns the card of a packed image, with the firmware of a folder, copied as it is.
    ///
    /// # Errors
    /// A file of the folder cannot be read. That one is missing is not an error here: [`doctor::examine`] says it.
    pub fn of(image: Vec<u8>, firmware: &mut dyn Files) -> anyhow::Result<Self> {
        let has_mini_uart = kernel::check(KERNEL, &image).is_ok_and(|packed| packed.has_mini_uart);
        let config = settings::text(has_mini_uart).into_bytes();
        let mut files = BTreeMap::from([(KERNEL.into(), image), (CONFIG.into(), config)]);
        let overlays = firmware.names(OVERLAYS)?.into_iter().filter(|name| name.to_lowercase().ends_with(".dtbo"));
        let overlays = overlays.map(|name| format!("{OVERLAYS}/{name}"));
        for name in [START, FIXUP, TREE, LICENSE].map(String::from).into_iter().chain(overlays) {
            if firmware.size(&name)?.is_some() {
                let bytes = firmware.read(&name).with_context(|| format!("cannot read {name} of the firmware"))?;
                files.insert(name, bytes);
            }
        }
        Ok(Self { files })
    }
}
