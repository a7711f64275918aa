//! Replay: the records of the plan become VMs, their memory, channels and peers. Called once by boot, before any core runs a
//! guest; never makes the machine itself.

use core::fmt;

use log::Level;

use super::start::{make_cpus, wants_report};
use super::{refuse, report};
use crate::arch::core_base::MAX_CORES;
use crate::arch::epoch::Stay;
use crate::builder::{self, Fault};
use crate::console::say;
use crate::lock::Held;
use crate::machine::{Building, Machine};
use crate::plan::{PlanError, Record};
use crate::sync::Ordering;

/// Who looks VMs up while the plan is carried out: no core, so that each core can join by itself.
const BUILDER: usize = MAX_CORES;

/// Why the plan cannot be carried out, and the number of the record.
struct Refusal(u32, Fault);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            Fault::Plan(error) => error.fmt(f),
            Fault::Build(error) => {
                write!(f, "packed system refused: record {} cannot be carried out: {error}", u64::from(self.0))
            }
        }
    }
}

/// Carries out the plan; afterwards vCPU 0 of every VM is asked to start.
#[inline(never)]
pub fn replay(machine: &Machine) {
    let plan = &machine.plan;
    let mut none = Held::mint();
    {
        let (mut pool, _held) = machine.memory.lock(&mut none);
        make_cpus(machine, &mut pool, machine.cores, &plan.header);
        pool.baseline = pool.allocator.audit().ok();
    }
    // No VM ends before this stay does: no core runs a guest yet.
    let Some(mut visitor) = machine.epochs.join(BUILDER) else { refuse(&"the plan is carried out once") };
    let stay = &visitor.begin();
    let mut work = Building::first(plan.records());
    for record in plan.records() {
        let done = record
            .map_err(|error| Refusal(0, error.into()))
            .and_then(|(n, record)| carry_out(machine, stay, &mut work, (n, &record), &mut none));
        if let Err(error) = done {
            machine.console.flush_polled();
            refuse(&error);
        }
    }
    if wants_report(&plan.header) {
        report::owners(machine, stay, &mut none);
    }
    machine.is_ready.store(true, Ordering::Release);
}

/// Carries out a record as a whole, if it is for this board.
fn carry_out(
    machine: &Machine,
    stay: &Stay<'_>,
    work: &mut Building,
    (n, record): (u32, &Record<'static>),
    none: &mut Held<'_, 0>,
) -> Result<(), Refusal> {
    if !record.is_for(machine.board) {
        return Ok(());
    }
    let order = || Refusal(n, PlanError::Order(n).into());
    work.place = u8::try_from(record.vm()).map_err(|_| order())?;
    if let Record::CreateVm(_) = record {
        let named = machine.plan.named_handles(record.vm(), machine.board);
        work.named = u16::try_from(named).unwrap_or(u16::MAX);
    }
    if let Record::Start(_) = record {
        say_size(machine, stay, work.place, none);
    }
    while !builder::carry_out(machine, stay, work, (n, record), none)
        .map_err(|fault| Refusal(n, fault))?
        .ok_or_else(order)?
    {}
    Ok(())
}

/// Says how large the VM in `place` is.
fn say_size(machine: &Machine, stay: &Stay<'_>, place: u8, none: &mut Held<'_, 0>) {
    let Some(vm) = machine.vms.get(usize::from(place)).and_then(|slot| slot.get(stay)) else { return };
    let (used, ram) = {
        let (inner, _held) = vm.inner.lock(none);
        (inner.account.used() << 12, inner.handles.next_mem(0).map_or(0, |(_, ram)| ram.pages << 12))
    };
    let overhead = used.saturating_sub(ram);
    say(Level::Info, format_args!("vm {}: {ram} bytes of ram, {overhead} bytes of overhead", vm.label));
}
