//! Record: what one record of the plan comes to, in bounded steps.
//!
//! Called by boot for all VMs, which does all steps at once, and by `again` for one that is made again. From the step on that completes it a VM
//! stands in its place, off.

use strato_abi::plan::{CreateVm, GrantRegion, HEADER_CYCLES, Load};

use super::{Fault, assign, channel, start};
use crate::allocator::MemId;
use crate::arch::epoch::Stay;
use crate::arch::{firmware, timer};
use crate::lock::Held;
use crate::machine::{Building, Doing, Machine, Pool, Region};
use crate::plan::{PlanError, Record};
use crate::vm::build::{BuildError, Site};
use crate::vm::making::Making;
use crate::vm::work::{Goal, Work};
use crate::vm::{Inner, VCPUS_MAX, Vm, attach};

/// Bytes of a segment that one step copies.
const BYTES_PER_STEP: u64 = 8192;

/// Returns the VM in a place.
#[inline(never)]
pub(super) fn find<'s>(machine: &'s Machine, stay: &'s Stay<'_>, place: u16) -> Option<&'s Vm> {
    machine.vms.get(usize::from(place))?.get(stay)
}

/// Takes a part of the VM, or puts the whole into its place. Returns whether that was all.
#[inline(never)]
fn create(
    machine: &Machine,
    work: &mut Building,
    n: u32,
    record: &CreateVm,
    none: &mut Held<'_, 0>,
) -> Result<bool, Fault> {
    let command_line = machine.plan.bytes(n, record.command_line, u64::from(record.command_line_len));
    let mut site = Site {
        place: work.place,
        life: work.life,
        homes: [0; 8],
        named: usize::from(work.named),
        counter_hz: timer::frequency(),
        has_cycles: machine.plan.header.flags & HEADER_CYCLES != 0,
        has_to_clear: firmware::has_to_clear(),
        command_line: command_line?,
    };
    let Doing::Making(making, homes) = &mut *work.doing else {
        let homes = record.cores.map(|core| work.tally.home(machine.cores, core));
        begin(work, record, &site, homes)?;
        return Ok(false);
    };
    site.homes = *homes;
    let (mut pool, _held) = machine.memory.lock(none);
    if !making.is_ready() {
        let Pool { allocator, own, .. } = &mut *pool;
        making.step(record, &site, (allocator, own))?;
        return Ok(false);
    }
    let vm = making.finish(record, &site)?;
    work.go_on(Doing::Nothing);
    let slot = machine.vms.get(usize::from(work.place));
    if !matches!(slot.map(|slot| slot.fill(vm)), Some(Ok(()))) {
        return Err(PlanError::Order(n).into()); // at boot, where nothing goes on then; the place of a VM that ended is its own
    }
    work.tally.handle(record.header.vm);
    Ok(true)
}

/// Begins to make the VM. By itself, so that its parts do not stand on the stack twice beside the VM.
#[inline(never)]
fn begin(work: &mut Building, record: &CreateVm, site: &Site<'_>, homes: [u8; VCPUS_MAX]) -> Result<(), BuildError> {
    work.go_on(Doing::Making(Making::begin(record, site)?, homes));
    Ok(())
}

/// Carries out a part of a record of the VM in place `work.place`, or of its peer. Returns whether that was all; `None` when a VM that it
/// names is not there, or ends.
///
/// # Errors
/// [`Fault`]; [`give_up`] gives back what was taken and is not the VM's.
#[inline(never)]
pub fn carry_out(
    machine: &Machine,
    stay: &Stay<'_>,
    work: &mut Building,
    (n, record): (u32, &Record<'static>),
    none: &mut Held<'_, 0>,
) -> Result<Option<bool>, Fault> {
    if let Record::CreateVm(record) = record {
        return create(machine, work, n, record, none).map(Some);
    }
    let is_boot = work.life.number == 1;
    let find = |place: u16| find(machine, stay, place);
    let Some(vm) = find(u16::from(work.place)).filter(|vm| !vm.is_ending()) else { return Ok(None) };
    match record {
        Record::Load(_) | Record::GrantRegion(_) | Record::CreateRegion(_) => {
            let (mut inner, mut held) = vm.inner.lock(none);
            let (mut pool, _held) = machine.memory.lock(&mut held);
            if !give_memory(machine, vm, work, (n, record), &mut inner, &mut pool)? {
                return Ok(Some(false));
            }
        }
        Record::Peer(record) => {
            let place = u8::try_from(record.peer).unwrap_or(u8::MAX);
            // Looked up under the lock: a peer that is made again at this moment too is there by now, or finds the handle and renews it.
            let (mut inner, _held) = vm.inner.lock(none);
            let incarnation = match find(record.peer) {
                Some(peer) => peer.incarnation,
                None if is_boot => return Ok(None),
                None => 0,
            };
            attach::peer(vm, &mut inner, (place, incarnation), record.name)?;
        }
        Record::Channel(record) => {
            let ends = [record.header.vm, record.peer];
            let handles = ends.map(|vm| work.tally.handle(vm));
            channel::near_end(vm, record, handles, find, none)?;
            if is_boot {
                // The other end finds this one.
                let [_, far] = ends;
                let Some(peer) = find(far) else { return Ok(None) };
                channel::near_end(peer, record, handles, find, none)?;
            }
        }
        Record::GrantDevice(record) => assign::device(machine, vm, record, none)?,
        Record::AllowRegister(record) => assign::register(machine, vm, record, none)?,
        Record::GrantInterrupt(record) => assign::interrupt(machine, vm, record, none)?,
        Record::GrantSched(record) => {
            let core = work.tally.home(machine.cores, record.core);
            let place = work.tally.share(core);
            assign::sched(machine, vm, record, (core, place, is_boot), none)?;
        }
        Record::Start(_) => start(machine, vm)?,
        Record::CreateVm(_) | Record::Expect(_) | Record::Scenario(_) => {}
    }
    work.tally.count(record);
    Ok(Some(true))
}

/// Carries out a part of a record that is about the VM's memory. Returns whether that was all.
fn give_memory(
    machine: &Machine,
    vm: &Vm,
    work: &mut Building,
    (n, record): (u32, &Record<'static>),
    inner: &mut Inner,
    pool: &mut Pool,
) -> Result<bool, Fault> {
    match record {
        Record::Load(record) => load(machine, vm, work, (n, record), inner, pool),
        Record::GrantRegion(record) => Ok(grant(vm, work, record, inner, pool)?),
        Record::CreateRegion(record) => {
            let order = attach::region_order(record)?;
            // At boot others may get it before its owner does.
            let is_boot = work.life.number == 1;
            let made = is_boot.then(|| pool.allocator.mem_create(order, &mut pool.own));
            let region = made.transpose().map_err(BuildError::from)?.map_or(Region::Wanted(order), Region::Made);
            work.regions.push(region).map_err(|_| BuildError::Full)?;
            Ok(true)
        }
        Record::CreateVm(_) | Record::Peer(_) | Record::Channel(_) | Record::Start(_) => Ok(true),
        Record::GrantDevice(_) | Record::AllowRegister(_) | Record::GrantInterrupt(_) => Ok(true),
        Record::GrantSched(_) | Record::Expect(_) | Record::Scenario(_) => Ok(true),
    }
}

/// Copies or maps a part of a segment. Returns whether that was all.
fn load(
    machine: &Machine,
    vm: &Vm,
    work: &mut Building,
    (n, record): (u32, &Load),
    inner: &mut Inner,
    pool: &mut Pool,
) -> Result<bool, Fault> {
    let (part, from) = match *work.doing {
        Doing::Filling(part, from) => (part, from),
        Doing::Showing(..) => return Ok(show(work, inner, pool)?),
        Doing::Nothing | Doing::Making(..) | Doing::Zeroing(_) => (attach::segment(vm, inner, record)?, 0),
    };
    let left = record.file_len.saturating_sub(from);
    if left == 0 {
        work.go_on(Doing::Showing(part, 0));
        return Ok(false);
    }
    let count = left.min(BYTES_PER_STEP);
    let bytes = machine.plan.bytes(n, record.offset.saturating_add(from), count)?;
    attach::fill(vm, &part, from, bytes, &pool.allocator)?;
    work.go_on(Doing::Filling(part, from.saturating_add(count)));
    Ok(false)
}

/// Maps a part of what is being shown. Returns whether that was all.
fn show(work: &mut Building, inner: &mut Inner, pool: &mut Pool) -> Result<bool, BuildError> {
    let Doing::Showing(part, done) = &mut *work.doing else { return Ok(true) };
    *done = attach::show(inner, part, *done, &mut pool.allocator)?;
    if *done < part.pages {
        return Ok(false);
    }
    work.go_on(Doing::Nothing);
    Ok(true)
}

/// Gives the VM its part in a region. In a later life that is the region which the others have; when nobody has it, it is zeroed first, a part of
/// it at a time. Returns whether that was all.
fn grant(
    vm: &Vm,
    work: &mut Building,
    record: &GrantRegion,
    inner: &mut Inner,
    pool: &mut Pool,
) -> Result<bool, BuildError> {
    let Pool { allocator, own, .. } = pool;
    let region = usize::from(record.region);
    match &mut *work.doing {
        Doing::Zeroing(scrub) => {
            if !scrub.step() {
                return Ok(false);
            }
        }
        Doing::Showing(..) => return show(work, inner, pool),
        Doing::Nothing | Doing::Making(..) | Doing::Filling(..) => {
            let order = match work.regions.get(region) {
                Some(Region::Made(id)) => return hand_out(vm, work, record, *id, inner, pool),
                Some(Region::Wanted(order)) => *order,
                None => return Err(BuildError::Record("expected a region that can be given")),
            };
            match allocator.kept(region) {
                Some(None) => return Ok(false), // another VM that is made again has it zeroed just now
                Some(Some(id)) if allocator.mem_info(id).is_some_and(|info| info.references != 0) => {
                    return hand_out(vm, work, record, id, inner, pool);
                }
                Some(Some(_)) | None => {}
            }
            let scrub = allocator.begin_kept(region, order, own)?;
            work.go_on(Doing::Zeroing(scrub));
            return Ok(false);
        }
    }
    let pages =
        work.take_scrub().and_then(|scrub| scrub.finish().ok()).and_then(|pages| allocator.mem_finish(pages).ok());
    let Some(id) = pages else { unreachable!("what was scrubbed becomes an object") };
    hand_out(vm, work, record, id, inner, pool)
}

/// Gives the VM its handle to a region. Returns whether that was all, or it is to be mapped.
#[inline(never)]
fn hand_out(
    vm: &Vm,
    work: &mut Building,
    record: &GrantRegion,
    id: MemId,
    inner: &mut Inner,
    pool: &mut Pool,
) -> Result<bool, BuildError> {
    let Pool { allocator, own, .. } = pool;
    let part = attach::grant(vm, inner, record, id, (allocator, own))?;
    work.go_on(part.map_or(Doing::Nothing, |part| Doing::Showing(part, 0)));
    Ok(part.is_none())
}

/// Gives back what was taken and is not the VM's yet.
#[cold]
#[inline(never)]
pub fn give_up(machine: &Machine, stay: &Stay<'_>, work: &mut Building, none: &mut Held<'_, 0>) {
    if let Doing::Making(making, _) = &mut *work.doing {
        making.give_up(&mut machine.memory.lock(none).0.allocator);
    }
    if let Some(scrub) = work.take_scrub() {
        // The end of the VM goes on with it.
        let Some(vm) = find(machine, stay, work.place.into()) else { unreachable!("the VM is in its place") };
        let goal = Goal::Pool { handle: None, is_orphan: true };
        vm.inner.lock(none).0.work = Some(Work::new(scrub, goal));
    }
    work.go_on(Doing::Nothing);
}
