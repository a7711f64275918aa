//! What the tool's exit status means, the errors that choose it, and what is said on the way there. Used by every room;
//! `main` turns errors into a status.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::system::Refused;

/// Everything ended as expected.
pub const PASSED: u8 = 0;
/// A guest, a test, a check or a build failed.
pub const FAILED: u8 = 1;
/// The command line or a system file is wrong.
pub const USAGE: u8 = 2;
/// Something that has to be installed is missing (`EX_UNAVAILABLE`).
pub const MISSING: u8 = 69;
/// A run reached its time limit (as `timeout(1)` says it).
pub const TIMED_OUT: u8 = 124;
/// The user or the system asked the tool to end (as a shell says it of SIGINT).
pub const INTERRUPTED: u8 = 130;
/// Nobody read the output to its end (as a shell says it of SIGPIPE).
pub const UNREAD: u8 = 141;

/// Something that the tool needs is not installed, or too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// The command that installs it, or what else to do.
    pub fix: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhelp: {}", self.what, self.fix)
    }
}

impl std::error::Error for Missing {}

/// What the user asked for does not exist or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhelp: {}", self.what, self.fix)
    }
}

impl std::error::Error for Usage {}

/// Nobody reads the output any more, as behind `| head`: no mistake, and nothing that is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for Unread {}

/// Writes a line to the output. `println!` would panic when nobody reads it.
///
/// # Errors
/// [`Unread`], or what else writing fails with.
pub fn say(line: impl fmt::Display) -> anyhow::Result<()> {
    written(writeln!(io::stdout(), "{line}"))
}

/// Writes a line to the output, without its colors where they would be letters.
///
/// # Errors
/// As [`say`].
pub fn say_in_color(line: impl fmt::Display) -> anyhow::Result<()> {
    written(writeln!(anstream::stdout(), "{line}"))
}

fn written(result: io::Result<()>) -> anyhow::Result<()> {
    result.map_err(|error| if error.kind() == ErrorKind::BrokenPipe { Unread.into() } else { error.into() })
}

/// Returns the status of an error.
#[must_use]
pub fn status(error: &anyhow::Error) -> u8 {
    if error.is::<Missing>() {
        MISSING
    } else if error.is::<Refused>() || error.is::<Usage>() {
        USAGE
    } else if error.is::<Unread>() {
        UNREAD
    } else {
        FAILED
    }
}

/// Prints an error and returns its exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Refused>() {
        Some(refused) => anstream::eprintln!("{}", refused.render(true)),
        None if error.is::<Unread>() => {}
        None => anstream::eprintln!("{ERROR}error:{ERROR:#} {error:#}"),
    }
    ExitCode::from(status(error))
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
