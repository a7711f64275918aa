//! Shares of cores' time in a system file: reading them, and the admission test: whether each gets its budget in each of its periods
//! in the worst case, with what the hypervisor itself takes. Called by `manifest`, `check` and the commands.

use std::collections::BTreeMap;

use strato_abi::time::TIMER_PERIOD_MIN_NS;
use strato_abi::vcpu::SCHED_PER_CORE;

use super::model::{Sched, System, Vm};
use super::names::{self, NAME_MAX};
use super::problem::{Problem, Span};
use super::reader::{Problems, Table};
use crate::bench::LONGEST_BAR;

/// Nanoseconds for which the hypervisor keeps a core from a share that is due: what it does at most with interrupts masked, an instruction
/// each, as a core of 1 GHz and more does. `cargo strato bench` holds the longest of that to this bar: of calls, of traps, and of the turns of a
/// core on which much is due at once. What concerns a share comes first in the next turn, so that this is all there is to wait for.
pub const BLOCKED_NS: u64 = LONGEST_BAR;
/// Nanoseconds that it takes to give a core to a share and to take it away again, its budget and its timer with that: four times what
/// `cargo strato bench` counts for two switches (`preempt_to_first_instruction`), since a core that is not simulated waits for its memory.
pub const SWITCHES_NS: u64 = 3_000;
/// Nanoseconds that it takes to make a vCPU ready that another core has sent an event, with the interrupt: `event_to_idle_core` and some. Who has
/// no share is made ready once at most before it runs, which it does not while a share has something left.
pub const WAKE_NS: u64 = 1_000;
/// Nanoseconds that a deadline of a VM with a share takes when it interrupts another one: each of its `timers` in its shortest period. Those of
/// VMs without interrupt no share.
pub const DEADLINE_NS: u64 = 1_000;
/// Nanoseconds that an interrupt of the console takes, with the bytes that its FIFO has room for. The first core gets it.
const CONSOLE_NS: u64 = 3_000;
/// Nanoseconds between two of them at least: four bytes that arrive at 115,200 baud; what is sent takes longer.
const CONSOLE_PERIOD_NS: u64 = 4 * 100_000_000 / 1152;

const MAX: u64 = 1_000_000;

/// Returns the shares of the list `sched` of a VM.
pub fn read(table: &Table<'_>) -> Vec<Sched> {
    table.tables("sched", "`sched` of [[vm]]").into_iter().filter_map(share).collect()
}

fn share(table: Table<'_>) -> Option<Sched> {
    let name = table.needed_text("name", "\"control\"");
    let core = table.integer("core", 0..=7);
    let (budget_us, period_us) = (table.integer("budget_us", 10..=MAX), table.integer("period_us", 100..=MAX));
    for (key, example) in [("core", "0"), ("budget_us", "200"), ("period_us", "1000")] {
        if !table.has(key) {
            table.missing(key, example);
        }
    }
    let priority = table.integer("priority", 0..=31).map_or(16, |at| at.value);
    let vcpus = table.integers("vcpus", &(0..=7)).unwrap_or_default();
    let vcpus_span = table.span_of("vcpus");
    table.finish();
    Some(Sched {
        name: name?,
        core: u8::try_from(core?.value).ok()?,
        budget_us: budget_us?,
        period_us: period_us?.value,
        priority: u8::try_from(priority).ok()?,
        vcpus: vcpus.into_iter().filter_map(|vcpu| u8::try_from(vcpu).ok()).collect(),
        vcpus_span,
    })
}

/// Adds what is wrong with the shares of `system`.
pub fn check(system: &System, problems: &Problems) {
    for vm in &system.vms {
        let label = vm.label.value.as_str();
        let (mut seen, mut bound) = (BTreeMap::<&str, &Span>::new(), BTreeMap::<u8, &Span>::new());
        for share in &vm.scheds {
            let (name, span) = (share.name.value.as_str(), &share.name.span);
            if let Some(flaw) = names::flaw(name, NAME_MAX) {
                let rule = format!("use 1 to {NAME_MAX} of a-z, 0-9, `_` and `-`");
                problems.add(Problem::new(format!("`{name}` cannot be the name of a share"), span, flaw, rule));
            } else if let Some(first) = seen.insert(name, span) {
                let title = format!("`{label}` has two shares called `{name}`");
                let fix = "give one of them another name";
                problems.add(Problem::new(title, span, "again here", fix).with_other(first, "first here"));
            }
            if share.budget_us.value > share.period_us {
                let why = format!("a period has {} us", share.period_us);
                let title = format!("the budget of `{name}` is longer than its period");
                problems.add(Problem::new(title, &share.budget_us.span, why, "write less, or a longer `period_us`"));
            }
            for &vcpu in &share.vcpus {
                if u16::from(vcpu) >= vm.vcpus {
                    let why = format!("it has {}, counted from 0", vm.vcpus);
                    let fix = "name one of them, or give the VM more `vcpus`";
                    problems.add(Problem::new(format!("`{label}` has no vCPU {vcpu}"), &share.vcpus_span, why, fix));
                } else if let Some(first) = bound.insert(vcpu, &share.vcpus_span) {
                    let title = format!("vCPU {vcpu} of `{label}` begins with two shares");
                    let fix = "leave it in one of them; VCPU.SCHED_SET changes it later";
                    let problem = Problem::new(title, &share.vcpus_span, "again here", fix);
                    problems.add(problem.with_other(first, "first here"));
                }
            }
        }
    }
    if let Some(refused) = admit(system, system.cores) {
        problems.add(Problem::new(refused.title, &refused.span, refused.why, refused.fix));
    }
}

/// A share that cannot be given on so many cores.
#[derive(Clone, Debug)]
pub struct Refused {
    title: String,
    span: Span,
    why: String,
    fix: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.title, self.why, self.fix)
    }
}

/// Returns the first share that a machine of `cores` cores cannot give, if there is one; homes count modulo `cores`.
///
/// A share `i` gets its budget `Q` in each period `T` if `R <= T` for the least `R` with
/// `R = BLOCKED + Q + SWITCHES + sum over the others of its core of no lower priority: (ceil(R / T) + 1) * (Q + SWITCHES)`
/// `+ WAKE for each vCPU at home there + sum over the timers of other VMs with shares there: (ceil(R / PERIOD) + 1) * DEADLINE + on core 0: (ceil(R / CONSOLE_PERIOD) + 1) * CONSOLE`:
/// a rival supplies its own at most so often in any window `R`, and timers have a shortest period.
#[must_use]
pub fn admit(system: &System, cores: u8) -> Option<Refused> {
    let home = |share: &Sched| share.core % cores.max(1);
    for core in 0..cores.max(1) {
        let all = system.vms.iter().flat_map(|vm| vm.scheds.iter().map(move |share| (vm, share)));
        let here: Vec<_> = all.filter(|(_, share)| home(share) == core).collect();
        if let Some((_, share)) = here.get(SCHED_PER_CORE) {
            return Some(Refused {
                title: format!("core {core} has more than {SCHED_PER_CORE} shares"),
                span: share.name.span.clone(),
                why: "this one is too many".into(),
                fix: "drop some of them, or put them on other cores".into(),
            });
        }
        let parts = |share: &Sched| (share.budget_us.value * 1000 + SWITCHES_NS) * 1000 / (share.period_us * 1000);
        let sum: u64 = here.iter().map(|(_, share)| parts(share)).sum();
        for (at, (vm, share)) in here.iter().enumerate() {
            let rivals =
                here.iter().enumerate().filter(|(other, (_, rival))| *other != at && rival.priority >= share.priority);
            let rivals: Vec<_> = rivals.map(|(_, (_, rival))| *rival).collect();
            let beside = beside(system, vm, core, cores);
            let Some(worst) = worst_case(share, &rivals, beside) else { continue };
            let timers = match beside.timers {
                0 => String::new(),
                timers => format!(
                    ", and up to {} % goes to the timers of other VMs with shares there, which may have fewer (`timers = 4`)",
                    timers * DEADLINE_NS * 100 / TIMER_PERIOD_MIN_NS
                ),
            };
            return Some(Refused {
                title: format!("core {core} cannot give `{}` of `{}` its time", share.name.value, vm.label.value),
                span: share.budget_us.span.clone(),
                why: format!(
                    "it may take {} us until it has had {} us, and a period has {} us",
                    worst.div_ceil(1000),
                    share.budget_us.value,
                    share.period_us
                ),
                fix: format!(
                    "the shares of core {core} are {}.{} % of it with what the hypervisor takes{timers}: give less or less often, move one to \
                     another core, or let this one have a higher `priority`",
                    sum / 10,
                    sum % 10
                ),
            });
        }
    }
    None
}

/// Who else can have the hypervisor do something on the core of a share: vCPUs that are at home there, and timers of other VMs that have shares
/// of it.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    vcpus: u64,
    timers: u64,
    has_console: bool,
}

fn beside(system: &System, of: &Vm, core: u8, cores: u8) -> Beside {
    let is_here = |home: u8| home % cores.max(1) == core;
    // Homes are given in turn; where the manifest leaves them to the hypervisor, a vCPU may be at home anywhere.
    let at_home = |vm: &Vm| {
        let all = usize::from(vm.vcpus);
        let homes = vm.cores.iter().cycle().take(all);
        if vm.cores.is_empty() { all } else { homes.filter(|&&home| is_here(home)).count() }
    };
    let has_share = |vm: &&Vm| vm.scheds.iter().any(|share| is_here(share.core));
    let others = system.vms.iter().filter(has_share).filter(|vm| vm.label.value != of.label.value);
    let timers = others.map(|vm| u64::from(vm.timers)).sum();
    Beside { vcpus: system.vms.iter().map(at_home).sum::<usize>() as u64, timers, has_console: core == 0 }
}

/// Returns the nanoseconds that a share may take for its budget, as far as they were counted, when that is more than its period.
fn worst_case(share: &Sched, rivals: &[&Sched], beside: Beside) -> Option<u64> {
    let cost = |share: &Sched| share.budget_us.value * 1000 + SWITCHES_NS;
    let period = share.period_us * 1000;
    let mut time = BLOCKED_NS + cost(share);
    loop {
        let taken = |rival: &&Sched| (time.div_ceil(rival.period_us * 1000) + 1) * cost(rival);
        let timers = beside.timers * (time.div_ceil(TIMER_PERIOD_MIN_NS) + 1) * DEADLINE_NS;
        let console = u64::from(beside.has_console) * (time.div_ceil(CONSOLE_PERIOD_NS) + 1) * CONSOLE_NS;
        let others = beside.vcpus * WAKE_NS + timers + console;
        let next = BLOCKED_NS + cost(share) + others + rivals.iter().map(taken).sum::<u64>();
        if next > period {
            return Some(next);
        }
        if next == time {
            return None;
        }
        time = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::At;
    use super::*;

    const ALONE: Beside = Beside { vcpus: 0, timers: 0, has_console: false };

    #[test]
    fn what_others_have_the_hypervisor_do_is_counted() {
        assert_eq!(worst_case(&share(80, 100, 5), &[], Beside { vcpus: 7, ..ALONE }), None);
        assert_eq!(worst_case(&share(80, 100, 5), &[], Beside { vcpus: 8, ..ALONE }), Some(101_000));
        // 32 timers of another VM that has a share, in each 100 us, and once more.
        assert_eq!(worst_case(&share(23, 100, 5), &[], Beside { timers: 32, ..ALONE }), None);
        assert_eq!(worst_case(&share(24, 100, 5), &[], Beside { timers: 32, ..ALONE }), Some(101_000));
        assert_eq!(worst_case(&share(24, 100, 5), &[], Beside { timers: 31, ..ALONE }), None);
        assert_eq!(worst_case(&share(81, 100, 5), &[], Beside { has_console: true, ..ALONE }), None);
        assert_eq!(worst_case(&share(82, 100, 5), &[], Beside { has_console: true, ..ALONE }), Some(101_000));
    }

    fn share(budget_us: u64, period_us: u64, priority: u8) -> Sched {
        let name = At { value: "s".into(), span: 0..0 };
        let budget_us = At { value: budget_us, span: 0..0 };
        Sched { name, core: 0, budget_us, period_us, priority, vcpus: Vec::new(), vcpus_span: 0..0 }
    }

    #[test]
    fn a_share_alone_may_have_all_but_what_the_hypervisor_takes() {
        assert_eq!(worst_case(&share(987, 1000, 5), &[], ALONE), None);
        assert_eq!(worst_case(&share(988, 1000, 5), &[], ALONE), Some(1_001_000));
    }

    #[test]
    fn one_that_comes_before_it_takes_a_budget_more_than_its_periods() {
        let first = share(200, 1000, 9);
        assert_eq!(worst_case(&share(580, 1000, 5), &[&first], ALONE), None);
        assert!(worst_case(&share(590, 1000, 5), &[&first], ALONE).is_some(), "two budgets and 590 do not fit");
        // A longer period sees more of it, and one budget more but once.
        assert_eq!(worst_case(&share(7_700, 10_000, 5), &[&first], ALONE), None);
    }

    // Each share always wants to run; the rivals are phased as badly as can be: a budget at the end of a period, then the next.
    #[test]
    fn what_is_admitted_gets_its_budget_in_each_period_of_a_simulation() {
        for (budgets, periods) in [([100, 300, 200], [1000, 2000, 4000]), ([150, 150, 100], [700, 900, 3000])] {
            let shares: Vec<_> =
                (0..3).map(|n| share(budgets[n], periods[n], 9 - u8::try_from(n).unwrap_or(0))).collect();
            let is_admitted =
                (0..3).all(|n| worst_case(&shares[n], &shares[..n].iter().collect::<Vec<_>>(), ALONE).is_none());
            assert!(is_admitted);
            let (mut left, mut got) = (budgets, [0; 3]);
            for us in 0..24_000 {
                for n in 0..3 {
                    if us % periods[n] == 0 {
                        assert!(us == 0 || got[n] >= budgets[n], "{n} at {us}");
                        (left[n], got[n]) = (budgets[n], 0);
                    }
                }
                if let Some(n) = (0..3).find(|&n| left[n] > 0) {
                    left[n] -= 1;
                    got[n] += 1;
                }
            }
        }
    }
}
