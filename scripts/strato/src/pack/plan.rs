//! A plan in the making: records in their order, and the bytes that they point at. Called by `pack` alone.

use std::collections::HashMap;

use strato_abi::plan::{HEADER_CYCLES, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader, checksum};
use strato_abi::version::ABI_VERSION;
use zerocopy::{Immutable, IntoBytes};

use crate::system::System;

/// Bytes of segments and command lines: what is there already is not put there again.
#[derive(Default)]
pub(super) struct Data {
    bytes: Vec<u8>,
    pieces: HashMap<Vec<u8>, usize>,
}

impl Data {
    /// Returns all of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    // Returns the offset; every piece begins on eight bytes.
    fn place(&mut self, bytes: &[u8]) -> usize {
        if let Some(offset) = self.pieces.get(bytes) {
            return *offset;
        }
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.pieces.insert(bytes.to_vec(), offset);
        offset
    }
}

/// Records in the making.
pub(super) struct Plan<'d> {
    records: Vec<u8>,
    count: u32,
    // What the offsets of records count from is so many bytes before the data.
    start: usize,
    data: &'d mut Data,
}

impl<'d> Plan<'d> {
    /// Returns a plan without records, whose `data` will begin `start` bytes behind the payload's first.
    pub(super) fn new(start: usize, data: &'d mut Data) -> Self {
        Self { records: Vec::new(), count: 0, start, data }
    }

    /// Adds a record.
    pub(super) fn record(&mut self, record: &(impl IntoBytes + Immutable)) {
        self.records.extend_from_slice(record.as_bytes());
        self.count += 1;
    }

    /// Adds bytes that a record points at, and returns where they will be.
    pub(super) fn data(&mut self, bytes: &[u8]) -> anyhow::Result<u64> {
        Ok(u64::try_from(self.start + self.data.place(bytes))?)
    }

    /// Returns the bytes of the records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the records alone; the data can be added to by others then.
    pub(super) fn done(self) -> Done {
        Done { records: self.records, count: self.count }
    }
}

/// Records that are complete.
pub(super) struct Done {
    records: Vec<u8>,
    count: u32,
}

impl Done {
    /// Returns the payload of `system` that consists of the records and `rest`.
    pub(super) fn finish(self, system: &System, rest: &[u8], flags: u32) -> anyhow::Result<Vec<u8>> {
        let mut body = self.records;
        let records_len = u32::try_from(body.len())?;
        body.extend_from_slice(rest);
        let sum = checksum(&body);
        let header = PayloadHeader {
            magic: PAYLOAD_MAGIC,
            version: PAYLOAD_VERSION,
            abi_version: ABI_VERSION,
            total_len: u64::try_from(size_of::<PayloadHeader>() + body.len())?,
            checksum: sum,
            records_len,
            records: self.count,
            vms: u32::try_from(system.vms.len())?,
            log_level: system.log_level,
            slice_us: system.slice_us,
            flags: flags | if system.has_cycle_counter { HEADER_CYCLES } else { 0 },
            build_id: sum,
        };
        let mut payload = header.as_bytes().to_vec();
        payload.extend_from_slice(&body);
        Ok(payload)
    }
}
