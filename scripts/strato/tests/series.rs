//! A series of systems on `raspi4b`, and on `virt` with its own way to be reset, from its first boot to the printed report: every way in which a system can end. It needs QEMU and the
//! bare-metal targets, so that it is built with the feature `qemu` alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use strato_cli::commands::selftest;
use strato_cli::machine::End;
use strato_cli::machine::session::{self, Heard};
use strato_cli::project::Project;
use strato_cli::qemu::process::Process;
use strato_cli::qemu::tree::Given;
use strato_cli::qemu::{Qemu, Virt};
use strato_cli::system::{Board, Level};

/// The hypervisor's report of a refused access, which of these systems `panics` alone comes to.
const REPORT: &str = "strato_hyp::interpreter::report::abort";
const BRK: &[u32] = &[0xd420_0000];

/// Resets the machine, as a watchdog would.
fn reset(monitor: &Path) {
    let line = UnixStream::connect(monitor).unwrap();
    let mut answers = BufReader::new(line.try_clone().unwrap()).lines();
    for command in ["qmp_capabilities", "system_reset"] {
        answers.next().unwrap().unwrap();
        writeln!(&line, "{{\"execute\":\"{command}\"}}").unwrap();
    }
    answers.next().unwrap().unwrap();
}

/// Runs `image` with its resets, and returns what it says. It is reset `resets` times where it hangs.
fn run(machine: &Virt, image: &[u8]) -> Vec<String> {
    let folder = std::env::temp_dir();
    let [file, monitor] = ["img", "qmp"].map(|end| folder.join(format!("strato-series-{}.{end}", std::process::id())));
    std::fs::write(&file, image).unwrap();
    let mut command = Command::new(Qemu::find().unwrap().command(machine, Level::El2, &file, None).get_program());
    command.args(machine.arguments(Level::El2).into_iter().filter(|argument| argument != "-no-reboot"));
    command.arg("-kernel").arg(&file).stdin(Stdio::null());
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
    let (mut lines, mut is_hung) = (Vec::new(), false);
    let mut process = Process::start(command, None).unwrap();
    let end = session::run(&mut process, Duration::from_secs(300), |heard| {
        let Heard::Line(line) = heard else { return ControlFlow::Continue(()) };
        // What was said before a reset is said again, with that mark.
        if !line.starts_with("strato: before: ") {
            lines.push(line.to_owned());
        }
        is_hung |= line == "strato: self-test: 6 of 7: hangs";
        if is_hung && line == "[two] I am the neighbor" {
            is_hung = false;
            reset(&monitor);
        }
        ControlFlow::Continue(())
    });
    std::fs::remove_file(&file).unwrap();
    let _ = std::fs::remove_file(&monitor);
    let text = lines.join("\n");
    assert!(matches!(end.unwrap(), End::PoweredOff { .. }), "{text}");
    lines
}

#[test]
fn every_end_of_a_system_is_in_the_report_and_the_next_has_its_turn() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/series");
    let systems = ["passes", "exits", "stops", "panics", "takes_long", "hangs"];
    let paths: Vec<PathBuf> = systems.iter().map(|name| folder.join(format!("{name}.toml"))).collect();
    let mut project = Project::find().unwrap();
    let last = project.system("bench_cycles").unwrap();
    let elf = std::fs::read(project.hypervisor().unwrap()).unwrap();
    let image =
        selftest::image(&mut project, &paths, &last, (4, |_| 0), |hypervisor| hypervisor.overwrite(&elf, REPORT, BRK))
            .unwrap();
    for (board, gic, says) in [
        (Board::Rpi4, 2, "strato: board rpi4, 4 cores, 947 MiB, GICv2, no PSCI"),
        (Board::QemuVirt, 3, "strato: board qemu-virt, 4 cores, 512 MiB, GICv3, PSCI 1.1"),
    ] {
        look(board, gic, &image, says);
    }
}

/// Looks at what `image` says on a machine whose board says this of itself.
fn look(board: Board, gic: u8, image: &[u8], says: &str) {
    let machine = Virt {
        board,
        gic,
        cores: 4,
        cpu: "cortex-a72".into(),
        device_tree: Given::Nothing,
        has_mini_uart: false,
        is_counted: false,
        is_traced: false,
        reset: None,
        gdb_port: None,
    };
    let lines = run(&machine, image);
    let text = lines.join("\n");
    let begins = lines.iter().position(|line| line == "strato: self-test: report begins");
    let report: Vec<&str> = lines[begins.unwrap_or_else(|| panic!("{text}"))..].iter().map(String::as_str).collect();
    for line in [
        says,
        "strato: self-test: ABI 1.2, counter 62500000 Hz, firmware not told",
        "strato: self-test: core 0: MIDR 0x410fd083, REVIDR 0x0",
        "strato: self-test: core 3: MIDR 0x410fd083, REVIDR 0x0",
        "strato: self-test: passes: passed",
        "strato: self-test: exits: failed: vm 1 ended with exit code 1",
        "strato: self-test: stops: failed: vm 0 was stopped",
        "strato: self-test: panics: failed: the hypervisor panicked",
        "strato: self-test: takes_long: failed: it did not end in time",
        "strato: self-test: hangs: failed: it never ended, at try 3",
        "strato: self-test: 1 passed, 5 failed",
        "strato: self-test: passed",
    ] {
        assert!(report.contains(&line), "{line} is missing:\n{text}");
    }
    assert!(report.iter().any(|line| line.starts_with("[a] cycles null_call ")), "{text}");
    assert_eq!(report.last(), Some(&"strato: self-test: report ends"), "{text}");
    let begun = |name: &str| lines.iter().filter(|line| line.ends_with(&format!(": {name}"))).count();
    assert_eq!(["passes", "panics", "takes_long", "hangs", "bench_cycles"].map(begun), [1, 1, 1, 3, 1], "{text}");
}
