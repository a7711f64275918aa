//! Plan: the packed payload, checked as a whole before anything is built from it, then read record by record. It stays where the
//! loader left it, behind the image, as long as the machine runs: a VM that is made again is made of the same records.

use core::fmt;
use core::mem::size_of;

use strato_abi::info_page::{GroupEntry, InfoPage};
use strato_abi::plan::{
    Expect, HEADER_FLAGS, HEADER_FOLLOWED, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader, SERIES_MAX, Scenario,
    checksum,
};
use strato_abi::version::{ABI_VERSION, major, minor};
use zerocopy::FromBytes;

mod record;

pub use record::Record;
use record::take;

const _: () = assert!(size_of::<InfoPage>() + size_of::<GroupEntry>() < 4096);

/// Which check a payload failed. The names are what boot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// There is no payload behind the image.
    Missing,
    /// Its first bytes are not those of a payload.
    Magic,
    /// Its layout is of another version.
    Version(u32),
    /// It was packed for an ABI that this hypervisor does not have.
    Abi(u32),
    /// It asks for something that this version does not know; the bits.
    Flags(u32),
    /// It is shorter than it says.
    Length,
    /// A bit of it changed since it was packed.
    Checksum,
    /// Record `.0` is not one that this version knows, or is cut off.
    Record(u32),
    /// Record `.0` points outside the payload.
    Bounds(u32),
    /// Record `.0` names a VM or a region that was not made before.
    Order(u32),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packed system refused: ")?;
        match self {
            Self::Missing => f.write_str("missing: nothing is packed behind the image; make one with `strato pack`"),
            Self::Magic => f.write_str("magic: what stands behind the image is no packed system"),
            Self::Version(found) => {
                let (found, known) = (u64::from(*found), u64::from(PAYLOAD_VERSION));
                write!(f, "version: its layout is {found}, this image reads {known}")
            }
            Self::Abi(found) => {
                let [major_found, minor_found, major, minor] =
                    [major(*found), minor(*found), major(ABI_VERSION), minor(ABI_VERSION)].map(u64::from);
                write!(f, "abi: it needs {major_found}.{minor_found}, this image has {major}.{minor}")
            }
            Self::Flags(unknown) => write!(f, "flags: its header has bits that this image does not know: {unknown:#x}"),
            Self::Length => f.write_str("length: it is shorter than its header says; the image was cut off"),
            Self::Checksum => f.write_str("checksum: it was damaged after it was packed"),
            Self::Record(n) => write!(f, "record: record {} is unknown or cut off", u64::from(*n)),
            Self::Bounds(n) => write!(f, "bounds: record {} points outside the payload", u64::from(*n)),
            Self::Order(n) => {
                write!(f, "order: record {} names something that no record before it makes", u64::from(*n))
            }
        }
    }
}

/// A whole, undamaged payload.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    bytes: &'p [u8],
    /// Its header.
    pub header: PayloadHeader,
}

impl<'p> Plan<'p> {
    /// Returns the plan in `bytes`.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(bytes: &'p [u8]) -> Result<Self, PlanError> {
        if bytes.is_empty() {
            return Err(PlanError::Missing);
        }
        let (header, _) = PayloadHeader::ref_from_prefix(bytes).map_err(|_| PlanError::Length)?;
        if header.magic != PAYLOAD_MAGIC {
            return Err(PlanError::Magic);
        }
        if header.version != PAYLOAD_VERSION {
            return Err(PlanError::Version(header.version));
        }
        if major(header.abi_version) != major(ABI_VERSION) || minor(header.abi_version) > minor(ABI_VERSION) {
            return Err(PlanError::Abi(header.abi_version));
        }
        if header.flags & !HEADER_FLAGS != 0 {
            return Err(PlanError::Flags(header.flags & !HEADER_FLAGS));
        }
        let total = usize::try_from(header.total_len).map_err(|_| PlanError::Length)?;
        let body = bytes.get(size_of::<PayloadHeader>()..total).ok_or(PlanError::Length)?;
        if !total.is_multiple_of(8) || (header.records_len as usize) > body.len() {
            return Err(PlanError::Length);
        }
        if checksum(body) != header.checksum {
            return Err(PlanError::Checksum);
        }
        Ok(Self { bytes: bytes.get(..total).ok_or(PlanError::Length)?, header: *header })
    }

    /// Returns `length` bytes of the payload from `offset` on, for record `n`.
    ///
    /// # Errors
    /// [`PlanError::Bounds`].
    pub fn bytes(&self, n: u32, offset: u64, length: u64) -> Result<&'p [u8], PlanError> {
        let start = usize::try_from(offset).map_err(|_| PlanError::Bounds(n))?;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        end.and_then(|end| self.bytes.get(start..end)).ok_or(PlanError::Bounds(n))
    }

    /// Returns the records with their numbers, each checked as it is reached.
    #[must_use]
    pub fn records(&self) -> Records<'p> {
        let start = size_of::<PayloadHeader>();
        let end = start.saturating_add(self.header.records_len as usize);
        Records { rest: self.bytes.get(start..end).unwrap_or(&[]), next: 0, end: self.header.records }
    }

    /// Returns which of a series this is, or `None` of one that is none of a series.
    #[must_use]
    pub fn scenario(&self) -> Option<&'p Scenario> {
        match self.records().next() {
            Some(Ok((_, Record::Scenario(scenario)))) => Some(scenario),
            _ => None,
        }
    }

    /// Returns how VM `vm` has to end, if the plan says it, right behind which system of a series it is: the rest is not looked through, which is
    /// as long as somebody packs it.
    #[must_use]
    pub fn expectation(&self, vm: u8) -> Option<&'p Expect> {
        let is_told = |record: &Record<'_>| matches!(record, Record::Scenario(_) | Record::Expect(_));
        let told = self.records().map_while(Result::ok).take_while(|(_, record)| is_told(record));
        told.filter_map(|(_, record)| if let Record::Expect(expect) = record { Some(expect) } else { None })
            .find(|expect| expect.header.vm == u16::from(vm))
    }

    /// Returns how many named handles the plan gives VM `vm` on `board`, besides `ram`.
    #[must_use]
    pub fn named_handles(&self, vm: u16, board: &str) -> usize {
        self.records()
            .filter_map(Result::ok)
            .filter(|(_, record)| record.is_for(board))
            .map(|(_, record)| match record {
                Record::GrantRegion(_) | Record::Peer(_) | Record::GrantDevice(_) | Record::GrantSched(_) => {
                    usize::from(record.vm() == vm)
                }
                // It comes with a port.
                Record::GrantInterrupt(_) => 2 * usize::from(record.vm() == vm),
                Record::Channel(channel) => usize::from(record.vm() == vm) + usize::from(channel.peer == vm),
                Record::CreateVm(_) | Record::Load(_) | Record::CreateRegion(_) => 0,
                Record::AllowRegister(_) | Record::Start(_) | Record::Expect(_) | Record::Scenario(_) => 0,
            })
            .sum()
    }
}

/// Returns the payloads of a series that begins with `first`, as far as each leads to the next; of a payload that is none of a series, it
/// alone. They are looked into no further: [`Plan::check`] does.
pub fn series<'p>(first: &'p [u8]) -> impl Iterator<Item = &'p [u8]> {
    let next = |bytes: &&'p [u8]| {
        let (header, rest) = PayloadHeader::ref_from_prefix(bytes).ok()?;
        let is_followed = header.magic == PAYLOAD_MAGIC && header.flags & HEADER_FOLLOWED != 0;
        rest.get(header.records_len as usize..).filter(move |_| is_followed)
    };
    core::iter::successors(Some(first), next).take(SERIES_MAX)
}

/// The records of a plan that were not reached yet.
#[derive(Clone, Debug)]
pub struct Records<'p> {
    rest: &'p [u8],
    next: u32,
    end: u32,
}

impl<'p> Iterator for Records<'p> {
    type Item = Result<(u32, Record<'p>), PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let n = self.next;
        if n >= self.end {
            return None;
        }
        self.next = n.saturating_add(1);
        Some(match take(&mut self.rest) {
            Some(record) => Ok((n, record)),
            None => {
                self.end = 0;
                Err(PlanError::Record(n))
            }
        })
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
