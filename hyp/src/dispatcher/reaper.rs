//! Reaper: gives back what ended VMs held, one bounded step per turn, on the core whose vCPU was the last to stop; and has those made
//! again, in bounded steps too, whose manifest restarts them (`rebirth`).

mod rebirth;

use core::fmt;

use log::Level;
use strato_abi::plan::SCENARIO_REPORT;

use super::service;
use crate::allocator::AllocError;
use crate::arch::epoch::{Retired, Stay};
use crate::arch::{self, firmware, timer};
use crate::console::{LineBuffer, say};
use crate::gic::{IntId, Owner};
use crate::interpreter::report;
use crate::lock::{Held, lock_pair};
use crate::machine::{Cpu, Machine, Pool};
use crate::scheduler::VcpuRef;
use crate::series::{self, REPORT_ENDS, Verdict};
use crate::sync::Ordering;
use crate::vm::audit::{self, Stray};
use crate::vm::remains::Remains;
use crate::vm::sharing::Side;
use crate::vm::stop::Step;
use crate::vm::{Ending, Vm, stop};

/// Does one step for one VM that this core gives back.
#[cold]
pub fn step(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if let Some(retired) = cpu.retired.take() {
        return reclaim(machine, cpu, retired);
    }
    if cpu.remains.is_some() {
        return bury(machine, cpu, stay);
    }
    if cpu.rebuild.is_some() {
        return rebirth::step(machine, cpu, stay);
    }
    // In turn, so that one that fails again and again does not keep the others from their end.
    let behind = cpu.reaping & (u64::MAX - 1) << (cpu.reaped & 63);
    cpu.reaped = if behind == 0 { cpu.reaping } else { behind }.trailing_zeros();
    let slot = usize::try_from(cpu.reaped).ok().and_then(|place| machine.vms.get(place));
    let Some((slot, vm)) = slot.and_then(|slot| Some((slot, slot.get(stay)?))) else {
        cpu.reaping &= !(1 << (cpu.reaped & 63));
        return;
    };
    let mut none = Held::mint();
    if say_rest(machine, vm, &mut none) || report::go_on(vm, &mut none) || take_interrupt(machine, vm, &mut none) {
        return;
    }
    let peer = |place: u8| machine.vms.get(usize::from(place)).and_then(|slot| slot.get(stay));
    // The stage changes here alone; what the step finds of the other VM is looked at again under both locks.
    let partner = {
        let (inner, _held) = vm.inner.lock(&mut none);
        stop::partner(&inner, (0..64).filter(|&place| place != vm.place && peer(place).is_some()))
    };
    let is_that =
        |other: &&Vm| partner.is_some_and(|partner| partner.incarnation.is_none_or(|i| i == other.incarnation));
    let partner =
        partner.and_then(|partner| peer(partner.place)).filter(|other| other.place != vm.place && is_that(other));
    let step = match partner {
        Some(other) => with_partner(machine, vm, other, &mut none, peer),
        None => {
            let (mut inner, mut held) = vm.inner.lock(&mut none);
            let (mut pool, _held) = machine.memory.lock(&mut held);
            let Pool { allocator, own, .. } = &mut *pool;
            stop::step(vm, &mut inner, None, (allocator, own), &machine.epochs, peer)
        }
    };
    match step {
        Ok(Step { is_done: true, .. }) => {
            machine.devices.lock(&mut none).0.release(vm.place);
            cpu.rebuild = rebirth::judge(machine, vm, &mut none);
            cpu.retired = slot.retire(&machine.epochs);
        }
        Ok(Step { told, .. }) => {
            if let Some(other) = partner {
                let told =
                    (0..8).filter(|vcpu| told >> vcpu & 1 != 0).filter_map(|vcpu| VcpuRef::new(other.place, vcpu));
                told.for_each(|who| service::tell(machine, cpu, other, who));
            }
        }
        Err(_) => panic!("vm {}: the ledger contradicts what the VM holds", vm.label),
    }
}

/// Says what a VM that ends has written of a line that it did not end. Returns whether there was something.
fn say_rest(machine: &Machine, vm: &Vm, none: &mut Held<'_, 0>) -> bool {
    let (mut line, _held) = vm.line.lock(none);
    if line.is_empty() {
        return false;
    }
    if !machine.console.guest_flush(&vm.label, &mut line) {
        say(Level::Warn, format_args!("vm {}: its unfinished last line was lost, the console is full", vm.label));
        *line = LineBuffer::new();
    }
    true
}

/// Takes one interrupt of a device from a VM that ends, before anything else is taken from it. Returns whether there was one.
fn take_interrupt(machine: &Machine, vm: &Vm, none: &mut Held<'_, 0>) -> bool {
    let me = Some(Owner { place: vm.place, incarnation: vm.incarnation });
    for line in machine.lines.iter() {
        let (mut line, _held) = line.lock(none);
        if line.owner() == me {
            let intid = line.intid().map_or(0, IntId::number);
            if line.release(&machine.gic) {
                say(
                    Level::Warn,
                    format_args!("vm {}: interrupt {} was masked: its line did not fall", vm.label, u64::from(intid)),
                );
            }
            return true;
        }
    }
    false
}

/// Does a step that has to do with another VM, under the locks of both.
fn with_partner<'s>(
    machine: &'s Machine,
    vm: &'s Vm,
    other: &'s Vm,
    none: &mut Held<'_, 0>,
    peer: impl Fn(u8) -> Option<&'s Vm>,
) -> Result<Step, AllocError> {
    let pair = lock_pair((vm.place, &vm.inner), (other.place, &other.inner), none);
    let Some((mut inner, mut theirs, mut held)) = pair else { unreachable!("no VM is its own partner") };
    let (mut pool, _held) = machine.memory.lock(&mut held);
    let Pool { allocator, own, .. } = &mut *pool;
    let mut side = Side { vm: other, inner: &mut theirs };
    stop::step(vm, &mut inner, Some(&mut side), (allocator, own), &machine.epochs, peer)
}

/// Takes the VM object apart once no core can use it any more. By itself, as all of this: the stack is 32 KiB.
#[inline(never)]
fn reclaim(machine: &Machine, cpu: &mut Cpu, retired: Retired<Vm>) {
    machine.nudge(retired.lagging(&machine.epochs) & !(1 << cpu.index.index()));
    match retired.reclaim(&machine.epochs) {
        Ok(vm) => cpu.remains = Some(Remains::of(vm)),
        Err(retired) => cpu.retired = Some(retired),
    }
}

/// Gives back a part of what the VM object consisted of.
#[inline(never)]
fn bury(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    let Some(remains) = &mut cpu.remains else { return };
    let mut none = Held::mint();
    let (place, label, ending) = (remains.place, remains.label.clone(), remains.ending);
    let is_over = cpu.rebuild.is_none();
    {
        let (mut pool, _held) = machine.memory.lock(&mut none);
        let Pool { allocator, own, .. } = &mut *pool;
        match remains.step((allocator, own), is_over) {
            Ok(None) => return,
            Ok(Some(0)) => cpu.remains = None,
            Ok(Some(pages)) => panic!("vm {label}: {pages} pages were not given back"),
            Err(_) => panic!("vm {label}: the ledger contradicts what the VM holds"),
        }
    }
    if arch::IS_CHECKED {
        audit(machine, stay, &mut none);
    }
    if is_over {
        cpu.reaping &= !(1 << place);
        close(machine, place, &label, ending);
    }
}

/// Says how a VM ended for good, and ends the run of the machine with the last one.
fn close(machine: &Machine, place: u8, label: &str, ending: Ending) {
    let exit = if let Ending::Exit(code) = ending { Some(code) } else { None };
    series::note(place, exit, machine.plan.expectation(place));
    if is_last_report(machine, label, ending) {
        finish(machine);
    }
}

/// Adds the ledger up, and looks at everything that the VMs map: one VM after the other, each as it stands.
fn audit(machine: &Machine, stay: &Stay<'_>, none: &mut Held<'_, 0>) {
    for vm in machine.vms.iter().filter_map(|slot| slot.get(stay)) {
        let (inner, mut held) = vm.inner.lock(none);
        let (pool, _held) = machine.memory.lock(&mut held);
        if let Err(Stray { ipa, pa }) = audit::audit(vm.place, &inner, &pool.allocator) {
            panic!("audit: vm {} maps {pa:#x} at {ipa:#x}, and nothing lets it", vm.label);
        }
    }
    let (pool, _held) = machine.memory.lock(none);
    if pool.allocator.audit().is_err() {
        panic!("audit: the ledger contradicts itself");
    }
}

/// How a VM ended, as it is said.
struct How(Ending);

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ending::Exit(code) => write!(f, "ended, exit code {code}"),
            Ending::Panic { reason, pc, esr, far } => write!(
                f,
                "stopped: it reported a crash: reason {reason}, pc {pc:#x}, syndrome {esr:#x}, address {far:#x}"
            ),
            Ending::Watchdog(vcpu) => write!(f, "stopped: the watchdog of its vcpu {} ran out", u64::from(vcpu)),
            Ending::Stopped | Ending::Unmade => f.write_str("stopped: see its report"),
            Ending::Reboot => f.write_str("stopped: it asked for a restart"),
        }
    }
}

/// Says how a VM ended. Returns whether it was the last.
fn is_last_report(machine: &Machine, label: &str, ending: Ending) -> bool {
    log::info!("vm {label}: {}", How(ending));
    let is_ok = ending == Ending::Exit(0);
    if let Some(count) = machine.ended.get(usize::from(!is_ok)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    machine.living.fetch_sub(1, Ordering::AcqRel) == 1
}

/// Ends the run of the machine: all memory must be back.
fn finish(machine: &Machine) -> ! {
    let mut none = Held::mint();
    {
        let (pool, _held) = machine.memory.lock(&mut none);
        match pool.allocator.audit() {
            Ok(audit) if Some(&audit) == pool.baseline.as_ref() => log::info!("audit: all memory is back"),
            Ok(_) => panic!("audit: memory is missing after the last VM ended"),
            Err(_) => panic!("audit: the ledger contradicts itself"),
        }
    }
    let [ok, failed] = &machine.ended;
    let (ok, failed) = (ok.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    log::info!("all guests ended, {ok} ok, {failed} failed, at {} ticks", timer::now());
    leave(machine, Verdict::PASSED)
}

/// Ends what takes longer than a system of a series may.
#[cold]
#[inline(never)]
pub fn give_up(machine: &Machine) -> ! {
    leave(machine, Verdict::TOO_LONG)
}

/// Powers the machine off; or, behind a system of a series, resets it, so that the next one has its turn. The last one's lines are the end
/// of the report.
fn leave(machine: &Machine, verdict: Verdict) -> ! {
    let scenario = machine.plan.scenario();
    let verdict = scenario.and_then(|_| series::end(verdict));
    if let Some(verdict) = verdict {
        say(Level::Info, format_args!("self-test: {verdict}"));
    }
    let is_report = scenario.is_some_and(|scenario| scenario.flags & SCENARIO_REPORT != 0);
    if is_report {
        say(Level::Info, format_args!("{REPORT_ENDS}"));
    }
    machine.console.drain();
    machine.console.forget_past();
    if verdict.is_some() && !is_report {
        firmware::system_reset();
    }
    firmware::system_off();
    arch::panic::park()
}
