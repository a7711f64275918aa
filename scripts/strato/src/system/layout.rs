//! Addresses inside each VM: nothing overlaps `ram`, the hypervisor's window, page 0 or another region, and all of it
//! lies within the address space. Called by `check`.

use strato_abi::addr::{IPA_BITS, PAGE_SIZE, RAM_BASE, WINDOW_BASE, WINDOW_SIZE};

use super::model::{Region, System, Vm};
use super::problem::{At, Problem, Span};
use super::reader::Problems;

/// A range of addresses that is taken, and by what.
struct Taken<'s> {
    start: u64,
    end: u64,
    by: String,
    span: Option<&'s Span>,
}

/// Adds what is wrong with the addresses of `system`.
pub fn check(system: &System, problems: &Problems) {
    for (number, vm) in system.vms.iter().enumerate() {
        let mut taken = fixed(vm, problems);
        for region in &system.regions {
            for grant in region.grants.iter().filter(|grant| grant.vm.value == number) {
                let Some(address) = &grant.address else { continue };
                place(&mut taken, vm, region, address, problems);
            }
        }
    }
}

fn fixed<'s>(vm: &'s Vm, problems: &Problems) -> Vec<Taken<'s>> {
    let end = RAM_BASE.saturating_add(vm.memory.value);
    if end > 1 << IPA_BITS {
        problems.add(Problem::new(
            format!("the memory of `{}` ends beyond the address space", vm.label.value),
            &vm.memory.span,
            format!("it would reach {end:#x}, the end is {:#x}", 1_u64 << IPA_BITS),
            "give it less memory",
        ));
    }
    let ram = format!("`ram` of `{}`", vm.label.value);
    vec![
        Taken { start: 0, end: PAGE_SIZE, by: "page 0, never mapped,".into(), span: None },
        Taken { start: WINDOW_BASE, end: WINDOW_BASE + WINDOW_SIZE, by: "the hypervisor's window".into(), span: None },
        Taken { start: RAM_BASE, end, by: ram, span: Some(&vm.memory.span) },
    ]
}

fn place<'s>(taken: &mut Vec<Taken<'s>>, vm: &Vm, region: &'s Region, address: &'s At<u64>, problems: &Problems) {
    let (name, label) = (&region.name.value, &vm.label.value);
    let start = address.value;
    let end = start.saturating_add(region.size.value);
    let range = format!("{start:#x}..{end:#x}");
    if !start.is_multiple_of(PAGE_SIZE) {
        problems.add(Problem::new(
            format!("the region `{name}` is not page-aligned in `{label}`"),
            &address.span,
            format!("an address is a multiple of {PAGE_SIZE:#x}"),
            format!("write {:#x}", start & !(PAGE_SIZE - 1)),
        ));
    } else if end > 1 << IPA_BITS {
        problems.add(Problem::new(
            format!("the region `{name}` lies beyond the address space of `{label}`"),
            &address.span,
            format!("it would be {range}, the end is {:#x}", 1_u64 << IPA_BITS),
            "choose a lower address",
        ));
    } else if let Some(other) = taken.iter().find(|other| start < other.end && other.start < end) {
        let highest = taken.iter().map(|other| other.end).max().unwrap_or(RAM_BASE);
        let free = highest.checked_next_multiple_of(region.size.value.max(PAGE_SIZE)).unwrap_or(highest);
        let mut problem = Problem::new(
            format!("the region `{name}` overlaps other memory in `{label}`"),
            &address.span,
            format!("{range} overlaps {} at {:#x}..{:#x}", other.by, other.start, other.end),
            format!("choose another address; {free:#x} is free"),
        );
        if let Some(span) = other.span {
            problem = problem.with_other(span, "this one");
        }
        problems.add(problem);
    }
    taken.push(Taken { start, end, by: format!("the region `{name}`"), span: Some(&address.span) });
}
