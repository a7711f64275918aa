//! Room `trace`: what the cores wrote down of their crossings, read out of the machine's memory: as lines (`explain`), as Chrome
//! trace events (`chrome`), as a picture (`svg`). Owns the ring's layout on the tool's side. Called by the commands; runs nothing.

use strato_abi::trace::{NOBODY, Record, RingHeader, SLOT_BYTES, TRACE_MAGIC, TRACE_VERSION};
use zerocopy::FromBytes;

pub mod chrome;
pub mod explain;
pub mod runs;
pub mod svg;
pub mod words;

/// What the cores of one machine wrote down.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Name of the system.
    pub system: String,
    /// Names of the VMs, by place.
    pub vms: Vec<String>,
    /// Whether a tick is an instruction.
    pub is_counted: bool,
    /// Its cores.
    pub cores: Vec<Core>,
}

/// What one core wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// Its number.
    pub core: u32,
    /// Ticks per second.
    pub counter_hz: u64,
    /// What is left of its records, oldest first.
    pub records: Vec<Record>,
    /// How many older ones were overwritten.
    pub lost: u64,
}

/// Returns where a ring stands and how many bytes it has, when the hypervisor says so in this line.
#[must_use]
pub fn announced(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("strato: trace: core ")?;
    let (_, rest) = rest.split_once(": ")?;
    let (bytes, start) = rest.split_once(" bytes at 0x")?;
    Some((u64::from_str_radix(start, 16).ok()?, bytes.parse().ok()?))
}

impl Core {
    /// Returns what is in a ring.
    ///
    /// # Errors
    /// Why these bytes are no ring of this version, or not whole.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let (header, slots) = RingHeader::read_from_prefix(bytes).map_err(|_| "shorter than its header")?;
        if header.magic != TRACE_MAGIC {
            return Err("what stands there does not begin as a ring does".into());
        }
        if header.version != TRACE_VERSION || header.slot_bytes as usize != SLOT_BYTES {
            return Err(format!("its layout is {}, this tool reads {TRACE_VERSION}", header.version));
        }
        let RingHeader { capacity, written, .. } = header;
        // Of a full ring the oldest record may be half overwritten: the machine was stopped anywhere.
        let first = if written < capacity { 0 } else { written - capacity + 1 };
        let slot = |n: u64| -> Result<Record, String> {
            let at = usize::try_from(n % capacity.max(1)).map_err(|error| error.to_string())? * SLOT_BYTES;
            let bytes = slots.get(at..at + SLOT_BYTES).ok_or("it is shorter than its header says")?;
            let record = Record::read_from_bytes(bytes).map_err(|error| error.to_string())?;
            if u64::from(record.serial) == n & 0xffff_ffff {
                Ok(record)
            } else {
                Err(format!("record {n} is not there"))
            }
        };
        let records = (first..written).map(slot).collect::<Result<_, _>>()?;
        Ok(Self { core: header.core, counter_hz: header.counter_hz, records, lost: first })
    }
}

impl Trace {
    /// Returns the name of a vCPU: `ping.0`.
    #[must_use]
    pub fn who(&self, vm: u8, vcpu: u8) -> String {
        if vm == NOBODY {
            return "nobody".into();
        }
        let label = self.vms.get(usize::from(vm)).map_or_else(|| format!("vm {vm}"), Clone::clone);
        format!("{label}.{vcpu}")
    }

    /// Returns every record with the number of its core, by time.
    #[must_use]
    pub fn records(&self) -> Vec<(u32, &Record)> {
        let of = |core: &'_ Core| core.core;
        let mut all: Vec<_> =
            self.cores.iter().flat_map(|core| core.records.iter().map(move |record| (of(core), record))).collect();
        all.sort_by_key(|(core, record)| (record.start, *core));
        all
    }

    /// Returns how many records are gone.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.cores.iter().map(|core| core.lost).sum()
    }

    /// Returns what a tick is.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        if self.is_counted { "instructions" } else { "ticks" }
    }

    /// Returns the first and the last moment, in ticks.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let ends = |record: &Record| record.start + u64::from(record.took);
        let all = || self.cores.iter().flat_map(|core| &core.records);
        (all().map(|record| record.start).min().unwrap_or(0), all().map(ends).max().unwrap_or(0))
    }

    /// Returns the summary in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let count: usize = self.cores.iter().map(|core| core.records.len()).sum();
        let lost = match self.lost() {
            0 => "none is lost".to_owned(),
            lost => format!("{lost} older ones are lost: a larger --ring keeps more"),
        };
        let cores = self.cores.len();
        format!("{}: {count} crossings on {cores} core{}, {lost}", self.system, if cores == 1 { "" } else { "s" })
    }
}
