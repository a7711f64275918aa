//! Join: promises and facts side by side. Each contradiction is a sentence; a report without one is the proof that this
//! system's memory is as its file says.

use std::collections::BTreeMap;
use std::ops::Range;

use strato_abi::Rights;
use strato_abi::address_space::Attributes;

use super::facts::{Facts, Owner, Use, VmFacts};
use super::predict::{Promises, VmPromises};
use super::{Report, Shared, physical};

/// Returns the report of `system` on `board`.
#[must_use]
pub fn join(system: &str, board: &str, promises: &Promises, facts: &Facts) -> Report {
    let labels: Vec<String> = promises.vms.iter().map(|vm| vm.label.clone()).collect();
    let mut wrong = Vec::new();
    let physical = physical::map(facts, &labels, &mut wrong);
    let (hypervisor, hypervisor_bytes) = physical::hypervisor(facts);
    sections(promises, facts, &mut wrong);
    strangers(promises, facts, &mut wrong);
    let mut joined = Joined { promises, facts, labels: &labels, regions: vec![None; promises.regions.len()], wrong };
    let rights: Vec<_> = (0..promises.vms.len()).map(|number| joined.holdings(number)).collect();
    let vms = (0..promises.vms.len()).map(|number| joined.vm(number)).collect();
    joined.counts();
    let sharing = joined.sharing(&rights);
    let contradictions = joined.wrong;
    let (system, board) = (system.to_owned(), board.to_owned());
    let devices = promises.devices.clone();
    Report { system, board, physical, hypervisor, hypervisor_bytes, vms, sharing, devices, contradictions }
}

/// Returns a range as messages show it.
pub(super) fn hex(range: &Range<u64>) -> String {
    format!("{:#x}..{:#x}", range.start, range.end)
}

/// Returns the name of an owner.
pub(super) fn names(owner: Owner, labels: &[String]) -> String {
    match owner {
        Owner::Pool => "nobody".into(),
        Owner::Hypervisor => "strato".into(),
        Owner::Vm(number) => labels.get(number).cloned().unwrap_or_else(|| format!("VM {number}")),
    }
}

/// Returns rights as three letters, and `o` behind them for the owner.
#[must_use]
pub fn letters(bits: u64) -> String {
    let letter = |bit: u64, letter| if bits & bit != 0 { letter } else { '-' };
    let mut text: String = [letter(1, 'r'), letter(2, 'w'), letter(4, 'x')].iter().collect();
    if bits & u64::from(Rights::OWNER.bits()) != 0 {
        text.push('o');
    }
    text
}

// The loader puts the image anywhere; everything else follows from its first byte.
fn sections(promises: &Promises, facts: &Facts, wrong: &mut Vec<String>) {
    let Some(image) = facts.own("image") else {
        wrong.push("the hypervisor does not say where its image stands".into());
        return;
    };
    for (name, expected) in &promises.sections {
        let expected = image.start + expected.start..image.start + expected.end;
        match facts.own(name) {
            Some(range) if range == expected => {}
            Some(range) => {
                wrong.push(format!("{name} stands at {}, its ELF file says {}", hex(&range), hex(&expected)));
            }
            None => wrong.push(format!("the hypervisor does not say where its {name} stands")),
        }
    }
}

fn strangers(promises: &Promises, facts: &Facts, wrong: &mut Vec<String>) {
    for vm in &facts.vms {
        match promises.vms.get(vm.number) {
            None => wrong.push(format!("the hypervisor runs `{}` as VM {}, the file has none", vm.label, vm.number)),
            Some(promised) if promised.label != vm.label => {
                wrong.push(format!("VM {} is `{}`, the file says `{}`", vm.number, vm.label, promised.label));
            }
            Some(_) => {}
        }
    }
}

/// The comparison under way.
pub(super) struct Joined<'a> {
    pub(super) promises: &'a Promises,
    pub(super) facts: &'a Facts,
    pub(super) labels: &'a [String],
    /// Where each region stands, once a VM was seen to hold it.
    pub(super) regions: Vec<Option<Range<u64>>>,
    pub(super) wrong: Vec<String>,
}

impl<'a> Joined<'a> {
    fn facts_of(&mut self, number: usize) -> Option<(&'a VmPromises, &'a VmFacts)> {
        let promised = self.promises.vms.get(number)?;
        let said = self.facts.vms.iter().find(|vm| vm.number == number);
        if said.is_none() {
            self.wrong.push(format!("the hypervisor says nothing about `{}`", promised.label));
        }
        Some((promised, said?))
    }

    /// Compares the handles of a VM; returns its rights to each region as the hypervisor says them.
    fn holdings(&mut self, number: usize) -> BTreeMap<usize, u64> {
        let mut rights = BTreeMap::new();
        let Some((promised, said)) = self.facts_of(number) else { return rights };
        let label = &promised.label;
        if promised.holdings.len() != said.held.len() {
            let (has, wants) = (said.held.len(), promised.holdings.len());
            self.wrong.push(format!("`{label}` holds {has} handles to memory, the file gives it {wants}"));
        }
        for (holding, held) in promised.holdings.iter().zip(&said.held) {
            let region = holding.region.and_then(|region| self.promises.regions.get(region));
            let (name, bytes) =
                region.map_or(("ram".to_owned(), promised.memory), |region| (region.name.clone(), region.bytes));
            if held.rights != u64::from(holding.rights.bits()) {
                let (has, wants) = (letters(held.rights), letters(holding.rights.bits().into()));
                self.wrong.push(format!("`{label}` holds {name} with {has}, the file says {wants}"));
            }
            if held.range.end - held.range.start != bytes {
                let range = hex(&held.range);
                self.wrong.push(format!("`{label}` holds {name} as {range}, the file says {bytes:#x} bytes"));
            }
            let Some(region) = holding.region else { continue };
            rights.insert(region, held.rights);
            match self.regions.get_mut(region) {
                Some(Some(known)) if *known != held.range => {
                    let (here, there) = (hex(&held.range), hex(known));
                    self.wrong.push(format!("`{label}` holds {name} at {here}, another VM at {there}"));
                }
                Some(place) => *place = Some(held.range.clone()),
                None => {}
            }
        }
        rights
    }

    /// Compares what the ledger counts with what the VMs map and hold, and whose each region is.
    fn counts(&mut self) {
        for extent in &self.facts.extents {
            let range = hex(&extent.range);
            if extent.used_for != Use::Memory {
                continue;
            }
            let mappings = self.facts.vms.iter().flat_map(|vm| &vm.mappings);
            let mapped = mappings.filter_map(|mapping| {
                common(&extent.range, &(mapping.pa..mapping.pa + (mapping.ipa.end - mapping.ipa.start)))
            });
            let pages = mapped.map(|both| (both.end - both.start) / 4096).sum::<u64>();
            if pages != extent.mapped_pages {
                let counted = extent.mapped_pages;
                self.wrong.push(format!("the ledger counts {counted} pages of {range} as mapped, the VMs map {pages}"));
            }
            let held = self.facts.vms.iter().flat_map(|vm| &vm.held).filter(|held| held.range == extent.range).count();
            if held as u64 != extent.handles {
                let counted = extent.handles;
                self.wrong.push(format!("the ledger counts {counted} handles to {range}, the VMs hold {held}"));
            }
        }
        for vm in &self.facts.vms {
            for held in vm.held.iter().filter(|held| !self.facts.extents.iter().any(|one| one.range == held.range)) {
                let range = hex(&held.range);
                self.wrong.push(format!("`{}` holds {range}, which is no extent of the ledger", vm.label));
            }
        }
    }

    fn sharing(&mut self, rights: &[BTreeMap<usize, u64>]) -> Vec<Shared> {
        let mut rows = Vec::new();
        for (number, region) in self.promises.regions.iter().enumerate() {
            let range = self.regions.get(number).cloned().flatten();
            let holder = self.facts.extents.iter().find(|extent| Some(&extent.range) == range.as_ref());
            if let Some(owner) = holder.map(|extent| extent.owner).filter(|owner| *owner != Owner::Vm(region.owner)) {
                let (has, wants) = (names(owner, self.labels), names(Owner::Vm(region.owner), self.labels));
                self.wrong.push(format!("the region {} belongs to {has}, the file says {wants}", region.name));
            }
            let each = self.labels.iter().zip(rights);
            let each = each.filter_map(|(label, rights)| Some((label.clone(), letters(*rights.get(&number)?))));
            rows.push(Shared {
                region: region.name.clone(),
                pa: range.map(|range| range.start),
                bytes: region.bytes,
                owner: names(Owner::Vm(region.owner), self.labels),
                rights: each.collect(),
            });
        }
        rows
    }
}

/// Returns what two ranges have in common.
pub(super) fn common(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (both.start < both.end).then_some(both)
}

const _: () = assert!(Attributes::READ.bits() == 1 && Attributes::WRITE.bits() == 2 && Attributes::EXECUTE.bits() == 4);
const _: () = assert!(Rights::READ.bits() == 1 && Rights::WRITE.bits() == 2 && Rights::EXECUTE.bits() == 4);
