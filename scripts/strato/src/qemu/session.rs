//! One run of a machine: its serial line, line by line, under a time limit; the process never outlives the run.
//! Called by the commands. Owns the process.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Most bytes of a transcript; a system that prints more is stopped.
const TRANSCRIPT_MAX: usize = 16 << 20;

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
    /// It printed the line that ends such a run.
    Told,
    /// The time limit was reached.
    TimedOut,
    /// It printed more than a transcript may hold.
    TooLong,
    /// The user or the system asked the tool to end.
    Interrupted,
}

/// Makes the signals that end a program end its runs instead, so that no machine and no file outlives the tool.
///
/// # Errors
/// The system refuses to install a handler.
pub fn catch_signals() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag().clone())?;
    }
    Ok(())
}

/// Returns whether the tool was asked to end.
#[must_use]
pub fn is_interrupted() -> bool {
    // Relaxed: nothing else is read because of it.
    flag().load(Ordering::Relaxed)
}

fn flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// How often a quiet run looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);

/// The process, ended with the value.
struct Machine(Child);

impl Machine {
    /// Waits until it has ended, at most `limit`.
    fn wait_for(&mut self, limit: Duration) {
        let started = Instant::now();
        while started.elapsed() < limit && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(GLANCE / 10);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a machine that was told to end may take for it.
const PARTING: Duration = Duration::from_secs(10);

/// Runs `command`, hands each line of its output to `on_line`, and ends it when that breaks, or after `limit`.
///
/// # Errors
/// The process cannot be started.
pub fn run(command: Command, limit: Duration, on_line: impl FnMut(&str) -> ControlFlow<()>) -> anyhow::Result<End> {
    run_to(command, limit, on_line, || false)
}

/// As [`run`]; `farewell` is asked before a machine is ended that has not ended by itself, and returns whether it has told it to.
///
/// # Errors
/// As [`run`].
pub fn run_to(
    mut command: Command,
    limit: Duration,
    mut on_line: impl FnMut(&str) -> ControlFlow<()>,
    farewell: impl FnOnce() -> bool,
) -> anyhow::Result<End> {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut machine = Machine(child.with_context(|| format!("cannot start {}", command.get_program().display()))?);
    let output = machine.0.stdout.take().context("QEMU has no output")?;
    let mut errors = machine.0.stderr.take().context("QEMU has no error output")?;
    let lines = lines_of(output);
    let messages = thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is not shown; the status still tells.
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_owned()
    });
    let mut length = 0_usize;
    let early = loop {
        if is_interrupted() {
            break Some(End::Interrupted);
        }
        let left = limit.saturating_sub(started.elapsed());
        match lines.recv_timeout(left.min(GLANCE)) {
            Ok(line) => {
                length = length.saturating_add(line.len());
                if length > TRANSCRIPT_MAX {
                    break Some(End::TooLong);
                }
                if on_line(&line).is_break() {
                    break Some(End::Told);
                }
            }
            Err(RecvTimeoutError::Timeout) if left > GLANCE => {}
            Err(RecvTimeoutError::Timeout) => break Some(End::TimedOut),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if let Some(end) = early {
        if farewell() {
            machine.wait_for(PARTING);
        }
        return Ok(end);
    }
    // The output is closed, so the process ends at once.
    let status = machine.0.wait().context("cannot wait for QEMU")?;
    let messages = messages.join().unwrap_or_default();
    Ok(if status.success() { End::PoweredOff { messages } } else { End::Failed { messages } })
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A machine that prints without an end of line is cut into pieces of bounded length.
            match reader.by_ref().take(1 << 16).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit_ms: u64) -> (End, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let mut lines = Vec::new();
        let end = run(command, Duration::from_millis(limit_ms), |line| {
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
    fn a_run_is_ended_at_its_time_limit() {
        let started = Instant::now();
        let (end, lines) = sh("echo begun; exec sleep 60", 300);
        assert_eq!((end, lines), (End::TimedOut, vec!["begun".to_owned()]));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_run_is_ended_by_its_last_line() {
        let (end, lines) = sh("echo begun; echo enough; exec sleep 60", 60_000);
        assert_eq!((end, lines), (End::Told, vec!["begun".to_owned(), "enough".to_owned()]));
    }

    #[test]
    fn a_machine_that_is_told_to_end_has_time_for_it() {
        let folder = std::env::temp_dir();
        let [told, done] = ["told", "done"].map(|word| folder.join(format!("strato-{}-{word}", std::process::id())));
        let mut command = Command::new("sh");
        let script = "echo up; while [ ! -e \"$0\" ]; do sleep 0.1; done; touch \"$1\"";
        command.args(["-c", script]).args([&told, &done]).stdin(Stdio::null());
        let end =
            run_to(command, Duration::from_secs(60), |_| ControlFlow::Break(()), || std::fs::write(&told, "").is_ok());
        assert_eq!((end.unwrap(), done.exists()), (End::Told, true));
        for file in [told, done] {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn a_flood_of_output_is_ended() {
        assert_eq!(sh("exec yes 0123456789012345678901234567890123456789", 60_000).0, End::TooLong);
    }
}
