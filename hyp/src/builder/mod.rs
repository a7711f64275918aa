//! Builder: records of the plan become what VMs have: of all VMs before the first guest runs, and of one that is made again while others
//! run. Called by `boot` and by the dispatcher's reaper; never makes the machine itself, and never decides who is made.

mod again;
mod assign;
mod channel;
mod record;

use core::fmt;

pub use again::{Made, step};
pub use record::{carry_out, give_up};

use crate::arch::timer;
use crate::machine::Machine;
use crate::plan::PlanError;
use crate::scheduler::VcpuRef;
use crate::vm::build::BuildError;
use crate::vm::{Vm, attach};

/// Why a record cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The plan contradicts itself.
    Plan(PlanError),
    /// What it asks for cannot be built.
    Build(BuildError),
}

impl From<PlanError> for Fault {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
        }
    }
}

/// Asks vCPU 0 of `vm`, to which nothing is added any more, to start at its image's entry.
///
/// # Errors
/// [`BuildError::Record`].
fn start(machine: &Machine, vm: &Vm) -> Result<(), BuildError> {
    vm.begin_time(timer::now(), machine.wall, timer::frequency());
    attach::publish(vm);
    vm.start(0, vm.entry, 0).map_err(|_| BuildError::Record("expected entry"))?;
    if let (Some(vcpu), Some(who)) = (vm.vcpu(0), VcpuRef::new(vm.place, 0)) {
        machine.send_mail(vcpu.public.orders.home(), who);
    }
    Ok(())
}
