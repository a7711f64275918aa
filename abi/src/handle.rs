//! Handles: how a guest names what it holds. Valid only in the VM that holds them.

use crate::error::Reason;
use crate::regs::Argument;

/// A name for an object in a VM's own table: `index:16 | generation:16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// Returns the handle of table entry `index` in its `generation`.
    #[must_use]
    pub const fn new(index: u16, generation: u16) -> Self {
        Self(index as u32 | (generation as u32) << 16)
    }

    /// Returns the handle with these bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits that travel in a register.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the index of the table entry.
    #[must_use]
    pub const fn index(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Returns the generation of the table entry that this handle was made for.
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl Argument for Handle {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        u32::take(regs).map(Self)
    }

    fn put(&self, regs: &mut [u64]) {
        self.0.put(regs);
    }
}

macro_rules! typed {
    ($( $(#[$doc:meta])* $name:ident; )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Handle);

        impl Argument for $name {
            const REGS: usize = 1;

            fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
                Handle::take(regs).map(Self)
            }

            fn put(&self, regs: &mut [u64]) {
                self.0.put(regs);
            }
        }
    )* };
}

typed! {
    /// A handle to one end of an event channel. Its index is the port's number in the event area.
    PortHandle;
    /// A handle to a Mem object.
    MemHandle;
    /// A handle to an address space; [`AddressSpaceHandle::CURRENT`] means the caller's.
    AddressSpaceHandle;
    /// A handle to a declared peer VM.
    PeerHandle;
    /// A handle to an offer of memory that its owner made.
    ShareHandle;
    /// A handle to a device interrupt that the manifest assigns.
    IrqHandle;
    /// A handle to a share of a core's time that the manifest reserves; [`SchedHandle::NONE`] means what is left of it.
    SchedHandle;
}

impl AddressSpaceHandle {
    /// The caller's current address space.
    pub const CURRENT: Self = Self(Handle::from_bits(0));
    /// The address space that a VM begins with. It is in no entry of the table: the index is past the end of every one.
    pub const FIRST: Self = Self(Handle::new(0xfffe, 1));
}

impl SchedHandle {
    /// No share of its own: the vCPU runs in what those with one leave.
    pub const NONE: Self = Self(Handle::from_bits(0));
}

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Kind {
    /// One end of an event channel.
    Port = 1,
    /// Memory with one owner.
    Mem = 2,
    /// An offer of memory between peers.
    Share = 3,
    /// An address space.
    AddressSpace = 4,
    /// A device interrupt.
    Irq = 5,
    /// A declared peer VM.
    Peer = 6,
    /// A VM under control.
    Vm = 7,
    /// A share of a core's time.
    Sched = 8,
    /// A device's registers.
    Device = 9,
}

impl Kind {
    /// Returns the kind of the number in a handle record, or `None` when it is not defined here.
    #[must_use]
    pub const fn from_u16(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::Port,
            2 => Self::Mem,
            3 => Self::Share,
            4 => Self::AddressSpace,
            5 => Self::Irq,
            6 => Self::Peer,
            7 => Self::Vm,
            8 => Self::Sched,
            9 => Self::Device,
            _ => return None,
        })
    }
}

bitflags::bitflags! {
    /// What the holder of a Mem handle may map it with.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u16 {
        /// Mapping for reading.
        const READ = 1;
        /// Mapping for writing.
        const WRITE = 2;
        /// Mapping for execution.
        const EXECUTE = 4;
        /// The holder is the owner.
        const OWNER = 8;
    }
}
