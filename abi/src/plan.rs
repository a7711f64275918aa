//! The packed image: what the host tool appends to the hypervisor and boot replays, record by record.
//!
//! Layout of the payload, each part 8-byte aligned: [`PayloadHeader`], the records, then the bytes of segments and
//! command lines. Record and byte offsets count from the payload's first byte. The hypervisor parses no ELF.

use ::core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use crate::checksum::checksum;
use crate::info_page::{LABEL_LEN, NAME_LEN};
pub use crate::plan_flags::*;

/// First eight bytes of a payload.
pub const PAYLOAD_MAGIC: u64 = u64::from_le_bytes(*b"STRATOPK");
/// Version of the payload's layout; other versions are refused.
pub const PAYLOAD_VERSION: u32 = 1;
/// Home core of a vCPU that boot may place where it likes.
pub const ANY_CORE: u8 = 0xff;

/// Starts the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PayloadHeader {
    /// [`PAYLOAD_MAGIC`].
    pub magic: u64,
    /// [`PAYLOAD_VERSION`].
    pub version: u32,
    /// ABI version that the guests were checked against.
    pub abi_version: u32,
    /// Bytes of the whole payload, a multiple of 8.
    pub total_len: u64,
    /// [`checksum`] of everything behind this header.
    pub checksum: u64,
    /// Bytes of the records, which start right behind this header.
    pub records_len: u32,
    /// Number of records.
    pub records: u32,
    /// Number of VMs.
    pub vms: u32,
    /// Least important log level shown: 1 error, 2 warning, 3 info, 4 debug, 5 trace.
    pub log_level: u32,
    /// Time slice of equal priorities, in microseconds.
    pub slice_us: u32,
    /// `HEADER_*`; a hypervisor refuses bits that it does not know.
    pub flags: u32,
    /// Identity of the packed system, shown at boot and in reports.
    pub build_id: u64,
}

/// Starts every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// `KIND_*`.
    pub kind: u16,
    /// Bytes of the record, this header included; a multiple of 8.
    pub size: u16,
    /// The VM that the record is about, in the order of creation.
    pub vm: u16,
    /// Zero.
    pub reserved: u16,
}

macro_rules! records {
    ($( $(#[$doc:meta])* $name:ident = $kind:literal, $constant:ident { $( $(#[$fdoc:meta])* $field:ident: $type:ty, )* } )*) => { $(
        #[doc = concat!("Kind of the record [`", stringify!($name), "`].")]
        pub const $constant: u16 = $kind;

        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            /// Kind, size and VM.
            pub header: RecordHeader,
            $( $(#[$fdoc])* pub $field: $type, )*
        }

        const _: () = assert!(size_of::<$name>() % 8 == 0);

        impl $name {
            /// Returns the header of such a record about `vm`.
            #[must_use]
            #[allow(clippy::cast_possible_truncation, reason = "records are far below 64 KiB; const asserts hold that")]
            pub const fn header(vm: u16) -> RecordHeader {
                RecordHeader { kind: $kind, size: size_of::<$name>() as u16, vm, reserved: 0 }
            }
        }
    )*
        /// The kinds of records that there are.
        pub const KINDS: &[u16] = &[$( $kind ),*];
    };
}

records! {
    /// Makes a VM with its memory `ram` and its vCPUs, all off. VMs are created in the order of their numbers.
    CreateVm = 1, KIND_CREATE_VM {
        /// Name, padded with zeros.
        label: [u8; LABEL_LEN],
        /// Bytes of `ram`: a power of two of at least one page.
        ram_size: u64,
        /// Where vCPU 0 starts.
        entry: u64,
        /// First address of the image.
        image_base: u64,
        /// Bytes from the image's first to its last address.
        image_size: u64,
        /// Command line: offset in the payload.
        command_line: u64,
        /// Command line: bytes.
        command_line_len: u32,
        /// Pages that the VM may own altogether, `ram` and its own tables included.
        quota_pages: u32,
        /// Calls the VM may make: one bitmap for each of groups 0 to 7.
        calls: [u32; 8],
        /// Home core of each vCPU, or [`ANY_CORE`].
        cores: [u8; 8],
        /// `VM_*`.
        flags: u32,
        /// Number of vCPUs, 1 to 8.
        vcpus: u16,
        /// Entries of the handle table, ports included.
        handles: u16,
        /// Priority of its vCPUs, 0 (lowest) to 31.
        priority: u8,
        /// With [`VM_RESTART`]: restarts in each span of time; one more and the VM is over.
        restart_limit: u8,
        /// With [`VM_RESTART`]: that span, in seconds.
        restart_window_s: u16,
        /// Timers that it can have set at once, at most [`crate::time::TIMERS_PER_VM`].
        timers: u8,
        /// Zero.
        reserved: [u8; 3],
    }
    /// Copies bytes of the payload into a VM's `ram`, zeroes the rest and maps the pages.
    Load = 2, KIND_LOAD {
        /// Page-aligned address.
        address: u64,
        /// Offset in the payload.
        offset: u64,
        /// Bytes to copy.
        file_len: u64,
        /// Bytes to occupy; those not copied are zero.
        mem_len: u64,
        /// [`crate::address_space::Attributes`] of the mapping.
        attributes: u64,
    }
    /// Makes a shared region that the VM owns. Regions are numbered in this order.
    CreateRegion = 3, KIND_CREATE_REGION {
        /// Bytes: a power of two of at least one page.
        size: u64,
    }
    /// Gives a VM a handle to a shared region and maps it, if an address is given.
    GrantRegion = 4, KIND_GRANT_REGION {
        /// Number of the region.
        region: u16,
        /// [`crate::handle::Rights`].
        rights: u16,
        /// Zero.
        reserved: u32,
        /// Where it is mapped at the start, or 0.
        address: u64,
        /// Name of the handle, padded with zeros.
        name: [u8; NAME_LEN],
    }
    /// Gives a VM a handle to a peer VM.
    Peer = 5, KIND_PEER {
        /// Number of the peer.
        peer: u16,
        /// Zero.
        reserved: [u16; 3],
        /// Name of the handle, padded with zeros.
        name: [u8; NAME_LEN],
    }
    /// Connects two VMs by an event channel: a port in each.
    Channel = 6, KIND_CHANNEL {
        /// The VM at the other end.
        peer: u16,
        /// vCPU that the near port is bound to.
        vcpu: u16,
        /// vCPU that the far port is bound to.
        peer_vcpu: u16,
        /// Zero.
        reserved: u16,
        /// Name of the near port, padded with zeros.
        name: [u8; NAME_LEN],
        /// Name of the far port, padded with zeros.
        peer_name: [u8; NAME_LEN],
    }
    /// Starts vCPU 0 of a VM. Nothing is added to a VM after its start.
    Start = 7, KIND_START {
    }
    /// Gives a VM a handle to registers of a device, on one board; another board passes over the record.
    GrantDevice = 8, KIND_GRANT_DEVICE {
        /// Name of the board, padded with zeros.
        board: [u8; BOARD_NAME_LEN],
        /// Physical address of the first register, a multiple of the page size.
        address: u64,
        /// Bytes, a multiple of the page size.
        size: u64,
        /// `DEVICE_*`.
        flags: u32,
        /// Zero.
        reserved: u32,
        /// Name of the handle, padded with zeros.
        name: [u8; NAME_LEN],
    }
    /// Gives a VM a handle to an interrupt of a device, and a port that it can raise, on one board.
    GrantInterrupt = 9, KIND_GRANT_INTERRUPT {
        /// Name of the board, padded with zeros.
        board: [u8; BOARD_NAME_LEN],
        /// INTID of a shared peripheral interrupt: 32 and above.
        intid: u32,
        /// `INTERRUPT_*`.
        flags: u32,
        /// Name of both handles, padded with zeros.
        name: [u8; NAME_LEN],
    }
    /// Gives a VM a scheduling handle: a share of one core's time.
    GrantSched = 10, KIND_GRANT_SCHED {
        /// Microseconds of each period, at least 1.
        budget_us: u32,
        /// Microseconds of a period, at least the budget.
        period_us: u32,
        /// The core, as [`CreateVm::cores`] counts them.
        core: u8,
        /// The highest priority of those that run by it, 0 to 31.
        priority: u8,
        /// vCPUs that run by it from the start, at that priority: a bit each. Their home is its core.
        vcpus: u8,
        /// Zero.
        reserved: [u8; 5],
        /// Name of the handle, padded with zeros.
        name: [u8; NAME_LEN],
    }
    /// Lets a VM read and write bits of one register in a range that a [`GrantDevice`] with [`DEVICE_FILTERED`] gave it, on the same board.
    AllowRegister = 11, KIND_ALLOW_REGISTER {
        /// Name of the board, padded with zeros.
        board: [u8; BOARD_NAME_LEN],
        /// Physical address of the register, a multiple of four.
        address: u64,
        /// The bits, at least one.
        mask: u32,
        /// Zero.
        reserved: u32,
    }
    /// How a VM of a series has to end. Nothing is made of it.
    Expect = 12, KIND_EXPECT {
        /// `EXPECT_*`.
        outcome: u32,
        /// Zero.
        reserved: u32,
        /// The exit code, with [`EXPECT_EXIT`].
        code: u64,
    }
    /// Which system of a series this is: the first record of each. It is about no VM.
    Scenario = 13, KIND_SCENARIO {
        /// Name, padded with zeros.
        name: [u8; SCENARIO_NAME_LEN],
        /// Seconds after which it has failed.
        limit_s: u32,
        /// `SCENARIO_*`.
        flags: u32,
    }
}

const _: () = assert!(size_of::<PayloadHeader>() == 64 && size_of::<RecordHeader>() == 8);
const _: () = assert!(size_of::<CreateVm>() == 144 && size_of::<Load>() == 48 && size_of::<CreateRegion>() == 16);
const _: () = assert!(size_of::<GrantRegion>() == 64 && size_of::<Peer>() == 56 && size_of::<Channel>() == 96);
const _: () = assert!(size_of::<GrantDevice>() == 88 && size_of::<GrantInterrupt>() == 72);
const _: () = assert!(size_of::<GrantSched>() == 64 && size_of::<AllowRegister>() == 40);
const _: () = assert!(size_of::<Expect>() == 24 && size_of::<Scenario>() == 80);
