//! Damages an image on purpose, so that scenarios can show on the machine what boot refuses, one check at a time, and how
//! the hypervisor reports its own death. Called by the commands for a system whose file says `damage`.

use strato_abi::plan::{AllowRegister, KIND_ALLOW_REGISTER, KIND_LOAD, Load, PayloadHeader, RecordHeader, checksum};
use zerocopy::{FromBytes, IntoBytes};

/// What is damaged: the payload, and boot says the name of the check that refuses it; or the hypervisor's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The first bytes are others, so that there is no payload.
    Missing,
    /// The layout is of a later version.
    Version,
    /// The guests are for a later ABI.
    Abi,
    /// The header asks for what no version knows.
    Flags,
    /// The length is no whole number of words.
    Length,
    /// A bit of the last segment is flipped.
    Checksum,
    /// The first record is of an unknown kind.
    Record,
    /// A segment lies outside the payload.
    Bounds,
    /// A segment is for a VM that was not made.
    Order,
    /// A register is allowed with all its bits.
    Filter,
    /// The hypervisor executes BRK when the first VM ends.
    Panic,
    /// The hypervisor executes BRK while it gives an ended VM's memory back, some time after it took the locks for that.
    Lock,
    /// The hypervisor pushes without end when the first VM ends.
    Overflow,
    /// The hypervisor never invalidates what cores hold of a whole address space, as it has to when one ends.
    Tlbi,
}

/// Function of the hypervisor whose code is overwritten: every VM's end goes through it, and whoever runs it has callers.
const END: &str = "strato_hyp::dispatcher::service::end_vm";
/// Another one: it runs with the ended VM and all memory locked.
const GIVE_BACK: &str = "strato_hyp::vm::stop::step";
/// 64 million rounds, in which every other core comes to wait for a lock: mov x9, #0x400, lsl #16; subs x9, x9, #1; b.ne to it; brk #0.
const LATE_BRK: &[u32] = &[0xd2a0_8009, 0xf100_0529, 0x54ff_ffe1, 0xd420_0000];
/// Another one: the instruction that is left out. It is a function by itself in a checked image.
const TLBI: &str = "strato_hyp::arch::told::tlbi_vmalls12e1is";

impl Damage {
    /// Every kind by its name: the one that boot says, or what becomes of the hypervisor.
    pub const ALL: [(&'static str, Self); 14] = [
        ("missing", Self::Missing),
        ("version", Self::Version),
        ("abi", Self::Abi),
        ("flags", Self::Flags),
        ("length", Self::Length),
        ("checksum", Self::Checksum),
        ("record", Self::Record),
        ("bounds", Self::Bounds),
        ("order", Self::Order),
        ("filter", Self::Filter),
        ("panic", Self::Panic),
        ("lock", Self::Lock),
        ("overflow", Self::Overflow),
        ("tlbi", Self::Tlbi),
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, damage)| *damage == self).map_or("?", |(name, _)| name)
    }

    /// Returns how boot's refusal of it begins, if boot is what refuses it: by the name of the check, or of a record that fits none of its VMs.
    #[must_use]
    pub fn refusal(self) -> String {
        if self == Self::Filter { "record ".into() } else { format!("{}: ", self.name()) }
    }

    /// Returns whether only the page-table monitor of a checked image notices.
    #[must_use]
    pub fn is_for_monitor(self) -> bool {
        self == Self::Tlbi
    }

    /// Returns the function of the hypervisor that is overwritten and the instructions, or nothing when the payload is what is
    /// damaged.
    #[must_use]
    pub fn code(self) -> Option<(&'static str, &'static [u32])> {
        match self {
            Self::Panic => Some((END, &[0xd420_0000])), // brk #0
            Self::Lock => Some((GIVE_BACK, LATE_BRK)),
            Self::Overflow => Some((END, &[0xa9bf_7bfd, 0x17ff_ffff])), // stp x29, x30, [sp, #-16]! and b to it
            Self::Tlbi => Some((TLBI, &[0xd65f_03c0])),                 // ret
            Self::Missing
            | Self::Version
            | Self::Abi
            | Self::Flags
            | Self::Length
            | Self::Checksum
            | Self::Record
            | Self::Bounds
            | Self::Order
            | Self::Filter => None,
        }
    }

    /// Damages `payload`; one too short to be damaged stays as it is.
    pub fn apply(self, payload: &mut [u8]) {
        match self {
            Self::Missing => with_header(payload, |header| header.magic ^= 1),
            Self::Version => with_header(payload, |header| header.version += 1),
            Self::Abi => with_header(payload, |header| header.abi_version += 1 << 16),
            Self::Flags => with_header(payload, |header| header.flags |= 1 << 31),
            Self::Length => with_header(payload, |header| header.total_len -= 4),
            Self::Checksum => payload.iter_mut().rev().take(1).for_each(|byte| *byte ^= 0x10),
            Self::Record => {
                with_record(payload, size_of::<PayloadHeader>(), |record: &mut RecordHeader| record.kind = 99)
            }
            Self::Bounds => with_first(payload, KIND_LOAD, |load: &mut Load| load.offset = u64::MAX - 7),
            Self::Order => with_first(payload, KIND_LOAD, |load: &mut Load| load.header.vm = 63),
            Self::Filter => {
                with_first(payload, KIND_ALLOW_REGISTER, |allow: &mut AllowRegister| allow.mask = u32::MAX);
            }
            Self::Panic | Self::Lock | Self::Overflow | Self::Tlbi => {}
        }
    }
}

fn with_header(payload: &mut [u8], change: impl FnOnce(&mut PayloadHeader)) {
    if let Ok((mut header, _)) = PayloadHeader::read_from_prefix(payload) {
        change(&mut header);
        // It was read from there, so it fits.
        let _ = header.write_to_prefix(payload);
    }
}

// Changes what stands at `at`, then makes the checksum right again.
fn with_record<T: FromBytes + IntoBytes + zerocopy::Immutable + zerocopy::KnownLayout>(
    payload: &mut [u8],
    at: usize,
    change: impl FnOnce(&mut T),
) {
    let Some(bytes) = payload.get_mut(at..) else { return };
    let Ok((mut record, _)) = T::read_from_prefix(bytes) else { return };
    change(&mut record);
    let _ = record.write_to_prefix(bytes);
    let sum = payload.get(size_of::<PayloadHeader>()..).map_or(0, checksum);
    with_header(payload, |header| header.checksum = sum);
}

// Changes the first record of a kind, if there is one.
fn with_first<T: FromBytes + IntoBytes + zerocopy::Immutable + zerocopy::KnownLayout>(
    payload: &mut [u8],
    kind: u16,
    change: impl FnOnce(&mut T),
) {
    let Ok((PayloadHeader { records, .. }, _)) = PayloadHeader::read_from_prefix(payload) else { return };
    let mut at = size_of::<PayloadHeader>();
    for _ in 0..records {
        let Some(Ok((header, _))) = payload.get(at..).map(RecordHeader::read_from_prefix) else { return };
        if header.kind == kind {
            return with_record(payload, at, change);
        }
        at += usize::from(header.size);
    }
}
