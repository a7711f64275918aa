//! Spaces: a VM's address spaces, the first of which it is made with, and which vCPUs have which as their current one.
//!
//! Owns the slots. Called under the VM's lock by `vm::build`, the calls of group AS, the handling of aborts and `vm::stop`.
//! Never selects one on a core.

use strato_abi::addr::{EVENT_AREA, INFO_PAGE, VCPU_AREA};
use strato_abi::address_space::Attributes;
use strato_abi::handle::Handle;
use strato_abi::limit::LimitKey;
use strato_abi::{AddressSpaceHandle, Ipa};

use crate::allocator::{Account, Allocator, Kind};
use crate::arch::ram::{Pa, Pages};
use crate::memory::descriptor::{Attr, MemoryType};
use crate::memory::source::{Charged, TableSource};
use crate::memory::stage2::{AddressSpace, Progress, SpaceError};

/// Most address spaces of a VM.
#[allow(clippy::cast_possible_truncation, reason = "8")]
pub const SPACES_MAX: usize = LimitKey::AddressSpacesPerVm.value() as usize;
/// The address space that a VM is made with; it stays as long as the VM.
pub const FIRST: u8 = 0;

/// What the hypervisor shows a VM in each of its address spaces.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First frame of the info pages.
    pub info: Pa,
    /// How many there are.
    pub info_pages: u64,
    /// The vCPU area.
    pub records: Pa,
    /// The event area.
    pub area: Pa,
}

/// Why an address space is not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndError {
    /// It is the VM's first.
    First,
    /// It is the current one of a vCPU.
    Current,
}

struct Slot {
    space: AddressSpace,
    handle: Handle,
    /// vCPUs whose current one it is; not counted for the first, which stays anyway.
    vcpus: u8,
}

/// A VM's address spaces by slot.
pub struct Spaces {
    slots: [Option<Slot>; SPACES_MAX],
    window: Window,
    /// The only one that has something to be invalidated later: so completing that is bounded for the whole VM.
    late: u8,
}

impl Spaces {
    /// Returns the address spaces of a VM that has `first` alone.
    #[must_use]
    pub fn new(first: AddressSpace, window: Window) -> Self {
        let mut slots = [const { None }; SPACES_MAX];
        if let Some(slot) = slots.first_mut() {
            *slot = Some(Slot { space: first, handle: AddressSpaceHandle::FIRST.0, vcpus: 0 });
        }
        Self { slots, window, late: FIRST }
    }

    fn slot(&self, slot: u8) -> Option<&Slot> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    fn slot_mut(&mut self, slot: u8) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(slot))?.as_mut()
    }

    /// Returns the address space in `slot`.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: u8) -> Option<&AddressSpace> {
        self.slot(slot).map(|slot| &slot.space)
    }

    /// Returns the address space in `slot`, for changes.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, slot: u8) -> Option<&mut AddressSpace> {
        self.slot_mut(slot).map(|slot| &mut slot.space)
    }

    /// Returns the VM's first address space, for changes, if it is in use and has nothing left to be invalidated.
    #[inline(always)]
    #[must_use]
    pub fn first_settled(&mut self) -> Option<&mut AddressSpace> {
        self.get_mut(FIRST).filter(|space| space.is_settled())
    }

    /// Returns the address space in `slot` for a change that is invalidated later, with what another one of the VM had left
    /// completed, and the units that this counts as.
    #[must_use]
    pub fn get_late(&mut self, slot: u8, source: &mut impl TableSource) -> Option<(&mut AddressSpace, usize)> {
        let mut used = 0;
        if slot != self.late {
            used = self.sync(source);
            self.late = slot;
        }
        self.get_mut(slot).map(|space| (space, used))
    }

    /// Completes what was left to be invalidated in any of the address spaces: at most one has something. Returns the units that
    /// this counts as.
    pub fn sync(&mut self, source: &mut impl TableSource) -> usize {
        self.get_mut(self.late).map_or(0, |space| space.settle(source))
    }

    /// Returns the handle of the address space in `slot`.
    #[must_use]
    pub fn handle(&self, slot: u8) -> Option<Handle> {
        self.slot(slot).map(|slot| slot.handle)
    }

    /// Returns a slot that has no address space.
    #[must_use]
    pub fn vacant(&self) -> Option<u8> {
        self.slots.iter().position(Option::is_none).and_then(|slot| u8::try_from(slot).ok())
    }

    /// Puts a new address space with the VM's window into `slot`, which is vacant, under `handle`.
    ///
    /// # Errors
    /// [`SpaceError::Quota`], [`SpaceError::NoMemory`]; nothing is taken then.
    pub fn create(
        &mut self,
        slot: u8,
        handle: Handle,
        allocator: &mut Allocator,
        account: &mut Account,
    ) -> Result<(), SpaceError> {
        let root = allocator.take(0, Kind::Table, account)?;
        let space = make(root, self.window, &mut Charged::new(allocator, account, || false))?;
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(Slot { space, handle, vcpus: 0 });
        }
        Ok(())
    }

    /// Makes the address space in `to` the current one of a vCPU whose current one was `from`. Returns whether it is there
    /// and not being ended; if not, nothing changed.
    #[must_use]
    pub fn switch(&mut self, from: u8, to: u8) -> bool {
        match self.slot_mut(to) {
            Some(slot) if !slot.space.is_dying() => slot.vcpus = slot.vcpus.saturating_add(1),
            Some(_) | None => return false,
        }
        self.leave(from);
        true
    }

    /// Takes a vCPU off those whose current address space is in `slot`.
    pub fn leave(&mut self, slot: u8) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.vcpus = slot.vcpus.saturating_sub(1);
        }
    }

    /// Does a step to end the address space in `slot`. With the last one its root goes back and the slot is vacant.
    ///
    /// # Errors
    /// See [`EndError`].
    pub fn end(&mut self, slot: u8, source: &mut impl TableSource) -> Result<Progress, EndError> {
        if slot == FIRST {
            return Err(EndError::First);
        }
        if self.slot(slot).is_some_and(|slot| slot.vcpus != 0) {
            return Err(EndError::Current);
        }
        Ok(self.end_step(slot, source))
    }

    /// Does a step to end all of them, with the VM; no core selects one any more.
    pub fn end_all(&mut self, source: &mut impl TableSource) -> Progress {
        let slot = self.slots.iter().rposition(Option::is_some).and_then(|slot| u8::try_from(slot).ok());
        let Some(slot) = slot else { return Progress::Done };
        let _ = self.end_step(slot, source); // the slot is vacant after it, or another step is due
        Progress::More
    }

    fn end_step(&mut self, slot: u8, source: &mut impl TableSource) -> Progress {
        let Some(place) = self.slots.get_mut(usize::from(slot)) else { return Progress::Done };
        let Some(Slot { space, .. }) = place else { return Progress::Done };
        if space.teardown_step(source) == Progress::More {
            return Progress::More;
        }
        if let Some(Slot { space, .. }) = place.take()
            && space.finish(source).is_err()
        {
            unreachable!("the teardown is done")
        }
        Progress::Done
    }
}

/// Returns a new address space with `window` in it and nothing else.
///
/// # Errors
/// [`SpaceError`]; the root is given back then.
pub fn make(root: Pages, window: Window, source: &mut impl TableSource) -> Result<AddressSpace, SpaceError> {
    let mut space = match AddressSpace::new(root) {
        Ok(space) => space,
        Err(root) => {
            source.give_table_back(root);
            return Err(SpaceError::BadRange);
        }
    };
    let own = [
        (INFO_PAGE, window.info, window.info_pages, Attributes::READ),
        (VCPU_AREA, window.records, 1, Attributes::READ),
        (EVENT_AREA, window.area, 1, Attributes::READ.union(Attributes::WRITE)),
    ];
    for (address, pa, pages, rights) in own {
        if let Err(error) = show(&mut space, address, pa, pages, rights, source) {
            while space.teardown_step(source) == Progress::More {}
            if space.finish(source).is_err() {
                unreachable!("the teardown is done")
            }
            return Err(error);
        }
    }
    Ok(space)
}

/// Maps a part of the window: a few pages, in one table.
fn show(
    space: &mut AddressSpace,
    address: u64,
    pa: Pa,
    pages: u64,
    rights: Attributes,
    source: &mut impl TableSource,
) -> Result<(), SpaceError> {
    let attr = Attr::new(rights, MemoryType::Normal, false).map_err(|_| SpaceError::BadAttribute)?;
    let at = Ipa::new(address).ok_or(SpaceError::BadRange)?;
    let mapped = space.map(at, pa, pages, attr.up_to(rights), source)?;
    if mapped.pages == pages { Ok(()) } else { Err(SpaceError::BadRange) }
}
