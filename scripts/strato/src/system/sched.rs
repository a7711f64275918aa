//! Shares of cores' time in a system file: reading them, and what is wrong with them. Whether all can be given is [`admission`]'s to say. Called by
//! `manifest`, `check` and the commands.

use std::collections::BTreeMap;

use super::admission;
use super::model::{Sched, System};
use super::names::{self, NAME_MAX};
use super::problem::{Problem, Span};
use super::reader::{Problems, Table};

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
    if let Some(refused) = admission::admit(system, system.cores) {
        problems.add(refused.into());
    }
}
