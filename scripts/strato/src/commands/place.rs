//! Where a system runs: on a machine that QEMU plays, or on a board. Called by the commands; `boot` runs it there.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{self, Machine};
use crate::exit::Usage;
use crate::qemu::tree::{self, Given};
use crate::qemu::{Qemu, Virt};
use crate::serial::{self, Line, deliver, fit, port::Port};
use crate::system::{Board, System};

/// Where a system runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// On a machine that QEMU plays.
    Qemu(Qemu, Virt),
    /// On a board, whose console is on a serial line.
    Board(Line),
}

impl Place {
    /// Returns its name in results.
    #[must_use]
    pub fn board(&self) -> String {
        match self {
            Self::Qemu(_, virt) => virt.board(),
            Self::Board(_) => serial::NAME.into(),
        }
    }

    /// Returns the number of its cores.
    #[must_use]
    pub fn cores(&self) -> u8 {
        match self {
            Self::Qemu(_, virt) => virt.cores,
            Self::Board(_) => serial::CORES,
        }
    }

    /// Returns whether a tick is an instruction there, and every run is the same.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Qemu(_, virt) if virt.is_counted)
    }

    /// Returns whether it is a Raspberry Pi 4, or plays one.
    #[must_use]
    pub fn is_rpi4(&self) -> bool {
        match self {
            Self::Qemu(_, virt) => virt.board == Board::Rpi4,
            Self::Board(_) => true,
        }
    }
}

/// Returns the place that the command line and the system ask for.
///
/// # Errors
/// [`Usage`]: options contradict each other, the system does not run there, or the serial line cannot be had;
/// [`Missing`](crate::exit::Missing): there is no QEMU, or it does not have the board.
pub fn of(asked: &Machine, serial: &cli::Serial, cores: Option<u8>, system: &System) -> anyhow::Result<Place> {
    let Some(line) = line(serial, asked.board)? else {
        let qemu = Qemu::find()?;
        let virt = machine_of(&qemu, asked, cores, system)?;
        return Ok(Place::Qemu(qemu, virt));
    };
    let only_qemu = [
        ("--gic", asked.gic.is_some()),
        ("--cpu", asked.cpu.is_some()),
        ("--device-tree", asked.device_tree.is_some()),
        ("--counted", asked.counted),
        ("--cores", cores.is_some_and(|cores| cores != serial::CORES)),
    ];
    if let Some((option, _)) = only_qemu.iter().find(|(_, is_said)| *is_said) {
        let what = format!("{option} is for machines that QEMU plays, and --serial is a board");
        return Err(Usage { what, fix: format!("leave {option} or --serial out") }.into());
    }
    if let Some(why) = fit::unfit(system) {
        let what = format!("`{}` does not run on a board: {why}", system.name);
        return Err(Usage { what, fix: "leave --serial out".into() }.into());
    }
    Ok(Place::Board(line))
}

/// Looks whether what the command line asks for can be had, before anything is built.
///
/// # Errors
/// As [`of`].
pub fn can_be_had(serial: &cli::Serial, board: Option<Board>) -> anyhow::Result<()> {
    match line(serial, board)? {
        Some(_) => Ok(()),
        None => Ok(Qemu::find().map(drop)?),
    }
}

/// Returns the serial line that is asked for, if one is; it was opened once, and so was the folder to deliver to.
///
/// # Errors
/// [`Usage`]: it cannot be had, or another board is asked for.
pub fn line(asked: &cli::Serial, board: Option<Board>) -> Result<Option<Line>, Usage> {
    let Some(device) = asked.serial.clone() else { return Ok(None) };
    if board == Some(Board::QemuVirt) {
        let what = "QEMU's machine virt is on no serial line".to_owned();
        return Err(Usage { what, fix: "say --board rpi4, or leave --serial out".into() });
    }
    drop(Port::open(&device, asked.baud)?);
    asked.deliver.as_deref().map_or(Ok(()), deliver::check)?;
    Ok(Some(Line {
        device,
        baud: asked.baud,
        deliver: asked.deliver.clone(),
        reset_with: asked.reset_with.clone(),
        patience: asked.patience.map(|seconds| Duration::from_secs(u64::from(seconds))),
        is_typed: false,
    }))
}

/// Returns the machine that the command line and the system ask for.
///
/// # Errors
/// [`Usage`]: the board does not have so many cores, or that interrupt controller; [`Missing`](crate::exit::Missing): this QEMU does not have the board.
pub fn machine_of(qemu: &Qemu, asked: &Machine, cores: Option<u8>, system: &System) -> anyhow::Result<Virt> {
    let wrong =
        |what: &str| Usage { what: what.to_owned(), fix: "leave the option out, or take --board qemu-virt".into() };
    let board = board_of(asked.board, system);
    let (gic, cores) = match board {
        Board::QemuVirt => (asked.gic.unwrap_or(3), cores.unwrap_or(system.cores)),
        Board::Rpi4 => {
            if asked.gic.is_some_and(|gic| gic != 2) {
                return Err(wrong("a Raspberry Pi 4 has a GICv2").into());
            }
            if cores.is_some_and(|cores| cores != 4) {
                return Err(wrong("a Raspberry Pi 4 has 4 cores").into());
            }
            qemu.needs_rpi4()?;
            (2, 4)
        }
    };
    let cpu = asked.cpu.clone().unwrap_or_else(|| system.cpu.into());
    let device_tree = given(board, asked.device_tree.as_ref())?;
    let (is_counted, reset, has_mini_uart) = (asked.counted, system.reset, system.has_mini_uart);
    Ok(Virt { board, gic, cores, cpu, device_tree, has_mini_uart, is_counted, is_traced: false, reset, gdb_port: None })
}

// A system for one board alone needs no option to get there.
fn board_of(asked: Option<Board>, system: &System) -> Board {
    asked.or(system.board).unwrap_or(Board::QemuVirt)
}

/// Returns which device tree `--device-tree` asks for.
///
/// # Errors
/// [`Usage`]: the board makes its own, or the file is none.
pub fn given(board: Board, asked: Option<&Option<PathBuf>>) -> Result<Given, Usage> {
    match asked {
        None => Ok(Given::Nothing),
        Some(_) if board != Board::Rpi4 => {
            let what = "QEMU's machine `virt` makes its own device tree".to_owned();
            Err(Usage { what, fix: "leave --device-tree out, or take --board rpi4".into() })
        }
        Some(None) => Ok(Given::Own),
        Some(Some(file)) => {
            let mut magic = [0; 4];
            let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
            match read {
                Ok(()) if magic == tree::MAGIC => Ok(Given::File(file.clone())),
                Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                    Err(no_tree(file, &format!("cannot be read: {error}")))
                }
                _ => Err(no_tree(file, "is no device tree: it does not begin with 0xd00dfeed")),
            }
        }
    }
}

fn no_tree(file: &Path, why: &str) -> Usage {
    let fix =
        "name a compiled device tree, such as bcm2711-rpi-4-b.dtb, or take --device-tree alone for one of this tool's";
    Usage { what: format!("{} {why}", file.display()), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{self, Source};

    #[test]
    fn a_system_for_one_board_alone_runs_there_unless_another_is_asked_for() {
        let board = |asked, key: &str| {
            let text = format!("[system]\n{key}\n[[vm]]\nname = \"a\"\nimage = \"hello\"\nmemory = \"1MiB\"\n");
            let source = Source { path: "a.toml".into(), text };
            board_of(asked, &system::parse(&source, Path::new("."), "a").unwrap())
        };
        assert_eq!(board(None, ""), Board::QemuVirt);
        assert_eq!(board(None, "board = \"rpi4\""), Board::Rpi4);
        assert_eq!(board(Some(Board::QemuVirt), "board = \"rpi4\""), Board::QemuVirt);
        assert_eq!(board(Some(Board::Rpi4), "board = \"qemu-virt\""), Board::Rpi4);
    }
}
