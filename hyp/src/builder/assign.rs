//! Assign: a record gives a VM registers or the interrupt of a device, or a share of a core's time, after what the host tool checked was checked again.
//! Called by `record`.

use strato_abi::plan::{
    AllowRegister, DEVICE_DMA_TRUSTED, DEVICE_FILTERED, GrantDevice, GrantInterrupt, GrantSched, INTERRUPT_EDGE,
};
use strato_abi::vcpu::SCHED_WAKE_US;

use crate::arch::timer;
use crate::board::{AllowError, ClaimError};
use crate::gic::{self, IntId, Owner};
use crate::lock::Held;
use crate::machine::Machine;
use crate::scheduler::RESERVED;
use crate::sync::Ordering;
use crate::vm::build::BuildError;
use crate::vm::handles::SchedRef;
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
    let claimed = machine.devices.lock(none).0.claim(
        vm.place,
        record.address,
        record.size,
        is_trusted,
        record.flags & DEVICE_FILTERED != 0,
    );
    claimed.map_err(|error| {
        BuildError::Record(match error {
            ClaimError::Range => "a device's registers are not whole pages",
            ClaimError::Kept => "a device's registers are in a page of the hypervisor's, or of memory",
            ClaimError::Taken => "a device's registers are in a page that a VM has already",
            ClaimError::Dma => "a device may reach memory by itself, and its driver is not trusted",
            ClaimError::Whole => "a device's registers are given bit by bit, and not in the board's shared page",
            ClaimError::Full => "there are too many devices",
        })
    })?;
    // What is filtered the hypervisor accesses itself.
    vm.has_devices.fetch_or(record.flags & DEVICE_FILTERED == 0, Ordering::Relaxed);
    attach::device(vm, &mut vm.inner.lock(none).0, record)
}

/// Gives `vm` the bits of `record` in a register of a page that it was given to be filtered.
///
/// # Errors
/// [`BuildError`].
pub(super) fn register(
    machine: &Machine,
    vm: &Vm,
    record: &AllowRegister,
    none: &mut Held<'_, 0>,
) -> Result<(), BuildError> {
    let allowed = machine.devices.lock(none).0.allow(vm.place, record.address, record.mask);
    allowed.map_err(|error| {
        BuildError::Record(match error {
            AllowError::Page => "a register is in no page that its VM has bits of",
            AllowError::Bits => "bits of a register are not for a VM",
            AllowError::Taken => "bits of a register are given already",
            AllowError::Full => "there are too many registers of which VMs have bits",
        })
    })
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
    let claimed = machine.lines.claim(intid, record.flags & INTERRUPT_EDGE != 0, owner, &machine.gic, none);
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

/// Gives `vm` the share of the time of `core` that `record` is about, the one in `place`, and makes the vCPUs that begin with it run by it.
///
/// The reservation is made at boot and stays with the core, so that a VM that is made again finds of it what its life before has left.
///
/// # Errors
/// [`BuildError`].
pub(super) fn sched(
    machine: &Machine,
    vm: &Vm,
    record: &GrantSched,
    (core, place, is_boot): (u8, u8, bool),
    none: &mut Held<'_, 0>,
) -> Result<(), BuildError> {
    if record.budget_us == 0 || record.period_us < record.budget_us || record.priority > 31 {
        return Err(BuildError::Record("expected budget, period or priority of a share of a core's time"));
    }
    // Exact up to 4 GHz, and at least one: a counter is not slower than 1 MHz (Arm ARM DDI 0487).
    let ticks = |us: u32| (timer::frequency().saturating_mul(u64::from(us)) / 1_000_000).max(1);
    let (budget, period, priority) = (ticks(record.budget_us), ticks(record.period_us), record.priority);
    if is_boot {
        let mut cpu = machine.cpus.get(usize::from(core)).ok_or(BuildError::Full)?.lock_leaf();
        let cpu = cpu.as_mut().ok_or(BuildError::Record("expected a core that runs no guest yet"))?;
        cpu.reserved.set_price(ticks(SCHED_WAKE_US));
        let added = cpu.reserved.add(vm.place, budget, period);
        if added != Some(place) {
            return Err(BuildError::Record("a core's time is cut into too many shares"));
        }
    }
    for number in (0..8).filter(|number| record.vcpus & 1 << number != 0) {
        let vcpu = vm.vcpu(number).ok_or(BuildError::Record("expected vCPUs of a share of a core's time"))?;
        vcpu.public.orders.settle(core);
        vcpu.public.run_by(Some(place), priority.wrapping_add(RESERVED));
        vcpu.public.supply_with(budget, period);
    }
    vm.share_cores.fetch_or(1 << (core & 7), Ordering::Relaxed);
    attach::sched(vm, &mut vm.inner.lock(none).0, SchedRef { core, place, priority, budget, period }, record.name)
}
