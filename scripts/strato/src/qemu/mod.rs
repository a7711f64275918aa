//! Room `qemu`: finds QEMU, says how to install it, knows its command line, runs it under a time limit.
//! Never reads what the serial line says. QEMU never runs with semihosting: a guest could end it and write files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exit::Missing;
use crate::system::{Board, Level, Reset};

pub mod led;
pub mod monitor;
pub mod process;
pub mod tree;

/// The program that is looked for.
pub const PROGRAM: &str = "qemu-system-aarch64";

/// Where an image that is entered at EL3 stands: in RAM, clear of the device tree.
const EL3_ADDRESS: u64 = 0x5000_0000;

/// A QEMU that was found and probed.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
}

impl Qemu {
    /// Returns the QEMU that `STRATO_QEMU` names, else the one on `PATH`.
    ///
    /// # Errors
    /// [`Missing`]: there is none, or it is too old for the machine that Strato needs.
    pub fn find() -> Result<Self, Missing> {
        let named = std::env::var_os("STRATO_QEMU").filter(|value| !value.is_empty()).map(PathBuf::from);
        let program = match named {
            Some(path) if path.is_file() => path,
            Some(path) => {
                let what = format!("STRATO_QEMU names {}, which is not there", path.display());
                return Err(Missing { what, fix: "correct the path, or unset STRATO_QEMU".into() });
            }
            None => on_path(PROGRAM).ok_or_else(|| missing(format!("{PROGRAM} is not installed")))?,
        };
        // The machine's options tell more than a version number: distributions patch.
        let output = Command::new(&program).args(["-M", "virt,help"]).stdin(Stdio::null()).output();
        let help = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        if ["dtb-randomness", "virtualization", "gic-version"].iter().any(|option| !help.contains(option)) {
            return Err(missing(format!("{} is too old, or does not run", program.display())));
        }
        Ok(Self { program })
    }

    /// Looks for the machine `raspi4b`.
    ///
    /// # Errors
    /// [`Missing`]: QEMU has it since version 9.0.
    pub fn needs_rpi4(&self) -> Result<(), Missing> {
        let output = Command::new(&self.program).args(["-M", "help"]).stdin(Stdio::null()).output();
        let list = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        if list.lines().any(|line| line.starts_with("raspi4b ")) {
            return Ok(());
        }
        Err(missing(format!("{} has no machine raspi4b, which came with version 9.0", self.program.display())))
    }

    /// Returns the command that boots `image` on `machine`, entered at a level, with the device tree of a file, if any.
    #[must_use]
    pub fn command(&self, machine: &Virt, entered_at: Level, image: &Path, tree: Option<&Path>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(machine.arguments(entered_at)).stdin(Stdio::null());
        if let Some(tree) = tree {
            command.arg("-dtb").arg(tree);
        }
        match entered_at {
            Level::El1 | Level::El2 => command.arg("-kernel").arg(image),
            // QEMU's boot code would go down to EL2; a bare image is entered as the core comes out of reset.
            Level::El3 => {
                let place = format!("addr={EL3_ADDRESS:#x},cpu-num=0,force-raw=on");
                command.arg("-device").arg(format!("loader,file={},{place}", image.display()))
            }
        };
        command
    }
}

/// Returns the file that `program` means on `PATH`.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn missing(what: String) -> Missing {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let fix =
        format!("install it with `{}`, or run scripts/run, which does; STRATO_QEMU names another", install(&release));
    Missing { what, fix }
}

/// Returns the command that installs QEMU on the system that `release` (the text of os-release) describes.
#[must_use]
pub fn install(release: &str) -> &'static str {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"')
    };
    let family = format!(" {} {} ", value("ID"), value("ID_LIKE"));
    let is = |name: &str| family.contains(&format!(" {name} "));
    if value("VERSION_CODENAME") == "bookworm" {
        "apt-get install -t bookworm-backports --no-install-recommends qemu-system-arm"
    } else if is("debian") || is("ubuntu") {
        "apt-get install --no-install-recommends qemu-system-arm"
    } else if is("fedora") || is("rhel") {
        "dnf install qemu-system-aarch64-core"
    } else if is("arch") {
        "pacman -S qemu-system-aarch64"
    } else if is("suse") || is("opensuse") {
        "zypper install qemu-arm"
    } else {
        "brew install qemu"
    }
}

/// A machine of QEMU's as Strato boots on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virt {
    /// Which one.
    pub board: Board,
    /// Version of the interrupt controller: 2 or 3.
    pub gic: u8,
    /// Number of cores.
    pub cores: u8,
    /// CPU model.
    pub cpu: String,
    /// Which device tree it is given.
    pub device_tree: tree::Given,
    /// Whether the console is the mini UART of a Raspberry Pi 4, which is that machine's second serial line.
    pub has_mini_uart: bool,
    /// Whether a tick is an instruction and every run is the same.
    pub is_counted: bool,
    /// Whether its memory is read at the end, by its monitor.
    pub is_traced: bool,
    /// Whether it is reset when it first powers off, and what is done to its memory then.
    pub reset: Option<Reset>,
    /// Port of the debugger's stub on the loopback address; the machine waits for it.
    pub gdb_port: Option<u16>,
}

impl Virt {
    /// Returns the board's name in results: `virt-gicv3`.
    #[must_use]
    pub fn board(&self) -> String {
        match self.board {
            Board::QemuVirt => format!("virt-gicv{}", self.gic),
            Board::Rpi4 if self.device_tree == tree::Given::Nothing => "rpi4".into(),
            Board::Rpi4 => "rpi4-dtb".into(),
        }
    }

    /// Returns whether the machine has a [`monitor`] to tell what it executed, or what is in its memory. One with a debugger is the debugger's.
    #[must_use]
    pub fn has_monitor(&self) -> bool {
        (self.is_counted || self.is_traced || self.reset.is_some()) && self.gdb_port.is_none()
    }

    /// Returns where the hypervisor keeps what survives a reset (`hyp/src/board`).
    const fn retained(&self) -> u64 {
        match self.board {
            Board::QemuVirt => 0x4007_0000,
            Board::Rpi4 => 0x0b00_0000,
        }
    }

    /// Returns the arguments, all but the image.
    #[must_use]
    pub fn arguments(&self, entered_at: Level) -> Vec<String> {
        let levels = match entered_at {
            Level::El1 => "",
            Level::El2 => "virtualization=on,",
            Level::El3 => "virtualization=on,secure=on,",
        };
        let machine = format!("virt,{levels}gic-version={},dtb-randomness=off", self.gic);
        let clock = if self.is_counted { ",cntfrq=1000000000" } else { "" };
        let (cpu, cores) = (format!("{}{clock}", self.cpu), self.cores.to_string());
        let mut arguments: Vec<String> = match self.board {
            Board::QemuVirt => ["-M", &machine, "-cpu", &cpu, "-m", "512", "-smp", &cores].map(Into::into).to_vec(),
            Board::Rpi4 => ["-M", "raspi4b", "-cpu", &cpu].map(Into::into).to_vec(),
        };
        // Without -nodefaults QEMU stops on the missing ROM of a network card.
        // The standard input is the monitor's, if there is one.
        let serial = if self.has_monitor() { "file:/dev/stdout" } else { "stdio" };
        arguments.extend(["-nodefaults", "-display", "none", "-monitor", "none"].map(Into::into));
        let is_second = self.has_mini_uart && self.board == Board::Rpi4;
        arguments.extend(is_second.then_some(["-serial", "null"]).into_iter().flatten().map(Into::into));
        arguments.extend(["-serial", serial, "-no-reboot"].map(Into::into));
        if self.has_monitor() {
            arguments.extend(monitor::ARGUMENTS.map(Into::into));
        }
        if let Some(reset) = self.reset.filter(|_| self.has_monitor()) {
            // Such a device writes at each reset.
            let place = self.retained();
            let spoiler = format!("loader,addr={place:#x},data=0,data-len=8");
            arguments.extend((reset == Reset::Spoiled).then_some(["-device".into(), spoiler]).into_iter().flatten());
        }
        if self.is_counted {
            arguments.extend(["-icount", "shift=0,align=off,sleep=off"].map(Into::into));
        }
        if let Some(port) = self.gdb_port {
            arguments.extend(["-S".into(), "-gdb".into(), format!("tcp:127.0.0.1:{port}")]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests;
