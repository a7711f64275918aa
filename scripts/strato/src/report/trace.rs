//! Trace: each range of a VM's stage 2, followed to the promise that it keeps and to the one extent that holds it.

use std::ops::Range;

use super::facts::{Extent, Mapping, Owner, Use};
use super::join::{Joined, common, hex, letters, names};
use super::predict::{Backing, Promise, VmPromises};
use super::{Row, VmReport};

impl<'a> Joined<'a> {
    /// Compares the stage 2 of a VM, range by range.
    pub(super) fn vm(&mut self, number: usize) -> VmReport {
        let name = self.labels.get(number).cloned().unwrap_or_default();
        let owned = self.facts.extents.iter().filter(|extent| extent.owner == Owner::Vm(number));
        let owned_bytes: u64 = owned.map(|extent| extent.range.end - extent.range.start).sum();
        let regions: u64 =
            self.promises.regions.iter().filter(|region| region.owner == number).map(|region| region.bytes).sum();
        let mut report = VmReport { name, memory_bytes: 0, owned_bytes, overhead_bytes: 0, stage2: Vec::new() };
        let Some(promised) = self.promises.vms.get(number) else { return report };
        report.memory_bytes = promised.memory;
        report.overhead_bytes = owned_bytes.saturating_sub(promised.memory + regions);
        let Some(said) = self.facts.vms.iter().find(|vm| vm.number == number) else { return report };
        let ram = said.held.first().map_or(0..0, |held| held.range.clone());
        for mapping in &said.mappings {
            for (piece, promise) in self.cut(promised, mapping) {
                let what = self.what(promise);
                let owner = self.owner(number, &piece, promise, &ram);
                let bytes = piece.ipa.end - piece.ipa.start;
                let rights = letters(mapping.rights);
                report.stage2.push(Row { ipa: piece.ipa.start, bytes, rights, pa: piece.pa, what, owner });
            }
        }
        for promise in &promised.ranges {
            let mapped: u64 = said
                .mappings
                .iter()
                .filter_map(|mapping| common(&mapping.ipa, &promise.ipa))
                .map(|both| both.end - both.start)
                .sum();
            if mapped != promise.ipa.end - promise.ipa.start {
                let (range, what) = (hex(&promise.ipa), self.what(Some(promise)));
                self.wrong.push(format!("`{}` maps {mapped:#x} bytes of {what} at {range}", promised.label));
            }
        }
        report.stage2.sort_by_key(|row| row.ipa);
        report
    }

    /// Cuts a mapping where promises begin and end.
    fn cut(&mut self, promised: &'a VmPromises, mapping: &Mapping) -> Vec<(Mapping, Option<&'a Promise>)> {
        let mut pieces = Vec::new();
        let mut at = mapping.ipa.start;
        while at < mapping.ipa.end {
            let promise = promised.ranges.iter().find(|promise| promise.ipa.contains(&at));
            let next = promised.ranges.iter().map(|promise| promise.ipa.start).find(|start| *start > at);
            let end = promise.map(|promise| promise.ipa.end).or(next).unwrap_or(u64::MAX).min(mapping.ipa.end);
            let (ipa, rights) = (at..end, mapping.rights);
            match promise {
                None => {
                    let (label, range) = (&promised.label, hex(&ipa));
                    self.wrong.push(format!("`{label}` maps {range}, where the file gives it nothing"));
                }
                Some(promise) if promise.rights.bits() != rights => {
                    let (label, range, what) = (&promised.label, hex(&ipa), self.what(Some(promise)));
                    let (has, wants) = (letters(rights), letters(promise.rights.bits()));
                    self.wrong.push(format!("`{label}` maps {what} at {range} with {has}, the file says {wants}"));
                }
                Some(_) => {}
            }
            pieces.push((Mapping { ipa, rights, pa: mapping.pa + (at - mapping.ipa.start) }, promise));
            at = end;
        }
        pieces
    }

    fn what(&self, promise: Option<&Promise>) -> String {
        match promise.map(|promise| promise.backing) {
            None => "?".into(),
            Some(Backing::Window(what) | Backing::Ram(_, what)) => what.into(),
            Some(Backing::Region(region)) => {
                self.promises.regions.get(region).map_or("?".into(), |region| format!("region {}", region.name))
            }
        }
    }

    /// Follows a piece to the one extent that holds it; returns the name of its owner.
    fn owner(&mut self, number: usize, piece: &Mapping, promise: Option<&Promise>, ram: &Range<u64>) -> String {
        let label = self.labels.get(number).cloned().unwrap_or_default();
        let pa = piece.pa..piece.pa + (piece.ipa.end - piece.ipa.start);
        let (at, frames) = (hex(&piece.ipa), hex(&pa));
        let own = self.facts.own.iter().find(|(_, range)| common(range, &pa).is_some());
        if let Some((name, _)) = own {
            self.wrong.push(format!("`{label}` maps the hypervisor's {name} at {at}: {frames}"));
        }
        let found: Vec<&Extent> =
            self.facts.extents.iter().filter(|extent| common(&extent.range, &pa).is_some()).collect();
        let [extent] = found.as_slice() else {
            let count = found.len();
            self.wrong.push(format!("`{label}` maps {at} to {frames}, which is in {count} extents instead of one"));
            return "?".into();
        };
        let owner = names(extent.owner, self.labels);
        if pa.end > extent.range.end || pa.start < extent.range.start {
            let extent = hex(&extent.range);
            self.wrong.push(format!("`{label}` maps {at} to {frames}, which reaches out of the extent {extent}"));
        }
        if extent.owner != Owner::Vm(number) && !self.is_shared(number, &pa) {
            self.wrong.push(format!("`{label}` maps memory of {owner} at {at} ({frames}), and nothing shares it"));
        }
        let Some(promise) = promise else { return owner };
        let (wanted, start) = match promise.backing {
            Backing::Window(_) => (Use::Object, None),
            Backing::Ram(offset, _) => (Use::Memory, Some(ram.start + offset)),
            Backing::Region(region) => (Use::Memory, self.regions.get(region).cloned().flatten().map(|at| at.start)),
        };
        if extent.used_for != wanted {
            let (has, wants, what) = (extent.used_for.word(), wanted.word(), self.what(Some(promise)));
            self.wrong.push(format!("`{label}` maps {what} at {at} to {has}, the file says {wants}"));
        }
        if let Some(start) = start.map(|start| start + (piece.ipa.start - promise.ipa.start))
            && start != pa.start
        {
            let what = self.what(Some(promise));
            self.wrong.push(format!("`{label}` maps {what} at {at} to {frames}, its handle says {start:#x}"));
        }
        owner
    }

    /// Returns whether the file lets VM `number` hold the region that `pa` lies in.
    fn is_shared(&self, number: usize, pa: &Range<u64>) -> bool {
        let holdings = self.promises.vms.get(number).map(|vm| vm.holdings.as_slice()).unwrap_or_default();
        let regions = holdings.iter().filter_map(|holding| self.regions.get(holding.region?)?.as_ref());
        regions.into_iter().any(|range| range.start <= pa.start && pa.end <= range.end)
    }
}
