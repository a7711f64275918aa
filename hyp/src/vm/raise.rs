//! Raise: an event for a port of a VM, from its pending bit to the vCPU that somebody must tell.
//!
//! Called by SEND, which takes no lock, and by what else raises ports. Never tells a vCPU itself.

use super::Vm;
use crate::events::{Once, Posted};
use crate::sync::{Ordering, fence};
use crate::vcpu::{Public, Vcpu, state};
use strato_abi::Handle;

/// What became of an event that was raised in the first try.
pub enum Raised<'v> {
    /// It is pending, and nobody must be told.
    Quiet,
    /// This vCPU must be told: it blocks without a deadline. Who is its home core, which alone changes that, may rely on it.
    Blocked(&'v Vcpu),
    /// This one must be told: it blocks otherwise, or it runs and takes upcalls.
    Tell(&'v Vcpu),
    /// Others were at the same words, or the port was bound anew: [`Vm::raise_again`] raises it.
    Again,
}

impl Vm {
    /// Raises port `index` modulo the places of the table, at most 1,024, if nobody else is at its words.
    #[inline(always)]
    pub fn raise_once(&self, index: u64) -> Raised<'_> {
        let (port, entry) = self.ports.masked_at(index);
        let bound = entry.binding_unordered();
        let number = bound.vcpu();
        let Some(vcpu) = self.vcpus.masked(usize::from(number)) else { return Raised::Quiet };
        let public = &vcpu.public;
        // BIND_VCPU binds first and then takes away what it finds in the old record: after the post comes another look.
        let was_up = match self.area.post_once(number, port, &public.sink) {
            Once::Raised { was_up } => was_up,
            Once::Masked if entry.binding_unordered() == bound => return Raised::Quiet, // behind the fence of the post
            Once::Merged if entry.binding() == bound => return Raised::Quiet, // an acquire behind the post's release
            Once::Masked | Once::Merged | Once::Again => return Raised::Again,
        };
        // Pairs with the fence of a vCPU that blocks: it sees the selector, or we see that it blocks.
        fence(Ordering::SeqCst);
        let state = public.number_behind_fence();
        if entry.binding_unordered() != bound {
            return Raised::Again;
        }
        if !public.is_told(state, was_up) {
            Raised::Quiet
        } else if state::is_blocked_plain(state) {
            Raised::Blocked(vcpu)
        } else {
            Raised::Tell(vcpu)
        }
    }

    /// Raises `port`, this VM's own, for `vcpu`, which runs on this core, so that it does not block meanwhile; calls `upcall` when it is to
    /// take one. Returns whether that is all: if not, the port is not connected, or bound to another vCPU, or others were at the same
    /// words, and [`Vm::raise_again`] has to raise it.
    #[inline(always)]
    pub fn raise_own(&self, port: Handle, vcpu: &Vcpu, upcall: impl FnOnce()) -> bool {
        let name = u64::from(port.bits());
        let (port, entry) = self.ports.masked_at(name);
        let bound = entry.binding_unordered();
        let number = bound.vcpu();
        let is_own = self.vcpus.masked(usize::from(number)).is_some_and(|target| core::ptr::eq(target, vcpu));
        if entry.read().far_end(name).is_none() || !is_own {
            return false;
        }
        match self.area.post_once(number, port, &vcpu.public.sink) {
            Once::Raised { was_up } => {
                if !was_up && vcpu.public.has_upcalls.load(Ordering::Relaxed) {
                    upcall();
                }
            }
            Once::Masked | Once::Merged => {}
            Once::Again => return false,
        }
        fence(Ordering::SeqCst); // as in `raise_once`: BIND_VCPU takes away what it finds, or we see that it was there
        entry.binding_unordered() == bound
    }

    /// Raises `port`. Returns the vCPU that somebody must tell: one that blocks, or that runs and takes upcalls.
    #[inline(always)]
    pub fn raise(&self, port: u16) -> Option<u8> {
        let entry = self.ports.get(usize::from(port))?;
        let bound = entry.binding();
        let told = self.post(bound.vcpu(), port);
        if entry.binding() == bound { told } else { self.raise_moved(port) }
    }

    /// Raises `port` where [`Vm::raise_once`] did not, whatever of it that did. The new owner of the port may see one event too
    /// many, which is allowed; a lost one is not.
    #[cold]
    #[inline(never)]
    pub fn raise_again(&self, port: u16) -> Option<u8> {
        let entry = self.ports.get(usize::from(port))?;
        let bound = entry.binding();
        let public = &self.vcpu(bound.vcpu())?.public;
        let posted = self.area.post_again(bound.vcpu(), port, &public.sink);
        let is_told = posted != Posted::Masked && is_concerned(public, posted);
        if entry.binding() == bound { is_told.then(|| bound.vcpu()) } else { self.raise_moved(port) }
    }

    /// BIND_VCPU came between: the new record has the bit now, its vCPU is told; in the old one it is an allowed one too many.
    #[cold]
    #[inline(never)]
    fn raise_moved(&self, port: u16) -> Option<u8> {
        self.post(self.ports.get(usize::from(port))?.binding().vcpu(), port)
    }

    /// Binds port `index` to vCPU `to` and takes along what is pending. Returns whether `to` has to be told. The caller holds
    /// the VM's lock: one binding at a time.
    pub fn rebind(&self, index: u16, to: u8) -> bool {
        let (Some(port), Some(target)) = (self.ports.get(usize::from(index)), self.vcpu(to)) else { return false };
        let before = port.binding().vcpu();
        port.bind(to);
        // Pairs with the fence of a sender between its post and its second look: we find its bit in the old record, or it finds
        // the port bound anew.
        fence(Ordering::SeqCst);
        let Some(old) = self.vcpu(before).filter(|_| before != to) else { return false };
        self.area.withdraw(before, index, &old.public.sink)
            && matches!(self.area.post(to, index, &target.public.sink), Posted::First | Posted::Again)
    }

    #[inline(always)]
    fn post(&self, number: u8, port: u16) -> Option<u8> {
        let public = &self.vcpu(number)?.public;
        let posted = self.area.post(number, port, &public.sink);
        let is_told = matches!(posted, Posted::First | Posted::Again) && is_concerned(public, posted);
        is_told.then_some(number)
    }
}

/// Returns whether a vCPU whose line was just set must be told.
#[inline(always)]
fn is_concerned(public: &Public, posted: Posted) -> bool {
    // Pairs with the fence of a vCPU that blocks: it sees the selector, or we see that it blocks.
    fence(Ordering::SeqCst);
    public.is_told(public.number_behind_fence(), posted == Posted::Again)
}
