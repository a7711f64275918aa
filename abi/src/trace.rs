//! The trace: what a core writes down each time a guest leaves for the hypervisor, as a reader finds it in memory.
//!
//! A ring is one block of memory: slot 0 is a [`RingHeader`], every other slot a [`Record`]. Its core alone writes it, the oldest
//! record is overwritten first. Between the hypervisor and the host tool; guests never see it.

use ::core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::plan::HEADER_TRACE;

/// First eight bytes of a ring, which begins a page.
pub const TRACE_MAGIC: u64 = u64::from_le_bytes(*b"STRATOTR");
/// Version of the ring's layout; a reader refuses others.
pub const TRACE_VERSION: u32 = 1;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 128;
/// [`Record::from_vm`] and [`Record::to_vm`] when no vCPU has the core.
pub const NOBODY: u8 = 0xff;
/// [`Record::number`] of a call whose number was never defined.
pub const UNKNOWN_CALL: u32 = u32::MAX;
/// Bit of [`Record::number`] of an interrupt: the core's timer was due.
pub const CAUSE_TIMER: u32 = 1;
/// Bit of [`Record::number`] of an interrupt: another core, or this one, has asked for something.
pub const CAUSE_MAIL: u32 = 2;

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $value:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $( $(#[$vdoc])* $variant = $value, )* }

        impl $name {
            /// Returns what the number stands for, or `None` when this version does not know it.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $( $value => Some(Self::$variant), )* _ => None }
            }
        }
    )* };
}

codes! {
    /// How a guest left, or that a core woke without one.
    Crossing {
        /// A call that the vector hands to its handler: `number` is the call's, `arguments` are x1 to x6.
        Call = 1,
        /// A refused access: `arguments` are FAR_EL2, HPFAR_EL2 and the guest-physical page that was found.
        Abort = 2,
        /// Another synchronous exception: `number` is w0, `arguments` are x1 to x6.
        Trap = 3,
        /// A physical interrupt: `number` has `CAUSE_*`.
        Interrupt = 4,
        /// A system error.
        SystemError = 5,
        /// An exception from AArch32.
        Aarch32 = 6,
        /// No guest left: the core slept, or had not begun. `number` has `CAUSE_*`.
        Wake = 7,
    }
    /// What followed.
    Decision {
        /// The guest went on at once. Of a call `results` are x0 to x3; of an abort 1 when the guest's handler got it, else 0.
        Stay = 0,
        /// The guest goes on as it is.
        Resume = 1,
        /// A call is answered: `results` are x0 to x3.
        Reply = 2,
        /// A standard service is answered: `results` are x0 to x3.
        Service = 3,
        /// Others have their turn first.
        Yield = 4,
        /// It waits for an event, or for the deadline in `results[0]`.
        Wait = 5,
        /// It waits for an event behind its WFI.
        Halt = 6,
        /// It turns itself off.
        Off = 7,
        /// The VM ends itself with the code in `results[0]`.
        Exit = 8,
        /// The VM reports a crash of its own: reason, PC, syndrome and address.
        Crash = 9,
        /// The VM is stopped for what it did.
        Stop = 10,
        /// It runs by another share, or by none: core, 1 if it runs by a share, budget and period in ticks.
        Schedule = 11,
    }
}

/// Returns the header flags that ask for trace rings of `1 << order` frames of 4 KiB; `order` is at most 30.
#[must_use]
pub const fn trace_flags(order: u32) -> u32 {
    order.saturating_add(1) << 8 & HEADER_TRACE
}

/// Returns log2 of the frames of each trace ring, or `None` when these header flags ask for none.
#[must_use]
pub const fn trace_order(flags: u32) -> Option<u32> {
    ((flags & HEADER_TRACE) >> 8).checked_sub(1)
}

/// Begins a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RingHeader {
    /// [`TRACE_MAGIC`].
    pub magic: u64,
    /// [`TRACE_VERSION`].
    pub version: u32,
    /// [`SLOT_BYTES`].
    pub slot_bytes: u32,
    /// The core that writes.
    pub core: u32,
    /// Zero.
    pub reserved: u32,
    /// Records that the ring holds.
    pub capacity: u64,
    /// Records that were written since boot. Record `n` stands in slot `n % capacity + 1`; those before `written - capacity` are
    /// lost. Written behind the record that it counts.
    pub written: u64,
    /// Ticks per second of [`Record::start`].
    pub counter_hz: u64,
    /// Identity of the packed system.
    pub build_id: u64,
    /// Zero.
    pub rest: [u64; 9],
}

/// One crossing: from a guest into the hypervisor, until some guest, or nobody, has the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// When it came to the first room, in ticks of the counter.
    pub start: u64,
    /// Where the guest goes on: behind an HVC, at any other instruction that left.
    pub pc: u64,
    /// ESR_EL2, if it says something.
    pub syndrome: u64,
    /// Ticks from `start` until the core was handed on, the recording included.
    pub took: u32,
    /// Ticks that the rooms took of them, without the recording.
    pub spent: u32,
    /// What [`Crossing`] says.
    pub number: u32,
    /// Low half of the record's number, counted from 0.
    pub serial: u32,
    /// [`Crossing`].
    pub crossing: u8,
    /// [`Decision`].
    pub decision: u8,
    /// Place of the VM that left, or [`NOBODY`].
    pub from_vm: u8,
    /// Its vCPU.
    pub from_vcpu: u8,
    /// Place of the VM that has the core afterwards, or [`NOBODY`].
    pub to_vm: u8,
    /// Its vCPU.
    pub to_vcpu: u8,
    /// Place of the VM whose vCPUs were told of an event.
    pub woken_vm: u8,
    /// Those vCPUs, one bit each.
    pub woken_vcpus: u8,
    /// What [`Crossing`] says.
    pub arguments: [u64; 6],
    /// What [`Decision`] says.
    pub results: [u64; 4],
}

/// The word of the header that counts records.
pub const WRITTEN_WORD: usize = offset_of!(RingHeader, written) / 8;

const _: () = assert!(size_of::<RingHeader>() == SLOT_BYTES && size_of::<Record>() == SLOT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HEADER_REPORT;

    #[test]
    fn codes_come_back_from_their_numbers() {
        for code in 0..=255 {
            assert!(Crossing::from_u8(code).is_none_or(|crossing| crossing as u8 == code));
            assert!(Decision::from_u8(code).is_none_or(|decision| decision as u8 == code));
        }
        assert_eq!((Crossing::from_u8(0), Decision::from_u8(255)), (None, None));
        assert_eq!((Crossing::from_u8(7), Decision::from_u8(11)), (Some(Crossing::Wake), Some(Decision::Schedule)));
    }

    #[test]
    fn the_size_of_trace_rings_survives_the_flags() {
        assert!((0..=30).all(|order| trace_order(trace_flags(order) | HEADER_REPORT) == Some(order)));
        assert_eq!(trace_order(HEADER_REPORT), None);
    }
}
