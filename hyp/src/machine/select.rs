//! Select: makes a core translate by its vCPU's current address space. The only place that writes VTTBR_EL2 for a guest.

use super::{Cpu, Cx};
use crate::allocator::{Selector, Vmids};
use crate::arch::stage2;

impl Cpu {
    /// Returns `selector`, as another core may have got it, in a form that this core may claim: in a generation that it has
    /// not met it has to forget what is in its TLB first.
    #[must_use]
    pub fn trusted(&self, selector: Selector) -> Selector {
        let is_met = selector.generation == self.vmid_generation;
        Selector { generation: if is_met { selector.generation } else { 0 }, ..selector }
    }

    /// Makes this core translate by what `selector` selects, from the return to the guest on. Returns whether it does: if not,
    /// the VMID is another's by now, and the core translates by nothing until [`Cx::renew_space`].
    #[inline]
    #[must_use]
    pub fn select(&self, vmids: &Vmids, selector: Selector) -> bool {
        let is_own = vmids.claim(self.index, selector);
        // What is left may lose its tables, or these their number, from here on: nothing is walked by them any more.
        if is_own {
            stage2::set_vttbr(selector.vttbr)
        } else {
            stage2::park()
        }
        is_own
    }

    /// Does the same, but for what follows when it does not: the caller selects something else then. A fence stands in it.
    #[inline(always)]
    #[must_use]
    pub fn claim(&self, vmids: &Vmids, selector: Selector) -> bool {
        let is_own = vmids.claim(self.index, selector);
        if is_own {
            stage2::set_vttbr(selector.vttbr);
        }
        is_own
    }
}

impl Cx<'_> {
    /// Makes this core translate by the current address space of the vCPU, from the return to the guest on.
    #[inline]
    pub fn select_space(&mut self) {
        if !self.cpu.select(&self.machine.vmids, self.context.space.selector) {
            self.renew_space();
        }
    }

    /// The same, with a VMID of this generation; the core translates by nothing.
    #[cold]
    #[inline(never)]
    pub fn renew_space(&mut self) {
        let (mut inner, mut held) = self.vm.inner.lock(&mut self.locks);
        let (mut pool, _held) = self.machine.memory.lock(&mut held);
        let Some(space) = inner.spaces.get_mut(self.context.space.slot) else {
            unreachable!("the current address space of a vCPU is not ended")
        };
        let selector = space.renew(&self.machine.vmids, self.cpu.index, &mut pool.allocator);
        if self.cpu.vmid_generation != selector.generation {
            self.cpu.vmid_generation = selector.generation;
            stage2::invalidate_here();
        }
        self.context.space.selector = selector;
        stage2::set_vttbr(selector.vttbr);
    }

    /// Takes the vCPU, which turns itself off, away from its address space; when it starts again, it is in the first one.
    pub fn leave_space(&mut self) {
        let slot = self.context.space.slot;
        let (mut inner, _held) = self.vm.inner.lock(&mut self.locks);
        inner.spaces.leave(slot);
        self.context.space = crate::vcpu::Current::FIRST;
    }
}
