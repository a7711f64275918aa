//! Room `serial`: a board as a machine: its console is on a serial line of this computer, its image is brought to it by a folder that it
//! boots from or by hand, and somebody, or a command, makes it start. Called by the commands.

pub mod board;
pub mod deliver;
pub mod fit;
pub mod port;

use std::path::PathBuf;
use std::time::Duration;

/// Speed of the board's console, bits a second.
pub const BAUD: u32 = 115_200;

/// Cores of the board.
pub const CORES: u8 = 4;

/// The board's name in results: `rpi4` is QEMU's.
pub const NAME: &str = "rpi4-serial";

/// How long a board may take until its first line, when a command starts it: it may boot by the network.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same, when a person carries a card.
const PATIENCE_BY_HAND: Duration = Duration::from_secs(600);

/// A board on a serial line, and how a system gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The serial line.
    pub device: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// The folder from which the board boots.
    pub deliver: Option<PathBuf>,
    /// The command that makes it start.
    pub reset_with: Option<String>,
    /// How long it may take until its first line, if not as usual.
    pub patience: Option<Duration>,
    /// Whether what is typed is for the board.
    pub is_typed: bool,
}

impl Line {
    /// Returns whether nobody is needed to start the board.
    #[must_use]
    pub fn is_unattended(&self) -> bool {
        self.reset_with.is_some()
    }

    /// Returns how long the board may take until its first line.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let usual = if self.is_unattended() { PATIENCE } else { PATIENCE_BY_HAND };
        self.patience.unwrap_or(usual)
    }
}
