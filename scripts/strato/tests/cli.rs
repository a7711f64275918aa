//! The program as a user meets it: exit status, where messages go, what help says. Needs neither QEMU nor a target.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn strato(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    command.args(arguments).env_remove("STRATO_QEMU").current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_broken_system_file_gives_status_2_and_its_line() {
    let output = strato(&["check", "tests/bad/unknown_key.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output.stderr).contains("tests/bad/unknown_key.toml:5:1"), "{}", said(&output.stderr));
    assert_eq!(said(&output.stdout), "");
}

#[test]
fn without_a_terminal_messages_have_no_colors() {
    assert!(!said(&strato(&["check", "tests/bad/unknown_key.toml"]).stderr).contains('\u{1b}'));
}

#[test]
fn an_unknown_system_gives_status_2_and_a_suggestion() {
    let output = strato(&["check", "dmeo"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said(&output.stderr), "error: there is no system `dmeo`\nhelp: did you mean `demo`?\n");
    let far = said(&strato(&["check", "nosuchthing"]).stderr);
    assert!(far.contains("such as demo, or an example: address_spaces, ") && far.ends_with("yielder\n"), "{far}");
}

#[test]
fn a_path_that_leads_nowhere_is_called_a_file_and_gives_status_2() {
    for path in ["/no/such/system.toml", "src"] {
        let output = strato(&["check", &format!("./{path}")]);
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output.stderr);
        assert!(
            said.starts_with(&format!("error: there is no system file ./{path}\nhelp: give the path of")),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_is_no_device_tree_gives_status_2_and_what_to_do() {
    for (file, why) in [("/no/such.dtb", "cannot be read: No such file"), ("Cargo.toml", "is no device tree: ")] {
        let output = strato(&["test", "hello", "--board", "rpi4", &format!("--device-tree={file}")]);
        let (status, said) = (output.status.code(), said(&output.stderr));
        assert!(status == Some(2) && said.starts_with(&format!("error: {file} {why}")), "{status:?} {said}");
        assert!(said.contains("\nhelp: name a compiled device tree"), "{said}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_refused_before_anything_runs() {
    for (option, file) in [("-o", "no/such/trace.json"), ("--svg", "tests")] {
        let output = strato(&["trace", "nosuchsystem", option, file]);
        let (status, said) = (output.status.code(), said(&output.stderr));
        assert!(status == Some(2) && said.starts_with(&format!("error: cannot write {file}: ")), "{status:?} {said}");
        assert!(said.contains("\nhelp: name a file in a folder that is there"), "{said}");
    }
    let there = std::env::temp_dir().join(format!("strato-trace-{}", std::process::id()));
    let new = there.with_extension("svg");
    std::fs::write(&there, "as it was").unwrap();
    let output = strato(&["trace", "nosuchsystem", "-o", there.to_str().unwrap(), "--svg", new.to_str().unwrap()]);
    assert!(said(&output.stderr).starts_with("error: there is no system"), "{}", said(&output.stderr));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "as it was");
    assert!(!new.exists(), "nothing is left of the try");
    std::fs::remove_file(&there).unwrap();
}

#[test]
fn a_ring_of_no_size_says_what_would_be_one() {
    let said = said(&strato(&["run", "--explain", "--ring", "abc"]).stderr);
    assert!(said.contains("is not a size: write a power of two from 4KiB to 64MiB"), "{said}");
}

#[test]
fn an_unknown_command_gives_status_2() {
    assert_eq!(strato(&["rnu"]).status.code(), Some(2));
    assert_eq!(strato(&["run", "--gic", "4"]).status.code(), Some(2));
    assert_eq!(strato(&["run", "--cores", "9"]).status.code(), Some(2));
    assert_eq!(strato(&[]).status.code(), Some(2));
}

#[test]
fn a_missing_qemu_gives_status_69_and_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    let output = command.arg("run").env("STRATO_QEMU", "/no/such/qemu").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(said(&output.stderr).contains("STRATO_QEMU names /no/such/qemu, which is not there\nhelp: "));
    let empty = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    let output = command.arg("test").env("PATH", empty).env_remove("STRATO_QEMU").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(said(&output.stderr).contains("qemu-system-aarch64 is not installed\nhelp: install it with `"));
}

#[test]
fn a_qemu_without_the_options_of_the_machine_gives_status_69_and_what_to_do() {
    // A program that runs, ends well and knows nothing of machines: as good as one that is too old.
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    let output = command.arg("run").env("STRATO_QEMU", env!("CARGO_BIN_EXE_strato")).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(
        said(&output.stderr).contains("is too old, or does not run\nhelp: install it with `"),
        "{}",
        said(&output.stderr)
    );
}

#[test]
fn help_shows_every_command_and_examples() {
    let help = said(&strato(&["--help"]).stdout);
    for word in [
        "build",
        "check",
        "pack",
        "run",
        "test",
        "bench",
        "size",
        "trace",
        "gdb",
        "sd",
        "doctor",
        "lint",
        "Examples:",
        "Exit status:",
    ] {
        assert!(help.contains(word), "no `{word}` in\n{help}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_tool_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    let output = command.args(["lint", "--source-only"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), said(&output.stderr)), (Some(141), String::new()));
}
