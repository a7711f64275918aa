//! Bindings: under which VMID a core may hold entries of which address space. Cores share no entries (CnP is 0), so each has
//! its own; a VMID may go to another address space when every core that meets it there has lost the old entries.

use super::Verdict;
use crate::arch::core_base::MAX_CORES;
use crate::arch::stage2::Vttbr;

const VMIDS: usize = 256;
/// Stands for a root that was freed: no table has this address.
const GONE: u64 = 0xffff_ffff_f000;

/// One VMID on one core.
#[derive(Clone, Copy)]
struct Binding {
    /// The root whose entries the core may hold; 0 none.
    root: u64,
    /// The cores that sent an invalidation of it and did not wait for its end yet.
    sent: u8,
}

/// What VTTBR_EL2 of a core is.
#[derive(Clone, Copy)]
struct Selected {
    /// As last written.
    written: Vttbr,
    /// As it acts since the last ISB.
    acts: Vttbr,
    /// It was written since.
    is_new: bool,
}

/// All cores.
pub(super) struct Bindings {
    bound: [[Binding; VMIDS]; MAX_CORES],
    selected: [Selected; MAX_CORES],
}

impl Bindings {
    pub(super) const fn new() -> Self {
        const NOTHING: Selected = Selected { written: Vttbr::NONE, acts: Vttbr::NONE, is_new: false };
        Self { bound: [[Binding { root: 0, sent: 0 }; VMIDS]; MAX_CORES], selected: [NOTHING; MAX_CORES] }
    }

    /// Notes that VTTBR_EL2 of `core` was written.
    pub(super) fn selecting(&mut self, core: usize, space: Vttbr) {
        if let Some(selected) = self.selected.get_mut(core) {
            (selected.written, selected.is_new) = (space, true);
        }
    }

    /// Lets the last VTTBR_EL2 of `core` act; returns it if it was written since the last time.
    pub(super) fn synchronized(&mut self, core: usize) -> Option<Vttbr> {
        let selected = self.selected.get_mut(core)?;
        selected.acts = selected.written;
        core::mem::take(&mut selected.is_new).then_some(selected.acts)
    }

    /// Returns VTTBR_EL2 of `core` as it acts.
    pub(super) fn acting(&self, core: usize) -> Vttbr {
        self.selected.get(core).map_or(Vttbr::NONE, |selected| selected.acts)
    }

    /// Returns whether some core selects `root`.
    pub(super) fn is_selected(&self, root: u64) -> bool {
        self.selected.iter().any(|selected| selects(*selected, |space| space.root().bytes() == root))
    }

    /// Notes that `core` may hold entries of `root` under `vmid`.
    pub(super) fn bind(&mut self, core: usize, root: u64, vmid: u8) -> Verdict {
        let Some(binding) = self.bound.get_mut(core).and_then(|row| row.get_mut(usize::from(vmid))) else {
            return Ok(());
        };
        let before = core::mem::replace(binding, Binding { root, sent: 0 }).root;
        match before {
            GONE => Err("a VMID used again before the flush"),
            other if other != 0 && other != root => Err("two address spaces with one VMID"),
            _ => Ok(()),
        }
    }

    /// Notes that the address space of `root` is gone; entries may be left.
    pub(super) fn freed(&mut self, root: u64) {
        let bindings = self.bound.iter_mut().flatten();
        bindings.filter(|binding| binding.root == root).for_each(|binding| binding.root = GONE);
    }

    /// Notes that `core` sent the invalidation of everything, on all cores or on itself alone. What a core selects it may walk
    /// again at once.
    pub(super) fn sent(&mut self, core: usize, on_all: bool) {
        for (number, (row, selected)) in self.bound.iter_mut().zip(self.selected).enumerate() {
            if !on_all && number != core {
                continue;
            }
            for (vmid, binding) in row.iter_mut().enumerate() {
                let is_it = |space: Vttbr| usize::from(space.vmid()) == vmid && space.root().bytes() == binding.root;
                if !selects(selected, is_it) {
                    binding.sent |= 1 << core;
                }
            }
        }
    }

    /// Notes that what `core` sent is complete, on all cores or on itself alone.
    pub(super) fn completed(&mut self, core: usize, on_all: bool) {
        for (_, row) in self.bound.iter_mut().enumerate().filter(|(number, _)| on_all || *number == core) {
            for binding in row.iter_mut().filter(|binding| binding.sent & 1 << core != 0) {
                *binding = Binding { root: 0, sent: 0 };
            }
        }
    }
}

fn selects(selected: Selected, is_it: impl Fn(Vttbr) -> bool) -> bool {
    is_it(selected.written) || is_it(selected.acts)
}
