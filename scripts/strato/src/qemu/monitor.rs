//! The monitor (QMP) of a counted machine: starts it, hears that it powered off, asks what it executed, and ends it.
//! Called by `commands::boot`. Says nothing between start and power-off, so that a run stays the same each time.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use serde_json::Value;

/// What makes QEMU stand still before the first instruction and after power-off, with its monitor on descriptor 0.
pub const ARGUMENTS: [&str; 6] =
    ["-S", "-no-shutdown", "-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"];

/// A monitor in use.
#[derive(Debug)]
pub struct Monitor(JoinHandle<Option<u64>>);

impl Monitor {
    /// Returns the monitor of the machine that `command`, which has [`ARGUMENTS`], is about to start.
    ///
    /// # Errors
    /// The system gives no pair of sockets.
    pub fn attach(command: &mut Command) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("no socket for QEMU's monitor")?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok(Self(thread::spawn(move || converse(BufReader::new(&ours), &ours))))
    }

    /// Returns the instructions that all cores together executed from reset until QEMU stopped them behind power-off, or `None`
    /// when the machine did not power off. To be called when the process has ended and its `Command` is gone: nothing else ends the conversation.
    #[must_use]
    pub fn instructions(self) -> Option<u64> {
        self.0.join().ok().flatten()
    }
}

fn converse(from: impl BufRead, mut to: impl Write) -> Option<u64> {
    let mut instructions = None;
    // The line breaks when the process ends, whatever was said before.
    for line in from.lines().map_while(Result::ok) {
        let (reply, count) = answer(&line);
        instructions = instructions.or(count);
        for command in reply {
            writeln!(to, "{{\"execute\":\"{command}\"}}").ok()?;
        }
    }
    instructions
}

/// Returns what to say to a line of the monitor, and the count if the line has it.
fn answer(line: &str) -> (&'static [&'static str], Option<u64>) {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return (&[], None) };
    if line.get("QMP").is_some() {
        return (&["qmp_capabilities", "cont"], None);
    }
    if line.get("event").is_some_and(|event| event == "SHUTDOWN") {
        // Nothing is replayed: this is the command that tells the count (QMP reference, ReplayInfo).
        return (&["query-replay"], None);
    }
    match line.get("return").and_then(|reply| reply.get("icount")?.as_u64()) {
        Some(count) => (&["quit"], Some(count)),
        // A machine that cannot tell has to end all the same.
        None if line.get("error").is_some() => (&["quit"], None),
        None => (&[], None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &str) -> (Option<u64>, Vec<String>) {
        let mut said = Vec::new();
        let count = converse(lines.as_bytes(), &mut said);
        (count, String::from_utf8(said).unwrap().lines().map(Into::into).collect())
    }

    #[test]
    fn the_machine_is_started_asked_at_power_off_and_ended() {
        let lines = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}
            {"return": {}}
            {"event": "RESUME"}
            {"return": {}}
            {"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}
            {"event": "STOP"}
            {"return": {"icount": 410831, "mode": "none"}}
            {"return": {}}"#;
        let (count, said) = said(lines);
        assert_eq!(count, Some(410_831));
        let commands = ["qmp_capabilities", "cont", "query-replay", "quit"];
        assert_eq!(said, commands.map(|command| format!("{{\"execute\":\"{command}\"}}")));
    }

    #[test]
    fn a_machine_that_does_not_power_off_has_no_count() {
        assert_eq!(said("{\"QMP\": {}}\n{\"return\": {}}").0, None);
        assert_eq!(said("").0, None);
        assert_eq!(said("no json").0, None);
    }

    #[test]
    fn a_machine_that_cannot_tell_is_ended() {
        let (count, said) = said("{\"event\": \"SHUTDOWN\"}\n{\"error\": {\"class\": \"CommandNotFound\"}}");
        assert_eq!((count, said.last().map(String::as_str)), (None, Some("{\"execute\":\"quit\"}")));
    }
}
