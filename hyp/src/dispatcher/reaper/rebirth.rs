//! Rebirth: a VM that was given back whole is made again, when its manifest says so and not too often.

use super::{How, service};
use crate::allocator::Kind;
use crate::arch::epoch::Stay;
use crate::arch::page_box::PageBox;
use crate::arch::timer;
use crate::builder::{self, Made};
use crate::lock::Held;
use crate::machine::{Building, Cpu, Machine, Pool};
use crate::vm::build::BuildError;
use crate::vm::remains::Remains;
use crate::vm::restart::Verdict;
use crate::vm::{Ending, Vm};

/// Returns the beginning of what is made of `vm`, which has given back all but itself, if anything is. Says why not, if its manifest says that
/// it is made again. The frame for it is there but when others take memory as fast as it comes back, since most of what the VM had is.
#[inline(never)]
pub(super) fn judge(machine: &Machine, vm: &Vm, none: &mut Held<'_, 0>) -> Option<PageBox<Building>> {
    let ending = vm.ending.lock_leaf().unwrap_or(Ending::Stopped);
    let (left, quota) = {
        let (inner, _held) = vm.inner.lock(none);
        (inner.left, inner.account.limit())
    };
    let (number, what) = match vm.life.judge(vm.rule, ending, (left, quota), timer::now(), timer::frequency()) {
        Verdict::Over => return None,
        Verdict::Often => (vm.rule.limit.into(), "times in its span is its limit"),
        Verdict::Spent(left) => (left, "pages of its lives went to others, more than its quota"),
        Verdict::Again(life) => {
            let (mut pool, _held) = machine.memory.lock(none);
            let Pool { allocator, own, .. } = &mut *pool;
            let pages = allocator.take(PageBox::<Building>::ORDER, Kind::Object, own);
            if let Err(error) = pages {
                log::error!("vm {}: cannot be made again: {}", vm.label, BuildError::from(error));
            }
            return PageBox::new(pages.ok()?, Building::again(vm, life, ending, machine.plan.records())).ok();
        }
    };
    log::warn!("vm {}: not restarted again: {number} {what}", vm.label);
    None
}

/// Does a step for the VM that this core makes again.
#[inline(never)]
pub(super) fn step(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    let mut none = Held::mint();
    let Some(work) = &mut cpu.rebuild else { return };
    let made = builder::step(machine, stay, work, &mut none);
    if matches!(made, Ok(Made::Partly)) {
        return;
    }
    let (place, label) = (work.place, work.label.clone());
    let (life, (ending, rule)) = (work.life, work.before);
    if let Some(work) = cpu.rebuild.take() {
        let (mut pool, _held) = machine.memory.lock(&mut none);
        let Pool { allocator, own, .. } = &mut *pool;
        if allocator.give_back(work.into_pages(), own).is_err() {
            unreachable!("the frame goes back to the account it was taken on")
        }
    }
    let vm = machine.vms.get(usize::from(place)).and_then(|slot| slot.get(stay));
    if vm.is_some() {
        cpu.reaping &= !(1 << place);
    }
    if matches!(made, Ok(Made::Whole)) {
        let (count, limit, window) = (u64::from(life.restarts), u64::from(rule.limit), u64::from(rule.window_s));
        log::info!("vm {label}: restarted {count} of {limit} times in {window} s: {}", How(ending));
    }
    if let Err(error) = made {
        log::error!("vm {label}: cannot be made again: {error}");
        match vm {
            Some(vm) => service::end_vm(machine, vm, Ending::Unmade),
            None => cpu.remains = Some(Remains::unmade(place, label)),
        }
    }
    // Who ended it meanwhile left it to this core, or this core has it no more.
    if let Some(vm) = vm {
        service::let_go(cpu, vm);
    }
}
