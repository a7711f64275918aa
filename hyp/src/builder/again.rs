//! Again: a VM that has ended is made of its records once more, in bounded steps, while other guests run.
//!
//! Called by the dispatcher's reaper on the core that gave the VM back. From the step on that completes it the VM stands in its place, off;
//! when a later one fails, it has to be ended like any other.

use super::record::find;
use super::{Fault, carry_out, give_up};
use crate::arch::epoch::Stay;
use crate::lock::Held;
use crate::machine::{Building, Machine, Region};
use crate::plan::Record;
use crate::vm::attach;
use crate::vm::build::BuildError;

/// Records of other VMs that one step passes over.
const RECORDS_PER_STEP: usize = 16;

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Another step is due.
    Partly,
    /// The VM is whole, and asked to start.
    Whole,
    /// Somebody has ended it: nothing more is done for it.
    Ended,
}

/// Does a step.
///
/// # Errors
/// [`Fault`]: the record that is under way cannot be carried out. What was taken for it and is not the VM's is given back.
pub fn step(machine: &Machine, stay: &Stay<'_>, work: &mut Building, none: &mut Held<'_, 0>) -> Result<Made, Fault> {
    let Some((n, record)) = work.record else {
        advance(machine, stay, work, none);
        // The last record of each VM is its start.
        return if work.record.is_some() || !work.is_at_end { Ok(Made::Partly) } else { Err(TORN) };
    };
    let done = carry_out(machine, stay, work, (n, &record), none);
    if !matches!(done, Ok(Some(_))) {
        give_up(machine, stay, work, none);
    }
    let Some(is_done) = done? else { return Ok(Made::Ended) };
    if is_done {
        work.record = None;
    }
    Ok(if is_done && matches!(record, Record::Start(_)) { Made::Whole } else { Made::Partly })
}

const TORN: Fault = Fault::Build(BuildError::Record("expected its start"));

/// Goes on to the next record of the VM, over a bounded number of others'.
fn advance(machine: &Machine, stay: &Stay<'_>, work: &mut Building, none: &mut Held<'_, 0>) {
    let place = u16::from(work.place);
    for _ in 0..RECORDS_PER_STEP {
        // All were read at boot.
        let Some(Ok((n, record))) = work.records.next() else {
            work.is_at_end = true;
            return;
        };
        if !record.is_for(machine.board) {
            continue;
        }
        match record {
            Record::Channel(channel) if channel.peer != place && record.vm() != place => {
                work.tally.handle(channel.header.vm);
                work.tally.handle(channel.peer);
            }
            Record::Channel(_) => {
                work.record = Some((n, record));
                return;
            }
            _ if record.vm() == place => {
                work.record = Some((n, record));
                return;
            }
            Record::CreateVm(create) => {
                for core in create.cores {
                    work.tally.home(machine.cores, core);
                }
            }
            Record::Peer(peer) if peer.peer == place => {
                if let Some(vm) = find(machine, stay, record.vm()) {
                    vm.inner.lock(none).0.handles.renew_peers(work.place, work.life.number);
                }
            }
            // As many as there are, and of these sizes, were made at boot.
            Record::CreateRegion(region) => {
                let _ = attach::region_order(region).map(|order| work.regions.push(Region::Wanted(order)));
            }
            Record::Load(_) | Record::GrantRegion(_) | Record::Peer(_) | Record::Start(_) => {}
            Record::GrantDevice(_) | Record::AllowRegister(_) | Record::GrantInterrupt(_) => {}
            Record::GrantSched(sched) => {
                let core = work.tally.home(machine.cores, sched.core);
                work.tally.share(core);
            }
            Record::Expect(_) | Record::Scenario(_) => {}
        }
        work.tally.count(&record);
    }
}
