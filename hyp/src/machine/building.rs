//! Building: how far it has come that records become a VM: any of them while boot carries the plan out, and one that has ended and is made
//! again. `builder` does the steps; a core keeps its own between them.

use core::mem::ManuallyDrop;

use heapless::{String, Vec};
use strato_abi::plan::ANY_CORE;

use super::VM_PLACES;
use crate::allocator::{MemId, REGIONS, Scrub};
use crate::arch::core_base::MAX_CORES;
use crate::plan::{Record, Records};
use crate::vm::VCPUS_MAX;
use crate::vm::attach::Part;
use crate::vm::making::Making;
use crate::vm::restart::{Life, Rule};
use crate::vm::{Ending, Vm};

/// A VM that is being made.
pub struct Building {
    /// Its place.
    pub place: u8,
    /// Its name, if it is made again.
    pub label: String<31>,
    /// The life that begins.
    pub life: Life,
    /// How the life before ended, and by which rule another one follows.
    pub before: (Ending, Rule),
    /// How many named handles it has.
    pub named: u16,
    /// The records that were not reached yet, its own and others.
    pub records: Records<'static>,
    /// What the records that were reached say of all VMs.
    pub tally: Tally,
    /// Whether there are no more.
    pub is_at_end: bool,
    /// The shared regions of the plan that were reached.
    pub regions: Vec<Region, REGIONS>,
    /// The record that is carried out in parts, by its number.
    pub record: Option<(u32, Record<'static>)>,
    /// How far that has come. Never dropped as it is: what it holds of memory goes on, or is given back.
    pub doing: ManuallyDrop<Doing>,
}

/// A shared region of the plan, for the VM that is being made.
#[derive(Clone, Copy, Debug)]
pub enum Region {
    /// It is made.
    Made(MemId),
    /// It was made at boot, of this order, and is made anew where nobody has it any more.
    Wanted(u32),
}

/// What of a record is being done.
#[allow(clippy::large_enum_variant, reason = "there is one for a core that makes a VM, in a frame of its own")]
pub enum Doing {
    /// Nothing yet.
    Nothing,
    /// A VM is being made for these homes of its vCPUs.
    Making(Making, [u8; VCPUS_MAX]),
    /// So many bytes of a segment are copied.
    Filling(Part, u64),
    /// So many pages are mapped.
    Showing(Part, u64),
    /// A region is being zeroed.
    Zeroing(Scrub),
}

/// What the records that were reached say of all VMs: which core the next vCPU is at home on that may be anywhere, how many shares of its
/// time each core has given, how many handles each VM has. It is the same whenever they are read.
#[derive(Clone, Debug)]
pub struct Tally {
    next_core: u8,
    shares: [u8; MAX_CORES],
    handles: [u16; VM_PLACES],
}

impl Building {
    /// Returns the beginning, with nothing made, of what boot makes by `records`.
    #[must_use]
    pub fn first(records: Records<'static>) -> Self {
        Self {
            place: 0,
            label: String::new(),
            life: Life::FIRST,
            before: (Ending::Unmade, Rule::NEVER),
            named: 0,
            records,
            tally: Tally::default(),
            is_at_end: false,
            regions: Vec::new(),
            record: None,
            doing: ManuallyDrop::new(Doing::Nothing),
        }
    }

    /// Returns the same of `vm`, which has had `ending`, for `life`.
    #[must_use]
    pub fn again(vm: &Vm, life: Life, ending: Ending, records: Records<'static>) -> Self {
        let (place, label, before, named) = (vm.place, vm.label.clone(), (ending, vm.rule), vm.named);
        Self { place, label, life, before, named, ..Self::first(records) }
    }
}

impl Building {
    /// Goes on with `doing`; what was being done before holds nothing any more.
    pub fn go_on(&mut self, doing: Doing) {
        self.doing = ManuallyDrop::new(doing);
    }

    /// Ends the zeroing of a region, if that is being done, and returns how far it has come.
    pub fn take_scrub(&mut self) -> Option<Scrub> {
        let is_zeroing = matches!(*self.doing, Doing::Zeroing(_));
        if !is_zeroing {
            return None;
        }
        let doing = core::mem::replace(&mut self.doing, ManuallyDrop::new(Doing::Nothing));
        match ManuallyDrop::into_inner(doing) {
            Doing::Zeroing(scrub) => Some(scrub),
            Doing::Nothing | Doing::Making(..) | Doing::Filling(..) | Doing::Showing(..) => None,
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { next_core: 0, shares: [0; MAX_CORES], handles: [0; VM_PLACES] }
    }
}

impl Tally {
    /// Returns the core for a vCPU whose manifest says `wanted`: that one if it runs, else another by the same rule on
    /// every boot. `cores` has a bit for each that runs.
    pub fn home(&mut self, cores: u8, wanted: u8) -> u8 {
        let count = u8::try_from(cores.count_ones()).unwrap_or(1).max(1);
        let rank = if wanted == ANY_CORE {
            self.next_core = self.next_core.wrapping_add(1);
            self.next_core.wrapping_sub(1) % count
        } else {
            wanted % count
        };
        (0..8).filter(|core| cores >> core & 1 != 0).nth(usize::from(rank)).unwrap_or(0)
    }

    /// Returns the place of the next share of the time of `core`, and counts it.
    pub fn share(&mut self, core: u8) -> u8 {
        let Some(count) = self.shares.get_mut(usize::from(core)) else { return u8::MAX };
        *count = count.saturating_add(1);
        count.saturating_sub(1)
    }

    /// Returns the index of the next handle of VM `vm`, and counts it.
    pub fn handle(&mut self, vm: u16) -> u16 {
        let Some(count) = self.handles.get_mut(usize::from(vm)) else { return u16::MAX };
        *count = count.saturating_add(1);
        count.saturating_sub(1)
    }

    /// Counts the handles that `record`, on a board that it is for, gives; but not those of a channel.
    pub fn count(&mut self, record: &Record<'_>) {
        match record {
            Record::CreateVm(_)
            | Record::GrantRegion(_)
            | Record::Peer(_)
            | Record::GrantDevice(_)
            | Record::GrantSched(_) => {
                self.handle(record.vm());
            }
            // It comes with a port.
            Record::GrantInterrupt(_) => {
                self.handle(record.vm());
                self.handle(record.vm());
            }
            Record::CreateRegion(_) | Record::Load(_) | Record::Channel(_) | Record::Start(_) => {}
            Record::AllowRegister(_) | Record::Expect(_) | Record::Scenario(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strato_abi::plan::{CreateRegion, CreateVm, GrantInterrupt, Start};
    use zerocopy::FromZeros;

    #[test]
    fn a_vcpu_that_may_be_anywhere_is_at_home_on_each_core_in_turn() {
        let mut tally = Tally::default();
        assert_eq!([ANY_CORE; 4].map(|wanted| tally.home(0b1011, wanted)), [0, 1, 3, 0]);
        assert_eq!([0, 1, 2, 3].map(|wanted| tally.home(0b1011, wanted)), [0, 1, 3, 0]);
    }

    #[test]
    fn shares_are_counted_for_each_core() {
        let mut tally = Tally::default();
        assert_eq!([0, 1, 0, 0, 8].map(|core| tally.share(core)), [0, 0, 1, 2, u8::MAX]);
    }

    #[test]
    fn handles_are_counted_for_each_vm_as_their_records_give_them() {
        let mut tally = Tally::default();
        let mut create = CreateVm::new_zeroed();
        let mut interrupt = GrantInterrupt::new_zeroed();
        (create.header, interrupt.header) = (CreateVm::header(3), GrantInterrupt::header(3));
        let (region, start) =
            (CreateRegion { header: CreateRegion::header(3), size: 4096 }, Start { header: Start::header(3) });
        for record in [
            Record::CreateVm(&create),
            Record::GrantInterrupt(&interrupt),
            Record::CreateRegion(&region),
            Record::Start(&start),
        ] {
            tally.count(&record);
        }
        assert_eq!((tally.handle(3), tally.handle(3), tally.handle(4)), (3, 4, 0));
        assert_eq!(tally.handle(64), u16::MAX, "there is no such place");
    }
}
