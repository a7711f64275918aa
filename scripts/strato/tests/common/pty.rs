//! A pseudo-terminal in place of a serial line: the tool opens its path, and the test is at the other end.

use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// A line with two ends.
pub(crate) struct Pty {
    /// The end of the board.
    pub(crate) board: File,
    /// The end of the tool.
    pub(crate) path: PathBuf,
    /// Keeps the line up while nobody else has that end.
    pub(crate) kept: File,
}

/// Returns a line that hands every byte on as it is.
pub(crate) fn pty() -> Pty {
    let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&board, Vec::new()).unwrap().into_bytes()));
    let kept = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut modes = tcgetattr(&kept).unwrap();
    modes.make_raw();
    tcsetattr(&kept, OptionalActions::Now, &modes).unwrap();
    Pty { board: board.into(), path, kept }
}
