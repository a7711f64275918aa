//! Facts: what the running hypervisor says about memory, line by line, as numbers and names. Believes nothing and compares
//! nothing: that is `join`.

use std::ops::Range;

/// Whom an extent belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Nobody.
    Pool,
    /// The hypervisor itself.
    Hypervisor,
    /// The VM of this number.
    Vm(usize),
}

/// What an extent is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Nothing.
    Free,
    /// Entries of the ledger.
    Ledger,
    /// Translation tables.
    Table,
    /// Structures of the hypervisor, among them pages that it shows to a guest.
    Object,
    /// Memory that guests map.
    Memory,
}

impl Use {
    const ALL: [Self; 5] = [Self::Free, Self::Ledger, Self::Table, Self::Object, Self::Memory];

    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Ledger => "ledger",
            Self::Table => "tables",
            Self::Object => "objects",
            Self::Memory => "memory",
        }
    }
}

/// An extent of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its physical addresses.
    pub range: Range<u64>,
    /// Whom it belongs to.
    pub owner: Owner,
    /// What it is used for.
    pub used_for: Use,
    /// Pages that are mapped, in all address spaces together.
    pub mapped_pages: u64,
    /// Handles to it, in all VMs together.
    pub handles: u64,
}

/// A range of a VM's stage 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Guest-physical addresses.
    pub ipa: Range<u64>,
    /// Bits of [`strato_abi::address_space::Attributes`].
    pub rights: u64,
    /// First physical address.
    pub pa: u64,
}

/// A handle to memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its index in the VM's table.
    pub index: u64,
    /// Physical addresses of the memory.
    pub range: Range<u64>,
    /// Bits of [`strato_abi::Rights`].
    pub rights: u64,
}

/// What a VM has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFacts {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub label: String,
    /// Its stage 2.
    pub mappings: Vec<Mapping>,
    /// Its handles to memory.
    pub held: Vec<Held>,
}

/// Everything that was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// RAM by the device tree.
    pub ram: Vec<Range<u64>>,
    /// What the device tree reserves.
    pub reserved: Vec<Range<u64>>,
    /// The hypervisor's own ranges outside of the ledger's extents, by name.
    pub own: Vec<(String, Range<u64>)>,
    /// The ledger.
    pub extents: Vec<Extent>,
    /// The VMs.
    pub vms: Vec<VmFacts>,
}

/// The word that ends a report.
pub const END: &str = "report: end";

/// Returns the facts in the hypervisor's `lines`, which come without their prefix.
///
/// # Errors
/// A line that means nothing, lines that were lost, or a report without its end.
pub fn read<'l>(lines: impl IntoIterator<Item = &'l str>) -> Result<Facts, String> {
    let mut facts = Facts::default();
    for line in lines {
        if line.ends_with(" lines dropped") {
            return Err(format!("the report is not whole: {line}"));
        }
        let Some(text) = line.strip_prefix("report: ") else { continue };
        if line == END {
            return Ok(facts);
        }
        facts.take(text).ok_or_else(|| format!("the report has a line that means nothing: {line}"))?;
    }
    Err("the hypervisor said no report, or did not end it".into())
}

impl Facts {
    fn take(&mut self, text: &str) -> Option<()> {
        let (what, rest) = text.split_once(' ')?;
        if what == "label" {
            rest.clone_into(&mut self.vms.last_mut()?.label);
            return Some(());
        }
        let numbers = rest.split(' ').map(|word| u64::from_str_radix(word, 16).ok());
        let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
        match (what, numbers.as_slice()) {
            ("ram", &[start, end]) => self.ram.push(start..end),
            ("reserved", &[start, end]) => self.reserved.push(start..end),
            ("extent", &[base, pages, owner, kind, mapped_pages, handles]) => self.extents.push(Extent {
                range: base..end(base, pages.checked_mul(4096)?)?,
                owner: match usize::try_from(owner).ok()? {
                    0 => Owner::Pool,
                    1 => Owner::Hypervisor,
                    place => Owner::Vm(place - 2),
                },
                used_for: *Use::ALL.get(usize::try_from(kind).ok()?)?,
                mapped_pages,
                handles,
            }),
            ("vm", &[number]) => {
                self.vms.push(VmFacts { number: usize::try_from(number).ok()?, ..VmFacts::default() });
            }
            ("map", &[number, ipa, bytes, rights, pa]) => {
                self.vm(number)?.mappings.push(Mapping { ipa: ipa..end(ipa, bytes)?, rights, pa });
            }
            ("handle", &[number, index, base, pages, rights]) => {
                let range = base..end(base, pages.checked_mul(4096)?)?;
                self.vm(number)?.held.push(Held { index, range, rights });
            }
            (name, &[start, end]) => self.own.push((name.to_owned(), start..end)),
            _ => return None,
        }
        Some(())
    }

    fn vm(&mut self, number: u64) -> Option<&mut VmFacts> {
        self.vms.iter_mut().find(|vm| vm.number as u64 == number)
    }

    /// Returns the hypervisor's own range of that name, the first if there are several.
    #[must_use]
    pub fn own(&self, name: &str) -> Option<Range<u64>> {
        self.own.iter().find(|(own, _)| own == name).map(|(_, range)| range.clone())
    }

    /// Returns the bytes that the ledger takes, or `None` when nothing was said of it: what it had from the start, and the
    /// extents that it grew by.
    #[must_use]
    pub fn ledger_bytes(&self) -> Option<u64> {
        let grown = self.extents.iter().filter(|extent| extent.used_for == Use::Ledger).map(|extent| &extent.range);
        let first = self.own("ledger")?;
        Some(grown.chain([&first]).map(|range| range.end - range.start).sum())
    }
}

fn end(start: u64, bytes: u64) -> Option<u64> {
    start.checked_add(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_becomes_a_fact() {
        let text = "version 1\nreport: ram 40000000 60000000\nreport: text 40080000 40090000\n\
            report: extent 48000000 100 3 4 a 2\nreport: vm 1\nreport: label pong\n\
            report: map 1 40000000 2000 5 48000000\nreport: handle 1 0 48000000 100 f\nreport: end\nreport: nonsense";
        let facts = read(text.lines()).unwrap();
        assert_eq!((facts.ram.len(), &facts.ram[0]), (1, &(0x4000_0000..0x6000_0000)));
        assert_eq!(facts.own("text"), Some(0x4008_0000..0x4009_0000));
        let extent = &facts.extents[0];
        assert_eq!((extent.range.end, extent.owner, extent.used_for), (0x4810_0000, Owner::Vm(1), Use::Memory));
        assert_eq!((extent.mapped_pages, extent.handles), (10, 2));
        let vm = &facts.vms[0];
        assert_eq!((vm.number, vm.label.as_str(), vm.held[0].rights), (1, "pong", 15));
        assert_eq!(vm.mappings, [Mapping { ipa: 0x4000_0000..0x4000_2000, rights: 5, pa: 0x4800_0000 }]);
    }

    #[test]
    fn the_ledger_is_what_it_had_from_the_start_and_what_it_grew_by() {
        let text =
            "report: ledger 48000000 48003000\nreport: extent 48010000 2 1 1 0 1\nreport: extent 48020000 1 1 2 0 1";
        let ledger = |text: &str| read(format!("{text}\nreport: end").lines()).unwrap().ledger_bytes();
        assert_eq!(ledger(text), Some(0x5000));
        assert_eq!(ledger("report: ram 0 1"), None);
    }

    #[test]
    fn a_report_that_is_not_whole_is_refused() {
        for (text, why) in [
            ("report: ram 0 1", "did not end it"),
            ("", "said no report"),
            ("report: ram 0 1\n3 lines dropped\nreport: end", "3 lines dropped"),
            ("report: map 0 1000 1000 1 1000\nreport: end", "means nothing: report: map"),
            ("report: extent 0 1 0 9 0 0\nreport: end", "means nothing"),
            ("report: ram 0 x\nreport: end", "means nothing"),
        ] {
            assert!(read(text.lines()).unwrap_err().contains(why), "{text}");
        }
    }
}
