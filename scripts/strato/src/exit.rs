//! What the tool's exit status means, and the errors that choose it. Used by every room; `main` turns them into a status.

use std::fmt;
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

/// Returns the status of an error.
#[must_use]
pub fn status(error: &anyhow::Error) -> u8 {
    if error.is::<Missing>() {
        MISSING
    } else if error.is::<Refused>() || error.is::<Usage>() {
        USAGE
    } else {
        FAILED
    }
}

/// Prints an error and returns its exit code.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Refused>() {
        Some(refused) => anstream::eprintln!("{}", refused.render(true)),
        None => anstream::eprintln!("{ERROR}error:{ERROR:#} {error:#}"),
    }
    ExitCode::from(status(error))
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
