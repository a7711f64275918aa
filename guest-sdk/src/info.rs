//! The info page as types: label, RAM, command line, handles by name. Read-only, no call; broken tables are found once.

use ::core::fmt;
use ::core::ops::Range;

use strato_abi::handle::Kind;
use strato_abi::info_page::{GroupEntry, HandleEntry, InfoPage, MAGIC, TableRef};
use strato_abi::version::{ABI_VERSION, major};
use strato_abi::{Group, Handle, Ipa, IrqHandle, MemHandle, PeerHandle, PortHandle, Rights, SchedHandle};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What a VM is told about itself: the header of the info page with the tables behind it.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    header: InfoPage,
    tables: [u8],
}

/// What is wrong with an info page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenInfo {
    /// It is shorter than its header, or than it says.
    Short,
    /// It does not begin with the magic number.
    Magic,
    /// Its ABI version has another major number; the version.
    Version(u32),
    /// A table leaves the page or has entries that are too small; its name.
    Table(&'static str),
    /// The command line is not UTF-8.
    CommandLine,
}

impl fmt::Display for BrokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("info page: shorter than it says"),
            Self::Magic => f.write_str("info page: wrong magic number"),
            Self::Version(version) => write!(f, "info page: of ABI version {version:#x}"),
            Self::Table(name) => write!(f, "info page: table of {name} is broken"),
            Self::CommandLine => f.write_str("info page: command line is not UTF-8"),
        }
    }
}

impl ::core::error::Error for BrokenInfo {}

/// A handle that the manifest does not give this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing<'n> {
    kind: Kind,
    name: &'n str,
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the manifest gives this VM no {:?} named \"{}\"", self.kind, self.name)
    }
}

impl ::core::error::Error for Missing<'_> {}

/// A Mem object held at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    /// The handle.
    pub handle: MemHandle,
    /// What it may be mapped with.
    pub rights: Rights,
    /// Bytes.
    pub size: u64,
    /// Where it is mapped at the start, if it is.
    pub address: Option<Ipa>,
}

/// Registers of a device that this VM is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The handle, which AS.MAP takes as it takes memory.
    pub handle: MemHandle,
    /// Bytes.
    pub size: u64,
}

/// Returns the info page of this VM.
///
/// # Panics
/// On a PC, where there is none.
#[must_use]
#[allow(clippy::panic, reason = "entry checks the page before anything else of the guest runs")]
pub fn get() -> &'static Info {
    match Info::ref_from_bytes(crate::arch::info_bytes()) {
        Ok(info) => info,
        Err(_) => panic!("there is no info page"),
    }
}

fn text(padded: &[u8]) -> &str {
    let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
    padded.get(..end).and_then(|bytes| ::core::str::from_utf8(bytes).ok()).unwrap_or("")
}

/// A share of a core's time that the manifest reserves for this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sched {
    /// Its handle.
    pub handle: SchedHandle,
    /// Ticks of CNTVCT_EL0 in each period.
    pub budget_ticks: u64,
    /// Ticks of a period.
    pub period_ticks: u64,
}

impl Info {
    /// Returns the info page in `bytes`, of which every table was checked.
    ///
    /// # Errors
    /// What is broken first.
    pub fn check(bytes: &[u8]) -> Result<&Self, BrokenInfo> {
        let info = Self::ref_from_bytes(bytes).map_err(|_| BrokenInfo::Short)?;
        let header = &info.header;
        if header.magic != MAGIC {
            return Err(BrokenInfo::Magic);
        }
        if major(header.version) != major(ABI_VERSION) {
            return Err(BrokenInfo::Version(header.version));
        }
        let total = header.total_size as usize;
        if (header.header_size as usize) < size_of::<InfoPage>()
            || header.header_size > header.total_size
            || total > bytes.len()
        {
            return Err(BrokenInfo::Short);
        }
        for (name, table, least) in [
            ("groups", header.groups, size_of::<GroupEntry>()),
            ("handles", header.handles, size_of::<HandleEntry>()),
            ("the command line", header.command_line, 1),
        ] {
            if info.table(table, least).is_none() {
                return Err(BrokenInfo::Table(name));
            }
        }
        match info.command_line_bytes().map(::core::str::from_utf8) {
            Some(Ok(_)) => Ok(info),
            _ => Err(BrokenInfo::CommandLine),
        }
    }

    /// Returns the bytes of a table whose entries have at least `least` bytes, or `None` when it is broken.
    fn table(&self, table: TableRef, least: usize) -> Option<&[u8]> {
        if table.count == 0 {
            return Some(&[]);
        }
        let stride = usize::from(table.stride);
        let end = (self.header.total_size as usize).checked_sub(size_of::<InfoPage>())?;
        let start = (table.offset as usize).checked_sub(size_of::<InfoPage>())?;
        let bytes = stride.checked_mul(usize::from(table.count))?;
        let within = self.tables.get(..end)?.get(start..)?.get(..bytes)?;
        (stride >= least).then_some(within)
    }

    fn entries<T: FromBytes>(&self, table: TableRef) -> impl Iterator<Item = T> {
        let bytes = self.table(table, size_of::<T>()).unwrap_or(&[]);
        let stride = usize::from(table.stride).max(1);
        bytes.chunks_exact(stride).filter_map(|entry| T::read_from_prefix(entry).ok()).map(|(entry, _)| entry)
    }

    fn command_line_bytes(&self) -> Option<&[u8]> {
        // The command line is a table of bytes; whatever its stride says, they are adjacent.
        self.table(TableRef { stride: 1, ..self.header.command_line }, 1)
    }

    /// Returns the header as the contract lays it out.
    #[must_use]
    pub const fn header(&self) -> &InfoPage {
        &self.header
    }

    /// Returns the VM's name in the manifest.
    #[must_use]
    pub fn label(&self) -> &str {
        text(&self.header.label)
    }

    /// Returns the addresses of the memory `ram`, of which only the image is mapped at the start.
    #[must_use]
    pub const fn ram(&self) -> Range<u64> {
        self.header.ram_base..self.header.ram_base.saturating_add(self.header.ram_size)
    }

    /// Returns how many vCPUs this VM may run.
    #[must_use]
    pub const fn vcpus(&self) -> usize {
        self.header.vcpus as usize
    }

    /// Returns the ticks of CNTVCT_EL0 in a second.
    #[must_use]
    pub const fn counter_hz(&self) -> u64 {
        self.header.counter_hz
    }

    /// Returns the command line.
    #[must_use]
    pub fn command_line(&self) -> &str {
        self.command_line_bytes().and_then(|bytes| ::core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Returns the value of `name=value` in the command line, the last one if there are several.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let words = self.command_line().split_ascii_whitespace().rev();
        words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns the version of a group and the bitmap of its calls that this VM may make, or `None` when it is not there.
    #[must_use]
    pub fn group(&self, group: Group) -> Option<GroupEntry> {
        self.entries::<GroupEntry>(self.header.groups).find(|entry| entry.group == group as u16)
    }

    /// Returns the handles held at the start, with what the manifest says about them.
    pub fn handles(&self) -> impl Iterator<Item = HandleEntry> {
        self.entries(self.header.handles)
    }

    fn find<'n>(&self, kind: Kind, name: &'n str) -> Result<HandleEntry, Missing<'n>> {
        let mut handles = self.handles();
        handles.find(|entry| entry.kind == kind as u16 && text(&entry.name) == name).ok_or(Missing { kind, name })
    }

    /// Returns the port of this name.
    ///
    /// # Errors
    /// The manifest gives this VM no such port.
    pub fn port<'n>(&self, name: &'n str) -> Result<PortHandle, Missing<'n>> {
        self.find(Kind::Port, name).map(|entry| PortHandle(Handle::from_bits(entry.handle)))
    }

    /// Returns the registers of the device of this name.
    ///
    /// # Errors
    /// The manifest gives this VM no such device on this board.
    pub fn device<'n>(&self, name: &'n str) -> Result<Registers, Missing<'n>> {
        self.find(Kind::Device, name)
            .map(|entry| Registers { handle: MemHandle(Handle::from_bits(entry.handle)), size: entry.size })
    }

    /// Returns the device interrupt of this name.
    ///
    /// # Errors
    /// The manifest gives this VM no such interrupt on this board.
    pub fn irq<'n>(&self, name: &'n str) -> Result<IrqHandle, Missing<'n>> {
        self.find(Kind::Irq, name).map(|entry| IrqHandle(Handle::from_bits(entry.handle)))
    }

    /// Returns the share of a core's time of this name.
    ///
    /// # Errors
    /// The manifest gives this VM no such share.
    pub fn sched<'n>(&self, name: &'n str) -> Result<Sched, Missing<'n>> {
        let entry = self.find(Kind::Sched, name)?;
        let handle = SchedHandle(Handle::from_bits(entry.handle));
        Ok(Sched { handle, budget_ticks: entry.size, period_ticks: entry.address })
    }

    /// Returns the peer of this name.
    ///
    /// # Errors
    /// The manifest gives this VM no such peer.
    pub fn peer<'n>(&self, name: &'n str) -> Result<PeerHandle, Missing<'n>> {
        self.find(Kind::Peer, name).map(|entry| PeerHandle(Handle::from_bits(entry.handle)))
    }

    /// Returns the Mem object of this name; every VM has `ram`.
    ///
    /// # Errors
    /// The manifest gives this VM no such memory.
    pub fn mem<'n>(&self, name: &'n str) -> Result<Mem, Missing<'n>> {
        self.find(Kind::Mem, name).map(|entry| Mem {
            handle: MemHandle(Handle::from_bits(entry.handle)),
            rights: Rights::from_bits_truncate(entry.rights),
            size: entry.size,
            address: Ipa::new(entry.address).filter(|address| address.bytes() != 0),
        })
    }
}
