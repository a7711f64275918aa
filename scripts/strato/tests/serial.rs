//! A board on a serial line as the tool hears it, the test being the board: noise, half lines, silence, a cable that is pulled, a board
//! that starts twice. Each reason to the letter.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "common/pty.rs"]
mod pty;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pty::pty;
use strato_cli::commands::Ready;
use strato_cli::commands::boot::{self, Run};
use strato_cli::commands::place::Place;
use strato_cli::serial::{BAUD, Line};
use strato_cli::system::{self, Source};

/// A whole run of a VM `a`.
const GOOD: &[u8] = b"strato: boot 12345\r\nstrato: version 0.1.0, build 0123456789abcdef\r\n[a] hello\r\n\
    strato: vm a: ended, exit code 0\r\nstrato: all guests ended, 1 ok, 0 failed, at 7 ticks\r\n";

/// Waits until `file` is there.
fn wait_for(file: &Path) {
    while !file.exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes the pieces one by one, so that each is read by itself.
fn say(to: &mut File, pieces: &[&[u8]]) {
    for piece in pieces {
        to.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a name of the temporary folder that nobody else has.
fn scratch(what: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("strato-{}-{number}-{what}", std::process::id()))
}

/// Runs a VM `a` on a board that is `board`, from when the command `reset` has made the file whose name is its `$started`.
fn run_as(
    reset: &str,
    patience_s: u64,
    limit_s: u64,
    image: &[u8],
    board: impl FnOnce(File) + Send,
) -> anyhow::Result<Run> {
    let text = "[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"\n[expect]\nlines = [\"[a] hello\"]".to_owned();
    let source = Source { path: "x".into(), text };
    let ready = Ready { system: system::parse(&source, Path::new("."), "x")?, source, images: Vec::new() };
    let (line, started) = (pty(), scratch("started"));
    let reset_with = Some(format!("started={}; {reset}", started.display()));
    let patience = Some(Duration::from_secs(patience_s));
    let place =
        Place::Board(Line { device: line.path, baud: BAUD, deliver: None, reset_with, patience, is_typed: false });
    let kept = line.kept;
    let run = thread::scope(|scope| {
        let run = scope.spawn(|| boot::boot(&place, image, &ready, Duration::from_secs(limit_s), |_| {}));
        wait_for(&started);
        board(line.board);
        run.join().unwrap()
    });
    fs::remove_file(started)?;
    drop(kept);
    run
}

/// As [`run_as`], with a command that only starts it; `board` has its end, and keeps it until the run is over unless it drops it.
fn run(limit_s: u64, pieces: &[&[u8]]) -> Run {
    let mut kept = None;
    let run = run_as("touch $started", 60, limit_s, &[], |mut board| {
        say(&mut board, pieces);
        kept = Some(board);
    });
    run.unwrap()
}

#[test]
fn noise_and_the_firmwares_lines_are_no_part_of_the_transcript() {
    let firmware: &[u8] = b"\0\xff\xfe\0Raspberry Pi Bootcode\r\nRead start4.elf bytes 22\xc3\r\n[a] strato: all guests ended, 1\r\n\xf8~";
    let (boot, rest) = GOOD.split_at(11);
    let run = run(60, &[firmware, boot, rest]);
    assert_eq!(run.reasons, Vec::<String>::new(), "{run:?}");
    let before = [
        "\u{fffd}\u{fffd}Raspberry Pi Bootcode",
        "Read start4.elf bytes 22\u{fffd}",
        "[a] strato: all guests ended, 1",
        "\u{fffd}~",
    ];
    assert_eq!(run.before, before);
    let lines: Vec<&str> = std::str::from_utf8(GOOD).unwrap().lines().collect();
    assert_eq!(run.transcript.lines, lines);
}

#[test]
fn a_line_that_noise_went_through_costs_that_line_alone() {
    let (boot, rest) = GOOD.split_at(67);
    let run = run(60, &[boot, b"[a] \xe2\x82", b"\xac\xe2\r\r\n\0\x01", rest]);
    assert_eq!((run.reasons, run.transcript.lines[2].as_str()), (Vec::new(), "[a] \u{20ac}\u{fffd}"));
}

#[test]
fn a_panic_ends_the_run_and_all_of_its_lines_are_heard() {
    let text: [&[u8]; 2] = [
        b"strato: boot 12345\nstrato: panic: on core 0, build 0: oh\nstrato: panic: at hyp/src/a.rs:1\nstrato: panic: all cores",
        b" stopped\nstrato: no",
    ];
    let run = run(60, &text);
    assert_eq!(
        run.reasons[..2],
        ["the hypervisor panicked: panic: on core 0, build 0: oh", "`a` had to end ok, but never ended"]
    );
    assert_eq!(run.transcript.lines.len(), 5);
}

#[test]
fn a_board_that_stays_where_it_boots_is_told_with_its_characters() {
    let reasons = run(1, &[b"Firmware\r\n", b"strato: boo", b"t 123"]).reasons;
    let expected = [
        "the machine did not power off within the time limit",
        "`a` had to end ok, but never ended",
        "the first line was not `strato: boot 12345`, but `strato: boot 123`, and nothing came behind it: docs/raspberry-pi-4.md, \
         \"When it is silent\", says what to look at",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn silence_is_told_with_what_to_look_at() {
    let silent = |pieces: &[&[u8]]| {
        let mut kept = None;
        let run = run_as("touch $started", 1, 60, &[], |mut board| {
            say(&mut board, pieces);
            kept = Some(board);
        });
        run.unwrap().reasons
    };
    let look = "docs/raspberry-pi-4.md, \"When it is silent\", says what to look at";
    assert_eq!(silent(&[]), [format!("nothing came from the board within 1 s: {look}")]);
    let firmware =
        format!("the board said something within 1 s, but nothing of Strato's; at last: `Boot mode: SD`: {look}");
    assert_eq!(silent(&[b"one\r\nBoot mode: SD\r\n"]), [firmware.as_str()]);
    assert_eq!(silent(&[b"one\r\nBoot mode: SD"]), [firmware]);
}

#[test]
fn a_cable_that_is_pulled_is_an_error_and_no_hang() {
    let run =
        run_as("touch $started", 60, 60, &[], |mut board| say(&mut board, &[b"strato: boot 12345\r\nstrato: ver"]));
    let run = run.unwrap();
    let [reason] = run.reasons.as_slice() else { panic!("{run:?}") };
    let why = reason.strip_prefix("the serial line went away: ").unwrap();
    assert!(why.ends_with("; is the adapter still plugged in?"), "{why}");
    assert_eq!(run.transcript.lines, ["strato: boot 12345", "strato: ver"]);
}

#[test]
fn what_ran_before_is_forgotten_when_the_board_starts_while_the_command_runs() {
    let (seen, mut kept) = (scratch("seen"), None);
    let reset = format!("touch $started; while [ ! -e {} ]; do sleep 0.05; done", seen.display());
    let run = run_as(&reset, 60, 60, &[], |mut board| {
        say(&mut board, &[b"strato: boot 12345\r\n[a] an old run\r\n", b"strato: boot 12"]);
        fs::write(&seen, "").unwrap();
        thread::sleep(Duration::from_millis(500));
        say(&mut board, &[&GOOD[15..]]);
        kept = Some(board);
    });
    fs::remove_file(seen).unwrap();
    let run = run.unwrap();
    assert_eq!(
        (run.reasons, run.before),
        (Vec::<String>::new(), vec!["strato: boot 12345".into(), "[a] an old run".into()])
    );
}

#[test]
fn a_board_that_starts_again_by_itself_has_failed() {
    // The command has ended when the board starts: this is waited for longer than anything takes.
    let mut kept = None;
    let run = run_as("touch $started", 60, 60, &[], |mut board| {
        thread::sleep(Duration::from_secs(1));
        let again = b"strato: boot 12345\r\nstrato: before: strato: vm a: ended, exit code 0\r\n";
        say(&mut board, &[b"strato: boot 12345\r\n", again, b"strato: boot 1"]);
        kept = Some(board);
    });
    let run = run.unwrap();
    assert_eq!(run.transcript.lines.len(), 4, "what it says of its first life is heard: {run:?}");
    assert_eq!(run.reasons, ["the board started again by itself", "`a` had to end ok, but never ended"]);
}

#[test]
fn an_image_that_did_not_get_there_is_noticed() {
    let mut kept = None;
    let note = b"..\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0\x01\x23\x45\x67\x89\xab\xcd\xee and 12 more bytes";
    let run = run_as("touch $started", 60, 60, note, |mut board| {
        say(&mut board, &[GOOD]);
        kept = Some(board);
    });
    let expected = "what ran is build 0123456789abcdef, not 0123456789abcdee: the image did not get there";
    assert_eq!(run.unwrap().reasons, [expected]);
    let other = [&GOOD[..67], b"strato: vm b: 1048576 bytes of ram, 49152 bytes of overhead\n", &GOOD[67..]].concat();
    assert_eq!(self::run(60, &[&other]).reasons, ["what ran has a VM `b`: the image did not get there"]);
}

#[test]
fn a_command_that_fails_is_told_and_one_that_hangs_is_ended() {
    let mut kept = None;
    let error = run_as("touch $started; exit 3", 60, 60, &[], |board| kept = Some(board)).unwrap_err().to_string();
    assert!(error.starts_with("the command of --reset-with failed, exit status: 3: started="), "{error}");
    let mut kept = None;
    let run = run_as("touch $started; exec sleep 60", 1, 60, &[], |board| kept = Some(board));
    assert!(run.unwrap().reasons[0].starts_with("nothing came from the board within 1 s: "));
}

/// Returns the status and the message of the tool that is to run on this line, as somebody who may not do everything if `is_nobody`.
fn refused(arguments: &[&str], is_nobody: bool) -> Option<(Option<i32>, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    if is_nobody && rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    // Nobody may not get at the tool itself.
    let output = command.output().ok()?;
    Some((output.status.code(), String::from_utf8(output.stderr).unwrap()))
}

#[test]
fn a_line_that_cannot_be_had_is_refused_before_anything_is_built() {
    let said = |arguments: &[&str]| refused(arguments, false).unwrap();
    let help = "help: plug the adapter in, and take the name that `dmesg` then tells, such as /dev/ttyUSB0\n";
    for command in ["run", "test", "bench"] {
        let message = format!("error: there is no serial line /no/such/line\n{help}");
        assert_eq!(said(&[command, "--serial", "/no/such/line"]), (Some(2), message));
    }
    let message = "error: /dev/null is no serial line\nhelp: name the adapter's device, such as /dev/ttyUSB0\n";
    assert_eq!(said(&["run", "hello", "--serial", "/dev/null"]), (Some(2), message.into()));
    let message = "error: QEMU's machine virt is on no serial line\nhelp: say --board rpi4, or leave --serial out\n";
    assert_eq!(said(&["test", "--board", "qemu-virt", "--serial", "/dev/null"]), (Some(2), message.into()));

    let secret = scratch("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let name = secret.to_str().unwrap();
    let message = format!(
        "error: you may not use the serial line {name}\nhelp: become a member of the group that `ls -l {name}` shows, often by `sudo \
         usermod -aG dialout $USER`, and log in again\n"
    );
    match refused(&["run", "--serial", name], true) {
        Some(found) => assert_eq!(found, (Some(2), message)),
        None => eprintln!("SKIPPED: a line that may not be used: the tool is where nobody may start it"),
    }
    fs::remove_file(secret).unwrap();
}

#[test]
fn what_a_board_does_not_have_is_refused() {
    let line = pty();
    let path = line.path.to_str().unwrap();
    let said = |arguments: &[&str]| refused(&[arguments, &["--serial", path]].concat(), false).unwrap();
    let message = "error: there is no folder /no/folder to deliver to\nhelp: make it once by `cargo strato sd --board rpi4 --firmware DIR -o \
                   /no/folder`\n";
    assert_eq!(said(&["run", "--deliver", "/no/folder"]), (Some(2), message.into()));
    let message = "error: the board has to start 2 times, once for each scenario\nhelp: say by --reset-with COMMAND what makes it start, or \
                   name one scenario\n";
    assert_eq!(said(&["test", "faulty", "floats", "refused_el1"]), (Some(2), message.into()));
    let only_qemu = [
        &["run", "--explain"][..],
        &["test", "--gic", "2"],
        &["test", "--cores", "4"],
        &["test", "--counted"],
        &["bench", "--check"],
        &["bench", "--gic", "2"],
    ];
    for arguments in only_qemu {
        let (status, message) = said(arguments);
        assert!(status == Some(2) && message.contains("cannot be used with"), "{message}");
    }
}
