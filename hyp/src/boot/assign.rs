//! Assign: a record gives a VM registers or the interrupt of a device, after what the host tool checked was checked again.
//! Called by `replay`.

use strato_abi::plan::{DEVICE_DMA_TRUSTED, GrantDevice, GrantInterrupt, INTERRUPT_EDGE};

use crate::board::ClaimError;
use crate::gic::{self, IntId, Owner};
use crate::lock::Held;
use crate::machine::Machine;
use crate::vm::build::BuildError;
use crate::vm::{Vm, attach};

/// Gives `vm` the registers of `record`.
///
/// # Errors
/// [`BuildError`].
pub(super) fn device(
    machine: &Machine,
    vm: &Vm,
    record: &GrantDevice,
    none: &mut Held<'_, 0>,
) -> Result<(), BuildError> {
    let is_trusted = record.flags & DEVICE_DMA_TRUSTED != 0;
    let claimed = machine.devices.lock(none).0.claim(vm.place, record.address, record.size, is_trusted);
    claimed.map_err(|error| {
        BuildError::Record(match error {
            ClaimError::Range => "a device's registers are not whole pages",
            ClaimError::Kept => "a device's registers are in a page of the hypervisor's, or of memory",
            ClaimError::Taken => "a device's registers are in a page that a VM has already",
            ClaimError::Dma => "a device may reach memory by itself, and its driver is not trusted",
            ClaimError::Full => "there are too many devices",
        })
    })?;
    attach::device(vm, &mut vm.inner.lock(none).0, record)
}

/// Gives `vm` the interrupt of `record`, masked.
///
/// # Errors
/// [`BuildError`].
pub(super) fn interrupt(
    machine: &Machine,
    vm: &Vm,
    record: &GrantInterrupt,
    none: &mut Held<'_, 0>,
) -> Result<(), BuildError> {
    let intid = IntId::shared(record.intid).ok_or(BuildError::Record("an interrupt is not a shared one"))?;
    let owner = Owner { place: vm.place, incarnation: vm.incarnation };
    let claimed = machine.lines.claim(intid, record.flags & INTERRUPT_EDGE != 0, owner, &machine.gic);
    let line = claimed.map_err(|error| {
        BuildError::Record(match error {
            gic::ClaimError::Kept => "an interrupt is the hypervisor's",
            gic::ClaimError::Taken => "an interrupt is a VM's already",
            gic::ClaimError::Unknown => "the interrupt controller does not have an interrupt",
            gic::ClaimError::Full => "there are too many interrupts",
        })
    })?;
    attach::interrupt(vm, &mut vm.inner.lock(none).0, line, record.name)
}
