//! The monitor (QMP) of a counted or traced machine: starts it, hears that it powered off, reads what is wanted of its memory, asks
//! what it executed, and ends it.
//! Called by `commands::boot`. Says nothing between start and power-off, so that a run stays the same each time.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

/// What makes QEMU stand still before the first instruction and after power-off, with its monitor on descriptor 0.
pub const ARGUMENTS: [&str; 6] =
    ["-S", "-no-shutdown", "-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"];

/// A monitor in use.
#[derive(Debug)]
pub struct Monitor {
    talk: JoinHandle<Option<u64>>,
    line: UnixStream,
    wanted: Arc<Wanted>,
}

/// What is wanted of the machine's memory, as commands.
#[derive(Debug, Default)]
struct Wanted {
    commands: Mutex<Vec<Value>>,
    /// How many will be said before the machine powers off.
    expected: usize,
    /// Whether the machine is reset when it powers off next.
    reset: AtomicBool,
    /// Whether it is a board with an LED, which is looked at each time that it stops.
    has_led: bool,
    /// Whether the LED was on.
    led: Mutex<Vec<bool>>,
}

/// What that question is called, and what is asked of a machine that stands still.
const LED: &str = "led";
const STILL: &str = "still";

/// How long a machine that powered off is kept for what is expected and not said: its last lines may still be on their way.
const PATIENCE: Duration = Duration::from_secs(5);

impl Wanted {
    fn locked(&self) -> MutexGuard<'_, Vec<Value>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all that is wanted, once as much is said as is expected.
    fn take(&self) -> Vec<Value> {
        let started = Instant::now();
        while self.locked().len() < self.expected && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut *self.locked())
    }
}

impl Monitor {
    /// Returns the monitor of the machine that `command`, which has [`ARGUMENTS`], is about to start; [`Monitor::want`] will be
    /// called `expected` times. One that `is_reset` starts again when it powers off first; with `has_led` its LED is looked at before that, and at the end.
    ///
    /// # Errors
    /// The system gives no pair of sockets.
    pub fn attach(command: &mut Command, expected: usize, is_reset: bool, has_led: bool) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("no socket for QEMU's monitor")?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let line = ours.try_clone().context("no second end for QEMU's monitor")?;
        let wanted = Arc::new(Wanted { expected, reset: is_reset.into(), has_led, ..Wanted::default() });
        let told = Arc::clone(&wanted);
        Ok(Self { talk: thread::spawn(move || converse(BufReader::new(&ours), &ours, &told)), line, wanted })
    }

    /// Has `bytes` bytes of physical memory from `start` on written to `file` before the machine goes away.
    pub fn want(&self, start: u64, bytes: u64, file: &Path) {
        let arguments = json!({ "val": start, "size": bytes, "filename": file });
        self.wanted.locked().push(json!({ "execute": "pmemsave", "arguments": arguments }));
    }

    /// Stops the machine where it is, has what is wanted of its memory written, and tells it to go. Returns whether that was said.
    #[must_use]
    pub fn end_now(&self) -> bool {
        let wanted = self.wanted.locked();
        if wanted.is_empty() {
            return false;
        }
        let commands = [command("stop")].into_iter().chain(wanted.iter().cloned()).chain([command("quit")]);
        commands.into_iter().all(|command| writeln!(&self.line, "{command}").is_ok())
    }

    /// Returns the instructions that all cores together executed from reset until QEMU stopped them behind power-off, or `None`
    /// when the machine did not power off. To be called when the process has ended and its `Command` is gone: nothing else ends the conversation.
    /// And whether the LED was on each time that it was looked at.
    #[must_use]
    pub fn last_words(self) -> (Option<u64>, Vec<bool>) {
        let instructions = self.talk.join().ok().flatten();
        let led = std::mem::take(&mut *self.wanted.led.lock().unwrap_or_else(PoisonError::into_inner));
        (instructions, led)
    }
}

/// Returns what starts a machine again that has stopped. One that resets itself stops too (`-no-reboot`), so it has to be told for a moment that it does not.
fn reset() -> Vec<Value> {
    let on_reset = |action: &str| json!({ "execute": "set-action", "arguments": { "reboot": action } });
    vec![on_reset("reset"), command("system_reset"), on_reset("shutdown"), command("cont")]
}

/// Returns the question for the levels of pins 32 to 53 of a Raspberry Pi 4, GPLEV1; 42 has the LED.
fn led() -> Value {
    let arguments = json!({ "command-line": "xp /1wx 0xfe200038" });
    json!({ "execute": "human-monitor-command", "arguments": arguments, "id": LED })
}

/// Returns whether the LED is on by the answer to that.
fn is_lit(answer: &Value) -> Option<bool> {
    let (_, levels) = answer.get("return")?.as_str()?.trim().split_once(": 0x")?;
    Some(u32::from_str_radix(levels, 16).ok()? >> (42 - 32) & 1 != 0)
}

fn command(name: &str) -> Value {
    json!({ "execute": name })
}

fn converse(from: impl BufRead, mut to: impl Write, wanted: &Wanted) -> Option<u64> {
    let mut instructions = None;
    // The line breaks when the process ends, whatever was said before.
    for line in from.lines().map_while(Result::ok) {
        let (reply, count) = answer(&line, wanted);
        instructions = instructions.or(count);
        for command in reply {
            // To quit is a shutdown too, of which a machine that is gone may have told before.
            if writeln!(to, "{command}").is_err() {
                return instructions;
            }
        }
    }
    instructions
}

/// Returns what to say to a line of the monitor, and the count if the line has it.
fn answer(line: &str, wanted: &Wanted) -> (Vec<Value>, Option<u64>) {
    let commands = |names: &[&str]| names.iter().map(|name| command(name)).collect();
    let Ok(line) = serde_json::from_str::<Value>(line) else { return (Vec::new(), None) };
    if line.get("QMP").is_some() {
        return (commands(&["qmp_capabilities", "cont"]), None);
    }
    if line.get("id").is_some_and(|id| id == LED) {
        wanted.led.lock().unwrap_or_else(PoisonError::into_inner).extend(is_lit(&line));
        return (Vec::new(), None);
    }
    let look = wanted.has_led.then(led);
    let is_event = |name: &str| line.get("event").is_some_and(|event| event == name);
    // Relaxed: this conversation alone reads it.
    if wanted.reset.load(Ordering::Relaxed) {
        // It stands still only behind the next event. Another core may have asked for a reset just before that (each arms the watchdog), which
        // QEMU looks at before it answers the next question.
        let is_still = line.get("id").is_some_and(|id| id == STILL);
        wanted.reset.store(!is_still, Ordering::Relaxed);
        let ask = look.into_iter().chain([json!({ "execute": "query-status", "id": STILL })]);
        return (if is_event("STOP") { ask.collect() } else { is_still.then(reset).unwrap_or_default() }, None);
    }
    if is_event("SHUTDOWN") {
        // Memory first: the count is the last question. Nothing is replayed: this command tells the count (QMP reference, ReplayInfo).
        let mut last = wanted.take();
        last.extend(look);
        last.push(command("query-replay"));
        return (last, None);
    }
    match line.get("return").and_then(|reply| reply.get("icount")?.as_u64()) {
        Some(count) => (commands(&["quit"]), Some(count)),
        // A machine that cannot tell has to end all the same.
        None if line.get("error").is_some() => (commands(&["quit"]), None),
        None => (Vec::new(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &str) -> (Option<u64>, Vec<String>) {
        said_when(lines, &Wanted::default())
    }

    fn said_when(lines: &str, wanted: &Wanted) -> (Option<u64>, Vec<String>) {
        let mut said = Vec::new();
        let count = converse(lines.as_bytes(), &mut said, wanted);
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
    fn memory_that_is_wanted_is_written_before_the_machine_goes() {
        let wanted =
            Wanted { commands: Mutex::new(vec![json!({ "execute": "pmemsave" })]), expected: 1, ..Wanted::default() };
        let (_, said) = said_when("{\"event\": \"SHUTDOWN\"}\n{\"return\": {}}", &wanted);
        assert_eq!(said, [r#"{"execute":"pmemsave"}"#, r#"{"execute":"query-replay"}"#]);
        assert!(wanted.locked().is_empty(), "it is asked for once");
    }

    #[test]
    fn a_machine_that_is_reset_starts_again_once() {
        let wanted = Wanted { reset: true.into(), ..Wanted::default() };
        let (_, said) = said_when(
            "{\"event\": \"SHUTDOWN\"}\n{\"event\": \"STOP\"}\n{\"event\": \"SHUTDOWN\"}\n{\"return\": {}, \"id\": \"still\"}\n{\"event\": \"SHUTDOWN\"}",
            &wanted,
        );
        let said: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = said.iter().filter_map(|command| command["execute"].as_str()).collect();
        assert_eq!(names, ["query-status", "set-action", "system_reset", "set-action", "cont", "query-replay"]);
        assert_eq!(said[1]["arguments"]["reboot"], "reset");
        assert_eq!(said[3]["arguments"]["reboot"], "shutdown");
    }

    #[test]
    fn the_led_is_looked_at_each_time_that_the_machine_stops() {
        let wanted = Wanted { reset: true.into(), has_led: true, ..Wanted::default() };
        let lines = ["00000400", "ffff0bff"].map(|levels| {
            let stop = "{\"event\": \"STOP\"}\n{\"return\": {}, \"id\": \"still\"}\n{\"event\": \"SHUTDOWN\"}";
            format!("{stop}\n{{\"return\": \"00000000fe200038: 0x{levels}\\r\\n\", \"id\": \"led\"}}")
        });
        said_when(&lines.join("\n"), &wanted);
        assert_eq!(*wanted.led.lock().unwrap(), [true, false]);
    }

    #[test]
    fn what_is_said_late_is_waited_for() {
        let wanted = Wanted { commands: Mutex::default(), expected: 1, ..Wanted::default() };
        let said = thread::scope(|scope| {
            let late = scope.spawn(|| wanted.take());
            wanted.locked().push(json!(1));
            late.join().unwrap()
        });
        assert_eq!(said, [json!(1)]);
    }

    #[test]
    fn a_running_machine_is_stopped_read_and_told_to_go() {
        let mut command = Command::new("true");
        let monitor = Monitor::attach(&mut command, 1, false, false).unwrap();
        assert!(!monitor.end_now(), "nobody wants anything of its memory");
        monitor.want(0x4000_0000, 4096, Path::new("/tmp/ring"));
        assert!(monitor.end_now());
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let other = Monitor { line: ours, talk: thread::spawn(|| None), wanted: monitor.wanted };
        assert!(other.end_now());
        drop(other);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut theirs, &mut said).unwrap();
        let file = r#"{"filename":"/tmp/ring","size":4096,"val":1073741824}"#;
        let saved = format!("{{\"arguments\":{file},\"execute\":\"pmemsave\"}}");
        assert_eq!(said.lines().collect::<Vec<_>>(), [r#"{"execute":"stop"}"#, &saved, r#"{"execute":"quit"}"#]);
    }

    #[test]
    fn a_machine_that_does_not_power_off_has_no_count() {
        assert_eq!(said("{\"QMP\": {}}\n{\"return\": {}}").0, None);
        assert_eq!(said("").0, None);
        assert_eq!(said("no json").0, None);
    }

    #[test]
    fn a_count_that_was_told_is_kept_when_the_machine_goes() {
        let (theirs, mut ours) = UnixStream::pair().unwrap();
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        drop(theirs);
        let lines = "{\"return\": {\"icount\": 7}}\n{\"event\": \"SHUTDOWN\"}";
        assert_eq!(converse(lines.as_bytes(), &mut ours, &Wanted::default()), Some(7));
    }

    #[test]
    fn a_machine_that_cannot_tell_is_ended() {
        let (count, said) = said("{\"event\": \"SHUTDOWN\"}\n{\"error\": {\"class\": \"CommandNotFound\"}}");
        assert_eq!((count, said.last().map(String::as_str)), (None, Some("{\"execute\":\"quit\"}")));
    }
}
