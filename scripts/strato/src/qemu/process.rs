//! QEMU as a machine: the process, its messages, and how it ends; it never outlives the run. Called by the commands.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::monitor::Monitor;
use crate::machine::console::Console;
use crate::machine::{Cause, End, Machine};

/// How long a machine that was told to end may take for it.
const PARTING: Duration = Duration::from_secs(10);

/// A QEMU that runs; ended with the value.
#[derive(Debug)]
pub struct Process<'m> {
    child: Child,
    console: Console,
    messages: Option<JoinHandle<String>>,
    monitor: Option<&'m Monitor>,
}

impl<'m> Process<'m> {
    /// Starts `command`, whose monitor this is, if it has one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, monitor: Option<&'m Monitor>) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let mut errors = child.stderr.take().context("QEMU has no error output")?;
        let messages = thread::spawn(move || {
            let mut text = Vec::new();
            // What cannot be read is not shown; the status still tells.
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        Ok(Self { child, console: Console::of(output), messages: Some(messages), monitor })
    }

    /// Waits until it has ended, at most `limit`.
    fn wait_for(&mut self, limit: Duration) {
        let started = Instant::now();
        while started.elapsed() < limit && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Machine for Process<'_> {
    fn console(&self) -> &Console {
        &self.console
    }

    fn end(&mut self, cause: Cause) -> anyhow::Result<End> {
        if let Cause::Early(end) = cause {
            if self.monitor.is_some_and(Monitor::end_now) {
                self.wait_for(PARTING);
            }
            return Ok(end);
        }
        // The output is closed, so the process ends at once.
        let status = self.child.wait().context("cannot wait for QEMU")?;
        let messages = self.messages.take().and_then(|messages| messages.join().ok()).unwrap_or_default();
        Ok(match status.signal() {
            Some(signal) => End::Crashed { signal, messages },
            None if status.success() => End::PoweredOff { messages },
            None => End::Failed { messages },
        })
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::session::{self, Heard};
    use std::ops::ControlFlow;

    fn sh(script: &str, limit_ms: u64) -> (End, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let mut lines = Vec::new();
        let mut process = Process::start(command, None).unwrap();
        let end = session::run(&mut process, Duration::from_millis(limit_ms), |heard| {
            let Heard::Line(line) = heard else { panic!("{heard:?}") };
            lines.push(line.to_owned());
            if line == "enough" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        (end, lines)
    }

    #[test]
    fn lines_are_handed_on_and_the_last_needs_no_end() {
        let (end, lines) = sh("printf 'one\\r\\ntwo\\nthree'", 10_000);
        assert_eq!(
            (end, lines),
            (End::PoweredOff { messages: String::new() }, vec!["one".into(), "two".into(), "three".into()])
        );
    }

    #[test]
    fn a_failing_machine_is_reported_with_its_messages() {
        assert_eq!(sh("echo bad option >&2; exit 1", 10_000).0, End::Failed { messages: "bad option".into() });
    }

    #[test]
    fn a_machine_that_crashes_is_told_from_one_that_fails() {
        let crashed = End::Crashed { signal: 11, messages: "about to".into() };
        assert_eq!(sh("echo about to >&2; kill -SEGV $$", 10_000).0, crashed);
    }

    #[test]
    fn a_run_is_ended_at_its_time_limit_and_half_a_line_is_shown() {
        let (end, lines) = sh("printf 'begun\\nstrato: boo'; exec sleep 60", 300);
        assert_eq!((end, lines), (End::TimedOut, vec!["begun".to_owned(), "strato: boo".to_owned()]));
    }

    #[test]
    fn a_run_is_ended_by_its_last_line() {
        let (end, lines) = sh("echo begun; echo enough; exec sleep 60", 60_000);
        assert_eq!((end, lines), (End::Told, vec!["begun".to_owned(), "enough".to_owned()]));
    }

    #[test]
    fn a_machine_that_is_told_to_end_has_time_for_it() {
        let done = std::env::temp_dir().join(format!("strato-{}-done", std::process::id()));
        let mut command = Command::new("sh");
        // The monitor is on descriptor 0; what is wanted is said on the first line.
        command.args(["-c", "echo up; read -r _; sleep 0.2; touch \"$0\""]).arg(&done);
        let monitor = Monitor::attach(&mut command, 1, false, false).unwrap();
        monitor.want(0x4000_0000, 4096, std::path::Path::new("/tmp/ring"));
        let mut process = Process::start(command, Some(&monitor)).unwrap();
        let end = session::run(&mut process, Duration::from_secs(60), |_| ControlFlow::Break(()));
        assert_eq!((end.unwrap(), done.exists()), (End::Told, true));
        std::fs::remove_file(done).unwrap();
    }

    #[test]
    fn a_flood_of_output_is_ended() {
        assert_eq!(sh("exec yes 0123456789012345678901234567890123456789", 60_000).0, End::TooLong);
    }
}
