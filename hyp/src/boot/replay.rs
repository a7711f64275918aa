//! Replay: the records of the plan become VMs, their memory, channels and peers. Called once by boot, before any core runs a
//! guest; never makes the machine itself.

use core::fmt;

use heapless::Vec;
use log::Level;
use strato_abi::info_page::NAME_LEN;
use strato_abi::plan::{ANY_CORE, CreateVm};
use strato_abi::{Handle, Ipa};

use super::plan::{Plan, PlanError, Record};
use super::start::{make_cpus, wants_report};
use super::{assign, refuse, report};
use crate::allocator::MemId;
use crate::arch::core_base::MAX_CORES;
use crate::arch::epoch::Stay;
use crate::arch::timer;
use crate::console::say;
use crate::lock::Held;
use crate::machine::{Machine, Pool, VM_PLACES};
use crate::scheduler::VcpuRef;
use crate::sync::Ordering;
use crate::vm::build::{self, BuildError, Site};
use crate::vm::{Inner, Vm, attach};

/// Who looks VMs up while the plan is carried out: no core, so that each core can join by itself.
const BUILDER: usize = MAX_CORES;
/// Shared regions that a plan can make.
const REGIONS: usize = 64;

/// Why the plan cannot be carried out.
#[derive(Debug)]
enum StartError {
    Plan(PlanError),
    Build(u32, BuildError),
}

impl From<PlanError> for StartError {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, error) = match self {
            Self::Plan(error) => return error.fmt(f),
            Self::Build(n, error) => (u64::from(*n), error),
        };
        write!(f, "packed system refused: record {n} cannot be carried out: {error}")
    }
}

/// Carries out `plan`; afterwards vCPU 0 of every VM is asked to start. `cores` has a bit for each core that runs.
#[inline(never)]
pub fn replay(machine: &Machine, plan: &Plan<'_>, cores: u8) {
    let mut none = Held::mint();
    {
        let (mut pool, _held) = machine.memory.lock(&mut none);
        make_cpus(machine, &mut pool, cores, &plan.header);
        pool.baseline = pool.allocator.audit().ok();
    }
    // No VM ends before this stay does: no core runs a guest yet.
    let Some(mut visitor) = machine.epochs.join(BUILDER) else { refuse(&"the plan is carried out once") };
    let stay = &visitor.begin();
    let mut builder = Builder { machine, plan, stay, cores, next_core: 0, regions: Vec::new() };
    for record in plan.records() {
        let done = record.map_err(StartError::from).and_then(|(n, record)| builder.carry_out(n, record, &mut none));
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

struct Builder<'a, 'p> {
    machine: &'a Machine,
    plan: &'a Plan<'p>,
    stay: &'a Stay<'a>,
    cores: u8,
    next_core: u8,
    regions: Vec<MemId, REGIONS>,
}

impl<'a> Builder<'a, '_> {
    fn vm(&self, n: u32, vm: u16) -> Result<&'a Vm, StartError> {
        let vm = self.machine.vms.get(usize::from(vm)).and_then(|slot| slot.get(self.stay));
        vm.ok_or(StartError::Plan(PlanError::Order(n)))
    }

    fn carry_out(&mut self, n: u32, record: Record<'_>, none: &mut Held<'_, 0>) -> Result<(), StartError> {
        let failed = |error| StartError::Build(n, error);
        if let Record::CreateVm(record) = record {
            return self.create(n, record, none);
        }
        let vm = self.vm(n, record.vm())?;
        match record {
            Record::CreateVm(_) => {}
            Record::GrantDevice(_) | Record::GrantInterrupt(_) if !record.is_for(self.machine.board) => {}
            Record::GrantDevice(record) => {
                assign::device(self.machine, vm, record, none).map_err(failed)?;
            }
            Record::GrantInterrupt(record) => {
                assign::interrupt(self.machine, vm, record, none).map_err(failed)?;
            }
            Record::GrantSched(record) => {
                let core = self.home(record.core);
                assign::sched(self.machine, vm, record, core, none).map_err(failed)?;
            }
            Record::Load(_) | Record::CreateRegion(_) | Record::GrantRegion(_) => {
                let (mut inner, mut held) = vm.inner.lock(none);
                let (mut pool, _held) = self.machine.memory.lock(&mut held);
                self.give_memory(n, record, vm, &mut inner, &mut pool)?;
            }
            Record::Peer(record) => {
                let peer = self.vm(n, record.peer)?;
                let (mut inner, _held) = vm.inner.lock(none);
                attach::peer(vm, &mut inner, peer, record.name).map_err(failed)?;
            }
            Record::Channel(record) => {
                let peer = self.vm(n, record.peer)?;
                let near = port(vm, record.vcpu, &record.name, none).map_err(failed)?;
                let far = port(peer, record.peer_vcpu, &record.peer_name, none).map_err(failed)?;
                attach::connect(vm, near, peer, far);
                attach::connect(peer, far, vm, near);
            }
            Record::Start(_) => self.start(n, vm, none)?,
        }
        Ok(())
    }

    /// Carries out a record that is about a VM's memory.
    fn give_memory(
        &mut self,
        n: u32,
        record: Record<'_>,
        vm: &Vm,
        inner: &mut Inner,
        pool: &mut Pool,
    ) -> Result<(), StartError> {
        let allocator = &mut pool.allocator;
        let done = match record {
            Record::Load(record) => {
                attach::load(vm, inner, record, self.plan.bytes(n, record.offset, record.file_len)?, allocator)
            }
            Record::CreateRegion(record) => attach::region(inner, record, allocator)
                .and_then(|id| self.regions.push(id).map_err(|_| BuildError::Full)),
            Record::GrantRegion(record) => {
                let id = *self.regions.get(usize::from(record.region)).ok_or(PlanError::Order(n))?;
                attach::grant(vm, inner, record, id, allocator)
            }
            Record::CreateVm(_) | Record::Peer(_) | Record::Channel(_) | Record::Start(_) => Ok(()),
            Record::GrantDevice(_) | Record::GrantInterrupt(_) | Record::GrantSched(_) => Ok(()),
        };
        done.map_err(|error| StartError::Build(n, error))
    }

    fn create(&mut self, n: u32, record: &CreateVm, none: &mut Held<'_, 0>) -> Result<(), StartError> {
        let place = u8::try_from(record.header.vm).ok().filter(|&place| usize::from(place) < VM_PLACES);
        let place = place.ok_or(PlanError::Order(n))?;
        let homes = record.cores.map(|core| self.home(core));
        let command_line = self.plan.bytes(n, record.command_line, u64::from(record.command_line_len))?;
        let named = self.plan.named_handles(record.header.vm, self.machine.board);
        let site = Site { place, incarnation: 1, homes, named, counter_hz: timer::frequency(), command_line };
        let vm = {
            let (mut pool, _held) = self.machine.memory.lock(none);
            build::create(record, site, &mut pool.allocator).map_err(|error| StartError::Build(n, error))?
        };
        let slot = self.machine.vms.get(usize::from(place)).ok_or(PlanError::Order(n))?;
        if slot.fill(vm).is_err() {
            return Err(StartError::Plan(PlanError::Order(n)));
        }
        Ok(())
    }

    /// Returns the core for a vCPU whose manifest says `wanted`: that one if it runs, else another by the same rule on
    /// every boot.
    fn home(&mut self, wanted: u8) -> u8 {
        let count = u8::try_from(self.cores.count_ones()).unwrap_or(1).max(1);
        let rank = if wanted == ANY_CORE {
            self.next_core = self.next_core.wrapping_add(1);
            self.next_core.wrapping_sub(1) % count
        } else {
            wanted % count
        };
        (0..8).filter(|core| self.cores >> core & 1 != 0).nth(usize::from(rank)).unwrap_or(0)
    }

    fn start(&self, n: u32, vm: &Vm, none: &mut Held<'_, 0>) -> Result<(), StartError> {
        let record = self.plan.records().filter_map(Result::ok).find_map(|(_, record)| match record {
            Record::CreateVm(record) => Some(record).filter(|record| record.header.vm == u16::from(vm.place)),
            Record::Load(_) | Record::CreateRegion(_) | Record::GrantRegion(_) => None,
            Record::Peer(_) | Record::Channel(_) | Record::Start(_) => None,
            Record::GrantDevice(_) | Record::GrantInterrupt(_) | Record::GrantSched(_) => None,
        });
        let record = record.ok_or(PlanError::Order(n))?;
        let entry = Ipa::new(record.entry).ok_or(PlanError::Bounds(n))?;
        let used = vm.inner.lock(none).0.account.used() << 12;
        let overhead = used.saturating_sub(record.ram_size);
        say(
            Level::Info,
            format_args!("vm {}: {} bytes of ram, {overhead} bytes of overhead", vm.label, record.ram_size),
        );
        vm.begin_time(timer::now(), self.machine.wall, timer::frequency());
        attach::publish(vm);
        vm.start(0, entry, 0).map_err(|_| PlanError::Bounds(n))?;
        if let (Some(vcpu), Some(who)) = (vm.vcpu(0), VcpuRef::new(vm.place, 0)) {
            self.machine.send_mail(vcpu.public.orders.home(), who);
        }
        Ok(())
    }
}

/// Takes a port of `vm` for a channel.
#[inline(never)]
fn port(vm: &Vm, vcpu: u16, name: &[u8; NAME_LEN], none: &mut Held<'_, 0>) -> Result<Handle, BuildError> {
    let (mut inner, _held) = vm.inner.lock(none);
    attach::port(vm, &mut inner, vcpu, *name)
}
