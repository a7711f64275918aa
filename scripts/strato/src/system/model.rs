//! A system as its file describes it, all names resolved: VMs, channels, regions, peers, expectations.
//! Owns the types; `manifest` fills them, `check` holds their rules, `pack` and `scenario` read them.

use std::path::PathBuf;

use strato_abi::board::Map;

use super::board::Board;
use super::device::Device;
use super::problem::{At, Span};
use super::restart::Restart;
use crate::pack::damage::Damage;

/// A whole system.
#[derive(Clone, Debug)]
pub struct System {
    /// Name in lists and messages.
    pub name: String,
    /// Seconds after which a run is stopped as failed.
    pub time_limit_s: u32,
    /// Whether tests also run it with two cores.
    pub is_smp: bool,
    /// Whether tests take it on request alone, since it takes minutes.
    pub is_long: bool,
    /// The board that tests run it on, if it is not for every one.
    pub board: Option<Board>,
    /// Cores of a plain `strato run`.
    pub cores: u8,
    /// CPU model, unless the command line names one.
    pub cpu: &'static str,
    /// Whether `strato test` runs it.
    pub is_test: bool,
    /// Whether `strato test` also counts its instructions, twice, and the numbers have to agree.
    pub is_counted: bool,
    /// Whether boot says where everything stands, and guests' addresses are followed to physical memory.
    pub is_followed: bool,
    /// Least important log level shown: 1 error to 5 trace.
    pub log_level: u32,
    /// Time slice of equal priorities, in microseconds.
    pub slice_us: u32,
    /// Whether every guest may read the cores' cycle counters.
    pub has_cycle_counter: bool,
    /// Seconds of the board's watchdog, 0 for none, if the file says; a card has one otherwise.
    pub watchdog_s: Option<u32>,
    /// Whether the console of a Raspberry Pi 4 is its mini UART.
    pub has_mini_uart: bool,
    /// The exception level that the image is entered at; boot refuses all but EL2.
    pub entered_at: Level,
    /// What is damaged in the packed image, and has to be noticed by this name.
    pub damage: Option<Damage>,
    /// Whether tests reset the machine when it first powers off, and what that shows.
    pub reset: Option<Reset>,
    /// VMs in the order of the file; the place in this list is the VM's number.
    pub vms: Vec<Vm>,
    /// Event channels.
    pub channels: Vec<Channel>,
    /// Shared regions.
    pub regions: Vec<Region>,
    /// Declared peers.
    pub peers: Vec<Peer>,
    /// Devices of boards that VMs are assigned.
    pub devices: Vec<Device>,
    /// What a run has to show.
    pub expect: Expect,
}

/// What a machine that is reset after its first power-off has of the lines that were said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It says the last of them again.
    Kept,
    /// Its memory is written over on the way: it says none.
    Spoiled,
    /// It had ended in good order: it says none.
    Done,
    /// Its watchdog runs, which resets QEMU's `raspi4b` at once, before any guest: it says them again, and is ended then.
    Armed,
}

/// An exception level at which a machine may enter the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As on a machine without virtualization.
    El1,
    /// As it has to be.
    El2,
    /// As on a machine without firmware.
    El3,
}

impl Level {
    /// Returns how boot's only line begins when it refuses this level.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::El1 => Some("strato: entered at EL1, but it must be entered at EL2"),
            Self::El2 => None,
            Self::El3 => Some("strato: entered at EL3, but it must be entered at EL2"),
        }
    }
}

/// Where a VM's image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    /// A package of this workspace that cargo builds.
    Package(String),
    /// An ELF file.
    Path(PathBuf),
}

/// One VM.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its name, 1 to 31 of `[a-z0-9_-]`.
    pub label: At<String>,
    /// Its image.
    pub image: At<ImageRef>,
    /// Bytes of `ram`.
    pub memory: At<u64>,
    /// vCPUs, 1 to 8.
    pub vcpus: u16,
    /// Priority, 0 to 31.
    pub priority: u8,
    /// Home cores of its vCPUs in turn; empty leaves it to the hypervisor.
    pub cores: Vec<u8>,
    /// Command line.
    pub command_line: String,
    /// Whether FP and SIMD may be used.
    pub has_fp: bool,
    /// Whether mappings may be writable and executable at once.
    pub is_jit: bool,
    /// Whether the guest runs stage 1 of the translation itself.
    pub is_native: bool,
    /// Whether entries to the hypervisor are guarded against the guest's branch history; the core decides where this is silent.
    pub is_guarded: Option<bool>,
    /// Entries of the handle table.
    pub handles: At<u64>,
    /// Timers that it can have set at once, 0 to 32.
    pub timers: u8,
    /// Bytes that the VM may own beyond `ram` and its regions: tables and bookkeeping.
    pub quota: u64,
    /// One bitmap of allowed calls for each of groups 0 to 7.
    pub calls: [u32; 8],
    /// Whether what is typed on the console is for this VM.
    pub has_console_input: bool,
    /// When it is made again.
    pub restart: Restart,
    /// Shares of cores' time that are its.
    pub scheds: Vec<Sched>,
    /// How it has to end.
    pub expect: Outcome,
}

/// A share of a core's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sched {
    /// Name of the handle.
    pub name: At<String>,
    /// The core, 0 to 7.
    pub core: u8,
    /// Microseconds of each period.
    pub budget_us: At<u64>,
    /// Microseconds of a period.
    pub period_us: u64,
    /// The highest priority of those that run by it.
    pub priority: u8,
    /// vCPUs that run by it from the start.
    pub vcpus: Vec<u8>,
    /// Where they stand.
    pub vcpus_span: Span,
}

/// How a VM ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code; 0 is ok.
    Exited(u64),
    /// The hypervisor stopped it, or it panicked.
    Stopped,
}

/// One end of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of the VM.
    pub vm: usize,
    /// Name of the port in that VM.
    pub port: String,
    /// vCPU that the port is bound to.
    pub vcpu: u16,
}

/// An event channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// One end.
    pub a: At<End>,
    /// The other end.
    pub b: At<End>,
}

/// A shared region.
#[derive(Clone, Debug)]
pub struct Region {
    /// Name of the handle in every VM that has one.
    pub name: At<String>,
    /// Bytes.
    pub size: At<u64>,
    /// Number of the VM that it is charged to.
    pub owner: usize,
    /// Who may see it.
    pub grants: Vec<Grant>,
}

/// A VM's part in a shared region.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The VM.
    pub vm: At<usize>,
    /// Bits of [`strato_abi::Rights`], without `OWNER`.
    pub rights: At<u16>,
    /// Where it is mapped at the start.
    pub address: Option<At<u64>>,
}

/// VM `of` gets a handle to VM `to`, by its name.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Number of the VM that gets the handle.
    pub of: usize,
    /// Number of the VM that the handle names.
    pub to: usize,
    /// Where it is declared.
    pub span: Span,
}

/// What a run has to show besides the outcome of each VM.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Lines of guests: VM and text, in this order for each VM; `*` stands for anything.
    pub lines: Vec<(usize, String)>,
    /// Such lines of counted runs alone: what hangs on time is the same there each time.
    pub counted: Vec<(usize, String)>,
    /// Parts of hypervisor lines, in any order.
    pub hypervisor: Vec<String>,
    /// Parts of lines that were said before a reset and are said again behind it, in this order.
    pub before: Vec<String>,
    /// Whole hypervisor lines; what stands for `*` in one is found in no other.
    pub different: Vec<String>,
    /// What a guest's report of a panic leads to: VM and part of `function at file:line`, in this order for each VM.
    pub frames: Vec<(usize, String)>,
}

impl System {
    /// Returns the label of a VM, or `?`.
    #[must_use]
    pub fn label(&self, vm: usize) -> &str {
        self.vms.get(vm).map_or("?", |vm| vm.label.value.as_str())
    }

    /// Returns the number of the VM with that label.
    #[must_use]
    pub fn find(&self, label: &str) -> Option<usize> {
        self.vms.iter().position(|vm| vm.label.value == label)
    }

    /// Returns the devices of a VM on a board.
    pub fn devices_of(&self, vm: usize, board: &'static Map) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(move |device| device.vm == vm && device.board == board)
    }

    /// Returns the bytes of the regions that a VM owns.
    #[must_use]
    pub fn region_bytes(&self, owner: usize) -> u64 {
        self.regions.iter().filter(|region| region.owner == owner).map(|region| region.size.value).sum()
    }
}
