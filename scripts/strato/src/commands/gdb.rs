//! `strato gdb`: a system in QEMU, stopped before its first instruction, with a debugger that knows its symbols.
//! Called by `commands::run`.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::boot::{DeviceTree, Scratch};
use super::place::machine_of;
use super::{build, ready};
use crate::cli::Machine;
use crate::exit::{FAILED, PASSED};
use crate::project::Project;
use crate::qemu::{Qemu, Virt, on_path};
use crate::system::Board;

/// Where a machine loads the image: where its RAM begins, and the offset in the image's header.
fn load_address(board: Board) -> u64 {
    match board {
        Board::QemuVirt => 0x4008_0000,
        Board::Rpi4 => 0x8_0000,
    }
}

/// Starts the machine and the debugger; without a debugger on this system it says which command to give elsewhere.
///
/// # Errors
/// QEMU or the toolchain is missing, the system is refused, or a build failed.
pub fn gdb(project: &mut Project, system: &str, machine: &Machine, cores: Option<u8>) -> anyhow::Result<u8> {
    let qemu = Qemu::find()?;
    let ready = ready(project, system)?;
    let port = free_port()?;
    let virt = Virt { gdb_port: Some(port), ..machine_of(&qemu, machine, cores, &ready.system)? };
    let image = Scratch::new(&build::image(project, &ready, Some(virt.cores))?)?;
    let mut guests: Vec<PathBuf> = ready.images.iter().map(|loaded| loaded.file.clone()).collect();
    guests.dedup();
    let arguments = arguments(port, virt.board, &project.hypervisor()?, &guests);
    let tree = DeviceTree::of(&virt.device_tree)?;
    let mut command = qemu.command(&virt, ready.system.entered_at, image.path(), tree.path());
    let debuggers = ["gdb-multiarch", "aarch64-none-elf-gdb", "gdb"].into_iter().filter_map(on_path);
    let Some(debugger) = debuggers.into_iter().find(knows_aarch64) else {
        eprintln!(
            "no gdb for AArch64 here (Debian: apt-get install gdb-multiarch, on Debian 12 with -t bookworm-backports); the machine waits on port {port} for:\n"
        );
        eprintln!("  {}\n\nCtrl-C ends it.", shell("gdb-multiarch", &arguments));
        let status = command.status().context("cannot start QEMU")?;
        return Ok(if status.success() { PASSED } else { FAILED });
    };
    let serial = Scratch::new(b"")?;
    eprintln!("the serial line is written to {}", serial.path().display());
    let output = std::fs::File::create(serial.path()).context("cannot write the serial line")?;
    let _qemu = Ended(command.stdout(Stdio::from(output)).spawn().context("cannot start QEMU")?);
    let status = Command::new(debugger).args(arguments).status().context("cannot start gdb")?;
    Ok(if status.success() { PASSED } else { FAILED })
}

/// Returns whether a debugger does: one that a distribution has for its own machine alone starts, and fails at the first registers.
fn knows_aarch64(debugger: &PathBuf) -> bool {
    let asked = ["-nx", "-batch", "-ex", "set architecture aarch64", "-ex", "show architecture"];
    let answer = Command::new(debugger).args(asked).output();
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains("aarch64"))
}

/// A process that ends with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port on the loopback address")?;
    Ok(listener.local_addr()?.port())
}

fn arguments(port: u16, board: Board, hypervisor: &Path, guests: &[PathBuf]) -> Vec<OsString> {
    let mut commands = vec![
        "set architecture aarch64".to_owned(),
        format!("add-symbol-file {} -o {:#x}", hypervisor.display(), load_address(board)),
    ];
    // A guest's addresses are its own; its symbols are right while it runs.
    commands.extend(guests.iter().map(|guest| format!("add-symbol-file {}", guest.display())));
    commands.push(format!("target remote 127.0.0.1:{port}"));
    let mut arguments: Vec<OsString> = vec!["-q".into(), "-ex".into(), "set confirm off".into()];
    arguments.extend(commands.into_iter().flat_map(|command| ["-ex".into(), command.into()]));
    arguments
}

fn shell(program: &str, arguments: &[OsString]) -> String {
    let quoted = arguments.iter().map(|argument| {
        let text = argument.to_string_lossy();
        if text.contains(' ') { format!("'{text}'") } else { text.into_owned() }
    });
    [program.to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debugger_gets_both_kinds_of_symbols_and_the_port() {
        let line = |board| shell("gdb", &arguments(1234, board, Path::new("hyp"), &[PathBuf::from("hello")]));
        let expected = "gdb -q -ex 'set confirm off' -ex 'set architecture aarch64' -ex 'add-symbol-file hyp -o 0x40080000' \
                        -ex 'add-symbol-file hello' -ex 'target remote 127.0.0.1:1234'";
        assert_eq!(line(Board::QemuVirt), expected);
        assert_eq!(line(Board::Rpi4), expected.replace("0x40080000", "0x80000"));
    }
}
