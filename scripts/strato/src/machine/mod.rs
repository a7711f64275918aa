//! Room `machine`: what each run has, whatever it runs on: a console whose bytes become lines, a time limit, and an end.
//! Two rooms have machines: `qemu` (a process) and `serial` (a board). Called by the commands. Never judges a line.

pub mod console;
pub mod lines;
pub mod session;
pub mod signals;

use std::io;
use std::time::Duration;

use self::console::Console;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine powered off; what QEMU itself had to say.
    PoweredOff {
        /// QEMU's own messages.
        messages: String,
    },
    /// QEMU failed: its messages say why.
    Failed {
        /// QEMU's own messages.
        messages: String,
    },
    /// QEMU itself crashed.
    Crashed {
        /// The signal that ended it.
        signal: i32,
        /// QEMU's own messages.
        messages: String,
    },
    /// It printed the line that ends such a run.
    Told,
    /// The time limit was reached.
    TimedOut,
    /// It printed more than a transcript may hold.
    TooLong,
    /// The user or the system asked the tool to end.
    Interrupted,
    /// A board's run did not begin.
    Silent {
        /// Seconds that were waited.
        seconds: u64,
        /// The last that was heard, if anything was.
        last: Option<String>,
    },
    /// A board's serial line went away.
    Lost {
        /// What the system says of it.
        why: String,
    },
    /// A board began a second time.
    BeganAgain,
}

/// How the run of a machine begins that may say something before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// What its first line begins with.
    pub text: &'static str,
    /// How long it may take until then.
    pub patience: Duration,
}

/// Why nothing more is heard of a run.
#[derive(Debug)]
pub enum Cause {
    /// The console was closed, by this error if there was one.
    Closed(Option<io::Error>),
    /// [`Machine::is_last`] said so.
    Last,
    /// The machine goes on; this will be the end.
    Early(End),
}

/// What runs an image.
pub trait Machine {
    /// Returns what it prints.
    fn console(&self) -> &Console;

    /// Returns how its run begins; without that, with the first byte.
    fn beginning(&self) -> Option<Beginning> {
        None
    }

    /// Looks after it, several times a second. Returns whether somebody is still about to start it: until then its run may begin
    /// more than once.
    ///
    /// # Errors
    /// It cannot be started.
    fn tend(&mut self) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Takes notice of a line of the run, and returns whether it is the last.
    fn is_last(&mut self, _line: &str) -> bool {
        false
    }

    /// Returns how the run ended, and lets go of the machine.
    ///
    /// # Errors
    /// It cannot be told how it ended.
    fn end(&mut self, cause: Cause) -> anyhow::Result<End>;
}
