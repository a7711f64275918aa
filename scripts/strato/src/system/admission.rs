//! Admission of shares of cores' time: whether each gets its budget in each of its periods in the worst case, with what the hypervisor itself
//! takes. Called by `sched` and the commands.

use strato_abi::event::IRQ_PERIOD_MIN_NS;
use strato_abi::time::TIMER_PERIOD_MIN_NS;
use strato_abi::vcpu::SCHED_PER_CORE;

use super::model::{Sched, System, Vm};
use super::problem::{Problem, Span};
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
/// Nanoseconds that the interrupt of a device takes which a VM with a share drives, with making its driver ready. Those of VMs without come when
/// no share runs.
pub const IRQ_NS: u64 = 2_000;
/// Nanoseconds that an interrupt of the console takes, with the bytes that its FIFO has room for. The first core gets it.
const CONSOLE_NS: u64 = 3_000;
/// Nanoseconds between two of them at least: four bytes that arrive at 115,200 baud; what is sent takes longer.
const CONSOLE_PERIOD_NS: u64 = 4 * 100_000_000 / 1152;

/// A share that cannot be given on so many cores.
#[derive(Clone, Debug)]
pub struct Refused {
    title: String,
    span: Span,
    why: String,
    fix: String,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(refused.title, &refused.span, refused.why, refused.fix)
    }
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
/// `+ WAKE for each vCPU at home there + sum over the timers of other VMs with shares there: (ceil(R / PERIOD) + 1) * DEADLINE`
/// `+ sum over their interrupts of devices: (ceil(R / IRQ_PERIOD) + 2) * IRQ + on core 0: (ceil(R / CONSOLE_PERIOD) + 1) * CONSOLE`:
/// a rival supplies its own at most so often in any window `R`, timers have a shortest period, and an interrupt that came sooner than its own
/// shortest period waits the next time.
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
            let lines = match beside.lines {
                0 => String::new(),
                lines => format!(", and up to {} % to their devices", lines * IRQ_NS * 100 / IRQ_PERIOD_MIN_NS),
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
                    "the shares of core {core} are {}.{} % of it with what the hypervisor takes{timers}{lines}: give less or less often, move one to \
                     another core, or let this one have a higher `priority`",
                    sum / 10,
                    sum % 10
                ),
            });
        }
    }
    None
}

/// Who else can have the hypervisor do something on the core of a share: vCPUs that are at home there, and timers and devices of other VMs that
/// have shares of it.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    vcpus: u64,
    timers: u64,
    lines: u64,
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
    let others = || (0..).zip(&system.vms).filter(|(_, vm)| has_share(vm) && vm.label.value != of.label.value);
    let timers = others().map(|(_, vm)| u64::from(vm.timers)).sum();
    let lines = others().map(|(number, _)| lines_of(system, number)).sum();
    Beside { vcpus: system.vms.iter().map(at_home).sum::<usize>() as u64, timers, lines, has_console: core == 0 }
}

/// Returns how many interrupts of devices VM `number` has, on the board on which it has most.
fn lines_of(system: &System, number: usize) -> u64 {
    let on = |board| system.devices_of(number, board).map(|device| device.interrupts.len() as u64).sum();
    system.devices.iter().map(|device| on(device.board)).max().unwrap_or(0)
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
        let lines = beside.lines * (time.div_ceil(IRQ_PERIOD_MIN_NS) + 2) * IRQ_NS;
        let others = beside.vcpus * WAKE_NS + timers + lines + console;
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

    const ALONE: Beside = Beside { vcpus: 0, timers: 0, lines: 0, has_console: false };

    #[test]
    fn what_others_have_the_hypervisor_do_is_counted() {
        assert_eq!(worst_case(&share(80, 100, 5), &[], Beside { vcpus: 7, ..ALONE }), None);
        assert_eq!(worst_case(&share(80, 100, 5), &[], Beside { vcpus: 8, ..ALONE }), Some(101_000));
        // 32 timers of another VM that has a share, in each 100 us, and once more.
        assert_eq!(worst_case(&share(23, 100, 5), &[], Beside { timers: 32, ..ALONE }), None);
        assert_eq!(worst_case(&share(24, 100, 5), &[], Beside { timers: 32, ..ALONE }), Some(101_000));
        assert_eq!(worst_case(&share(24, 100, 5), &[], Beside { timers: 31, ..ALONE }), None);
        // Two interrupts of its devices, three times.
        assert_eq!(worst_case(&share(75, 100, 5), &[], Beside { lines: 2, ..ALONE }), None);
        assert_eq!(worst_case(&share(76, 100, 5), &[], Beside { lines: 2, ..ALONE }), Some(101_000));
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
