//! A board that runs: it was given its image, is made to start, and is heard until its last line. Called by the commands.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Line;
use super::deliver::Delivered;
use super::port::Port;
use crate::machine::console::Console;
use crate::machine::{Beginning, Cause, End, Machine};
use crate::transcript;

/// What the first line begins with, as it grows by a character with each step of boot.
pub const BEGINNING: &str = "strato: boot 1";

/// Whoever wants to type may do so from this line on: what comes before the console is there is lost.
const LISTENS: &str = "strato: first guest instruction ";

/// A board and what belongs to its run.
#[derive(Debug)]
pub struct Board<'l> {
    line: &'l Line,
    console: Console,
    port: Port,
    hook: Option<Child>,
    is_typed: bool,
    _image: Delivered,
}

impl<'l> Board<'l> {
    /// Delivers `image`, and has the board started: by the command, or by asking for it.
    ///
    /// # Errors
    /// The serial line cannot be had, the image cannot be delivered, or there is no shell.
    pub fn start(line: &'l Line, image: &[u8]) -> anyhow::Result<Self> {
        let port = Port::open(&line.device, line.baud)?;
        let delivered = Delivered::new(image, line.deliver.as_deref())?;
        let console = Console::of(port.other_end().context("the serial line cannot be read")?);
        let hook = line.reset_with.as_ref().map(|command| hook(command, delivered.path())).transpose()?;
        if hook.is_none() {
            ask(line, delivered.path());
        }
        Ok(Self { line, console, port, hook, is_typed: line.is_typed, _image: delivered })
    }
}

impl Machine for Board<'_> {
    fn console(&self) -> &Console {
        &self.console
    }

    fn beginning(&self) -> Option<Beginning> {
        Some(Beginning { text: BEGINNING, patience: self.line.patience() })
    }

    fn tend(&mut self) -> anyhow::Result<bool> {
        let Some(hook) = &mut self.hook else { return Ok(false) };
        let Some(status) = hook.try_wait().context("cannot wait for the command of --reset-with")? else {
            return Ok(true);
        };
        self.hook = None;
        if !status.success() {
            bail!(
                "the command of --reset-with failed, {status}: {}",
                self.line.reset_with.as_deref().unwrap_or_default()
            );
        }
        Ok(false)
    }

    fn is_last(&mut self, line: &str) -> bool {
        if self.is_typed && line.starts_with(LISTENS) {
            self.is_typed = false;
            // Without it nothing can be typed, and that is all.
            let _ = self.port.other_end().map(hand_on);
        }
        transcript::is_last(line)
    }

    fn end(&mut self, cause: Cause) -> anyhow::Result<End> {
        Ok(match cause {
            Cause::Closed(error) => End::Lost { why: error.map_or("it was closed".into(), |error| error.to_string()) },
            Cause::Last => End::PoweredOff { messages: String::new() },
            Cause::Early(end) => end,
        })
    }
}

impl Drop for Board<'_> {
    fn drop(&mut self) {
        if let Some(hook) = &mut self.hook {
            // Both fail only when the process is gone already.
            let _ = hook.kill();
            let _ = hook.wait();
        }
    }
}

// What it prints goes beside the results.
fn hook(command: &str, image: &Path) -> anyhow::Result<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command, "strato"]).arg(image).stdin(Stdio::null()).stdout(io::stderr());
    shell.spawn().context("cannot start `sh` for the command of --reset-with")
}

fn ask(line: &Line, image: &Path) {
    let (image, device, seconds) = (image.display(), line.device.display(), line.patience().as_secs());
    let what = if line.deliver.is_some() {
        format!("{image} is written. If it is on a card, unmount that and put it in")
    } else {
        format!("copy {image} over kernel8.img on the board's card, and put that in")
    };
    eprintln!(
        "{what}; then switch the board on, or reset it.\nwaiting for its first line on {device}, {seconds} s at most; Ctrl-C ends it"
    );
}

// Ends with the program: nothing else ends reading what somebody types.
fn hand_on(mut to: File) {
    thread::spawn(move || {
        let mut typed = String::new();
        while io::stdin().read_line(&mut typed).is_ok_and(|count| count > 0) && send(&mut to, typed.as_bytes()).is_ok()
        {
            typed.clear();
        }
    });
}

fn send(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            // The line is slower than a file from which "typed" comes.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
