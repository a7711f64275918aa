//! A series: several systems in one image, of which the hypervisor runs one after the other. The headers and records of all come first, then
//! the data of all, each piece once. The length of each payload reaches to the end, so that its checksum covers what it shares.

use anyhow::ensure;
use strato_abi::plan::{
    EXPECT_EXIT, EXPECT_STOP, Expect, HEADER_FOLLOWED, HEADER_SERIES, PayloadHeader, SCENARIO_NAME_LEN,
    SCENARIO_REPORT, SERIES_MAX, Scenario,
};

use super::plan::{Data, Done, Plan};
use super::{padded, records, records_len};
use crate::image::Image;
use crate::system::{Outcome, System};

/// A system's time limit is for a PC; a board with one of its own gets so many times as much, as `strato test` gives it.
const PATIENCE: u32 = 4;

/// One system of a series.
#[derive(Clone, Copy, Debug)]
pub struct Part<'s> {
    /// What the report calls it.
    pub name: &'s str,
    /// The system.
    pub system: &'s System,
    /// The image of each VM.
    pub images: &'s [Image],
    /// The header's flags, besides those of a series.
    pub flags: u32,
    /// Whether the report on those before it is printed first.
    pub is_report: bool,
}

impl Part<'_> {
    fn len(&self) -> usize {
        let own = size_of::<Scenario>() + self.system.vms.len() * size_of::<Expect>();
        size_of::<PayloadHeader>() + own + records_len(self.system, self.images)
    }
}

/// Returns the payloads of `parts`, one behind the other; home cores count modulo `cores`.
///
/// # Errors
/// There are none or too many, a name is too long, or a number is beyond what a record can say.
pub fn payloads(parts: &[Part<'_>], cores: u8) -> anyhow::Result<Vec<u8>> {
    ensure!(!parts.is_empty(), "a series of no systems");
    ensure!(parts.len() <= SERIES_MAX, "{} systems: a series has room for {SERIES_MAX}", parts.len());
    let mut data = Data::default();
    let mut before_data: usize = parts.iter().map(Part::len).sum();
    let mut done = Vec::new();
    for part in parts {
        done.push(one(part, cores, Plan::new(before_data, &mut data))?);
        before_data -= part.len();
    }
    let mut rest = data.bytes().to_vec();
    let mut flags = HEADER_SERIES;
    for (part, records) in parts.iter().zip(done).rev() {
        rest = records.finish(part.system, &rest, part.flags | flags)?;
        flags |= HEADER_FOLLOWED;
    }
    Ok(rest)
}

fn one(part: &Part<'_>, cores: u8, mut plan: Plan<'_>) -> anyhow::Result<Done> {
    let (name, system) = (part.name, part.system);
    ensure!(name.len() <= SCENARIO_NAME_LEN, "`{name}` is too long a name for a series");
    plan.record(&Scenario {
        header: Scenario::header(0),
        name: padded(name),
        limit_s: system.time_limit_s.saturating_mul(PATIENCE),
        flags: if part.is_report { SCENARIO_REPORT } else { 0 },
    });
    for (number, vm) in system.vms.iter().enumerate() {
        let (outcome, code) = match vm.expect {
            Outcome::Exited(code) => (EXPECT_EXIT, code),
            Outcome::Stopped => (EXPECT_STOP, 0),
        };
        plan.record(&Expect { header: Expect::header(u16::try_from(number)?), outcome, reserved: 0, code });
    }
    Ok(records(system, part.images, Some(cores), plan)?.done())
}
