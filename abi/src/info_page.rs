//! The info page: what a VM is told about itself, read-only, without a call. Tables follow the header and are found by it.

use ::core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `STRATO` and the layout's major version, as the first eight bytes spell it.
pub const MAGIC: u64 = u64::from_le_bytes(*b"STRATO\0\x01");

/// Bytes of a VM's label, padded with zeros.
pub const LABEL_LEN: usize = 32;
/// Bytes of a handle's name, padded with zeros.
pub const NAME_LEN: usize = 40;

/// Where a table starts (bytes from the header), how far its entries are apart, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TableRef {
    /// Bytes from the first byte of the info page.
    pub offset: u32,
    /// Bytes from one entry to the next; at least the entry's size in this version.
    pub stride: u16,
    /// Number of entries.
    pub count: u16,
}

/// The header at the first byte of the info page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InfoPage {
    /// [`MAGIC`].
    pub magic: u64,
    /// ABI version, `major << 16 | minor`.
    pub version: u32,
    /// Bytes of this header; a later minor version appends fields.
    pub header_size: u32,
    /// Bytes of header and tables together.
    pub total_size: u32,
    /// Number of this VM.
    pub vm: u32,
    /// vCPUs that this VM may run.
    pub vcpus: u32,
    /// Bit 0: FP and SIMD may be used. Bit 1: writable and executable mappings are allowed. Bit 2: the console input is this VM's.
    /// Bit 3: stage 1 of the translation is the guest's. Bit 4: the core's cycle counter may be read.
    pub features: u32,
    /// The VM's name in the manifest, padded with zeros.
    pub label: [u8; LABEL_LEN],
    /// First address of the memory `ram` as mapped at the start.
    pub ram_base: u64,
    /// Bytes of the memory `ram`.
    pub ram_size: u64,
    /// First address of the loaded image.
    pub image_base: u64,
    /// Bytes from the image's first to its last address, its zeroed data included.
    pub image_size: u64,
    /// The command line: UTF-8, `count` bytes.
    pub command_line: TableRef,
    /// Address of a device tree for guests that want one, or 0.
    pub device_tree: u64,
    /// Ticks of CNTVCT_EL0 in a second.
    pub counter_hz: u64,
    /// Address of the vCPU area.
    pub vcpu_area: u64,
    /// Address of the event area.
    pub event_area: u64,
    /// Address of the log ring, or 0.
    pub log_ring: u64,
    /// Changes whenever this VM is restored or cloned.
    pub generation: [u64; 2],
    /// Why the VM started: `BOOT_*`.
    pub boot_reason: u32,
    /// How often it has started, this time included.
    pub boot_count: u32,
    /// Exit code of the previous run, or 0.
    pub last_exit: u64,
    /// Random bytes of this start; zero when the machine has no source of randomness.
    pub seed: [u8; 32],
    /// Groups of calls: entries are [`GroupEntry`].
    pub groups: TableRef,
    /// Handles held at the start: entries are [`HandleEntry`].
    pub handles: TableRef,
}

/// Feature bit of the info page: FP and SIMD may be used.
pub const FEATURE_FP: u32 = 1;
/// Feature bit of the info page: writable and executable mappings are allowed.
pub const FEATURE_JIT: u32 = 2;
/// Feature bit of the info page: the console input is this VM's.
pub const FEATURE_CONSOLE_INPUT: u32 = 4;
/// Feature bit of the info page: the guest runs stage 1 of the translation itself.
pub const FEATURE_NATIVE: u32 = 8;
/// Feature bit of the info page: PMCCNTR_EL0 counts the cycles of the core that the vCPU runs on, and may be read.
pub const FEATURE_CYCLES: u32 = 16;

/// [`InfoPage::boot_reason`]: the VM's first start.
pub const BOOT_FIRST: u32 = 0;
/// [`InfoPage::boot_reason`]: it asked for a restart.
pub const BOOT_REQUEST: u32 = 1;
/// [`InfoPage::boot_reason`]: it was restarted after a failure.
pub const BOOT_FAILURE: u32 = 2;

/// A group of calls and what this VM may call of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GroupEntry {
    /// Number of the group.
    pub group: u16,
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// Zero.
    pub reserved: u16,
    /// One bit per call that this VM may make.
    pub calls: u32,
    /// Zero.
    pub reserved2: u32,
}

/// A handle held at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HandleEntry {
    /// Bits of the handle.
    pub handle: u32,
    /// [`crate::handle::Kind`].
    pub kind: u16,
    /// [`crate::handle::Rights`] of a Mem or Device handle, else zero.
    pub rights: u16,
    /// Mem, Device: bytes. Others: zero.
    pub size: u64,
    /// Mem: where it is mapped at the start, or 0.
    pub address: u64,
    /// The name in the manifest, padded with zeros.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<InfoPage>() == 224);
const _: () = assert!(offset_of!(InfoPage, label) == 32 && offset_of!(InfoPage, ram_base) == 64);
const _: () = assert!(offset_of!(InfoPage, counter_hz) == 112 && offset_of!(InfoPage, seed) == 176);
const _: () = assert!(offset_of!(InfoPage, groups) == 208 && offset_of!(InfoPage, handles) == 216);
const _: () = assert!(size_of::<GroupEntry>() == 16 && size_of::<HandleEntry>() == 64);
