//! Select: makes a core translate by its vCPU's current address space. The only place that writes VTTBR_EL2 for a guest.

use super::{Cpu, Cx};
use crate::allocator::Selector;
use crate::arch::stage2;

impl Cpu {
    /// Returns `selector`, as another core may have got it, in a form that this core may claim: in a generation that it has
    /// not met it has to forget what is in its TLB first.
    #[must_use]
    pub fn trusted(&self, selector: Selector) -> Selector {
        let is_met = selector.generation == self.vmid_generation;
        Selector { generation: if is_met { selector.generation } else { 0 }, ..selector }
    }
}

impl Cx<'_> {
    /// Makes this core translate by the current address space of the vCPU, from the return to the guest on.
    #[inline]
    pub fn select_space(&mut self) {
        let selector = self.context.space.selector;
        if self.machine.vmids.claim(self.cpu.index, selector) {
            stage2::set_vttbr(selector.vttbr);
        } else {
            self.renew_space();
        }
    }

    /// The same, with a VMID of this generation.
    #[cold]
    #[inline(never)]
    fn renew_space(&mut self) {
        // Whose tables these are may lose its number now: nothing is walked by them from here on.
        stage2::park();
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
