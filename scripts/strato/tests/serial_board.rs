//! `strato run`, `test` and `bench --serial` on QEMU's `raspi4b` behind a pseudo-terminal: the command that resets the board starts QEMU with the
//! image that was delivered. Where that machine, or what builds an image, is missing, a line says that nothing was tested.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/pty.rs"]
mod pty;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use pty::{Pty, pty};
use strato_cli::qemu::{PROGRAM, Qemu};

/// A board: QEMU on one line, the tool on another, and what hands on between them.
struct Board {
    folder: PathBuf,
    tool: PathBuf,
    /// What the tool sent.
    typed: Arc<Mutex<Vec<u8>>>,
    _lines: [fs::File; 2],
}

impl Board {
    /// Returns a board that has not been started yet; `None` where there is no such machine.
    fn new(name: &str) -> Option<Self> {
        match Qemu::find().map(|qemu| qemu.needs_rpi4()) {
            Ok(Ok(())) => {}
            Ok(Err(missing)) | Err(missing) => {
                skipped(&missing.to_string());
                return None;
            }
        }
        let folder = std::env::temp_dir().join(format!("strato-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.txt"), "").unwrap();
        let [Pty { board: near, path: tool, kept: first }, Pty { board: far, path: qemu, kept: second }] =
            [pty(), pty()];
        let typed = Arc::new(Mutex::new(Vec::new()));
        let (mut from, mut to, kept) = (near.try_clone().unwrap(), far.try_clone().unwrap(), typed.clone());
        thread::spawn(move || {
            hand_on(&mut from, &mut to, |bytes| kept.lock().unwrap().extend_from_slice(bytes));
        });
        thread::spawn(move || hand_on(&far, &near, |_| {}));
        let program = std::env::var("STRATO_QEMU").unwrap_or_else(|_| PROGRAM.into());
        // $1 is the image, $2 what else QEMU is to be told; with a $3 the line is the mini UART's, which is the machine's second.
        let script = format!(
            "cd '{}'\n[ ! -e pid ] || kill \"$(cat pid)\" 2>/dev/null\n'{program}' -M raspi4b -nodefaults -display none -monitor none \
             -no-reboot ${{3:+-serial null}} -serial '{}' -kernel \"$1\" $2 </dev/null >/dev/null 2>&1 &\necho $! >pid\n",
            folder.display(),
            qemu.display()
        );
        fs::write(folder.join("reset"), script).unwrap();
        Some(Self { folder, tool, typed, _lines: [first, second] })
    }

    /// Returns what the tool says of `arguments`, its input being `typed`; `None` where no image can be built.
    fn strato(&self, arguments: &[&str], reset_with: &str, typed: &str) -> Option<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
        command.args(arguments).arg("--serial").arg(&self.tool);
        let reset = reset_with.replace("reset", &format!("sh '{}/reset'", self.folder.display()));
        command.args(["--reset-with", &reset]);
        command.current_dir(root());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(69) {
            skipped(&said(&output.stderr));
            return None;
        }
        Some(output)
    }
}

/// Says that nothing was tested, which continuous integration does not put up with, unless it does without QEMU (`scripts/test --quick`).
fn skipped(why: &str) {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    assert!(!is("CI", "true") || is("STRATO_NEED", "host"), "{why}");
    eprintln!("SKIPPED: a board on a serial line: {why}");
}

impl Drop for Board {
    fn drop(&mut self) {
        // What is gone already needs no end.
        let script = format!("kill \"$(cat '{}/pid')\" 2>/dev/null", self.folder.display());
        let _ = Command::new("sh").args(["-c", &script]).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn hand_on(mut from: impl Read, mut to: impl Write, mut seen: impl FnMut(&[u8])) {
    let mut bytes = [0; 256];
    while let Ok(count) = from.read(&mut bytes) {
        let bytes = bytes.get(..count).unwrap();
        seen(bytes);
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_system_runs_on_a_board_and_what_is_typed_gets_there() {
    let Some(board) = Board::new("run") else { return };
    let system = board.folder.join("listener.toml");
    let text = "[[vm]]\nname = \"listener\"\nimage = \"hello\"\nmemory = \"1MiB\"\nconsole_input = true\n";
    fs::write(&system, text).unwrap();
    let folder = board.folder.display().to_string();
    let arguments = ["run", system.to_str().unwrap(), "--board", "rpi4", "--deliver", &folder];
    let Some(output) = board.strato(&arguments, "reset \"$1\"", "a word\n") else { return };
    let (lines, errors) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{lines}\n{errors}");
    assert!(
        lines.starts_with("strato: boot 12345\nstrato: version ") && lines.contains("\n[listener] hello: ok\n"),
        "{lines}"
    );
    assert!(lines.trim_end().lines().next_back().unwrap().starts_with("strato: all guests ended, 1 ok, 0 failed, at "));
    assert!(board.folder.join("kernel8.img").is_file(), "it was delivered");
    assert_eq!(said(&board.typed.lock().unwrap()), "a word\n");
}

#[test]
fn a_guest_reads_what_is_typed_on_either_uart() {
    let Some(board) = Board::new("echo") else { return };
    let system = board.folder.join("echo.toml");
    let vm = "[[vm]]\nname = \"echo\"\nimage = \"selftest\"\nmemory = \"1MiB\"\ncommand_line = \"case=echo\"\nconsole_input = true\n";
    for (console, reset) in [("pl011", "reset \"$1\""), ("mini-uart", "reset \"$1\" '' second")] {
        fs::write(&system, format!("[system]\nconsole = \"{console}\"\n{vm}")).unwrap();
        let arguments = ["run", system.to_str().unwrap(), "--board", "rpi4"];
        let Some(output) = board.strato(&arguments, reset, "more than a FIFO of sixteen has room for\n") else {
            return;
        };
        let (lines, errors) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{console}: {lines}\n{errors}");
        assert!(lines.contains("\n[echo] typed: more than a FIFO of sixteen has room for\n"), "{console}: {lines}");
    }
}

#[test]
fn a_person_is_asked_to_start_the_board_and_told_where_its_image_is() {
    let Some(board) = Board::new("by_hand") else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    command.args(["test", "floats", "--serial"]).arg(&board.tool).current_dir(root());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut asked = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // What is built may be told before.
    let Some(line) = asked.find(|line| line.starts_with("copy ")) else {
        assert_eq!(child.wait().unwrap().code(), Some(69));
        return skipped("no image can be built");
    };
    let image = line
        .strip_prefix("copy ")
        .unwrap()
        .split_once(" over kernel8.img on the board's card, and put that in; ")
        .unwrap()
        .0;
    assert!(
        image.ends_with("/kernel8.img") && asked.next().unwrap().starts_with("waiting for its first line on /dev/")
    );
    assert!(Command::new("sh").arg(board.folder.join("reset")).arg(image).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(said(&output.stdout), "ok floats rpi4-serial 4\n1 passed, 0 failed\n");
    assert!(!Path::new(image).exists(), "nothing stays behind");
}

#[test]
fn a_suite_passes_fails_and_skips_by_itself_on_a_board() {
    let Some(board) = Board::new("suite") else { return };
    let folder = board.folder.display().to_string();
    // The second scenario does not get there: the board starts with the first one's image.
    let reset = format!(
        "cd '{folder}'; [ -e first ] && [ ! -e second ] && touch second && set -- first; [ -e first ] || cp \"$1\" first; reset \"$1\""
    );
    let Some(output) =
        board.strato(&["test", "--deliver", &folder, "refused_el1", "faulty", "floats", "hello"], &reset, "")
    else {
        return;
    };
    let (lines, errors) = (said(&output.stdout), said(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{lines}\n{errors}");
    let expected = [
        "SKIPPED refused_el1 rpi4-serial 4",
        "ok faulty rpi4-serial 4",
        "FAILED floats rpi4-serial 4",
        "ok hello rpi4-serial 4",
    ];
    let verdicts: Vec<&str> = lines.lines().filter(|line| line.contains(" rpi4-serial ")).collect();
    assert_eq!(verdicts, expected, "{lines}\n{errors}");
    assert!(lines.contains("\n    it is for board qemu-virt alone\nok faulty"), "{lines}");
    assert!(lines.contains("\n    what ran has a VM `culprit`: the image did not get there\n"), "{lines}");
    assert!(lines.ends_with("\n2 passed, 1 failed, 1 skipped\n"), "{lines}");
}

#[test]
fn a_board_that_does_not_start_times_out() {
    let Some(board) = Board::new("silent") else { return };
    let arguments = ["test", "example-no", "hello", "--patience", "1", "--json"];
    let Some(output) = board.strato(&arguments, "reset \"$1\" -S", "") else { return };
    let (records, errors) = (said(&output.stdout), said(&output.stderr));
    let of_hello = records.lines().find(|line| line.contains(r#""id":"hello""#)).unwrap();
    assert_eq!(of_hello, r#"{"id":"hello","board":"rpi4-serial","cores":4,"status":"failed","instructions":null}"#);
    assert!(errors.contains("hello rpi4-serial 4: nothing came from the board within 1 s: docs/"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_board_is_measured_in_ticks_and_nanoseconds() {
    let Some(board) = Board::new("bench") else { return };
    let Some(output) = board.strato(&["bench"], "reset \"$1\"", "") else { return };
    let (table, errors) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{table}\n{errors}");
    assert!(
        table.contains("null_call ") && table.contains("boot_to_first_guest ") && !table.contains("text_bytes"),
        "{table}"
    );
    assert!(table.contains("62500000 ticks a second") && table.trim_end().ends_with("no bar is held."), "{table}");
}
