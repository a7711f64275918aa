//! Ports of a VM, and the timers that raise them: closing a port, and what is left of one when its number is used again.

use super::Vm;
use crate::arch::epoch::Epochs;
use crate::events::Link;
use crate::events::port::End;
use crate::lock::{CONSOLE, Lock};
use crate::vcpu::timers::Timers;

impl Vm {
    /// Returns its timers, which stand with its first vCPU.
    #[inline(always)]
    #[must_use]
    pub fn timers(&self) -> Option<&Lock<Timers, CONSOLE>> {
        self.vcpus.masked(0).map(|first| &first.timers)
    }

    /// Closes `port` of this VM, and tells the other end, which `peer` finds by its place. The port can be used again once
    /// `epochs` have moved on. The caller holds the VM's lock.
    pub fn close<'v>(&self, port: u16, epochs: &Epochs, peer: impl Fn(u8) -> Option<&'v Self>) {
        let Some(entry) = self.ports.get(usize::from(port)) else { return };
        // A peer may connect to an offer, or leave, at this moment: each at most once, so that the third try is the last.
        for _ in 0..3 {
            let seen = entry.read();
            if let Link::Connected(end) = entry.link(seen)
                && let Some(other) = peer(end.vm).filter(|other| other.incarnation == end.incarnation)
            {
                other.lose_peer(end, self.place, port);
            }
            if entry.change(seen, Link::Free) {
                break;
            }
        }
        // A sender may have read the old word; what it still posts is withdrawn when the port is opened again.
        entry.rest_until(epochs.advance());
    }

    /// Takes away what late senders left in the records of a port that is opened again.
    pub fn withdraw(&self, port: u16) {
        for (number, vcpu) in (0u8..).zip(self.vcpus.iter()) {
            self.area.withdraw(number, port, &vcpu.public.sink);
        }
    }

    /// Marks the port at `end`, in this VM, as having lost its other end, if that is port `port` of the VM in `place`.
    pub fn lose_peer(&self, end: End, place: u8, port: u16) {
        let Some(entry) = self.ports.get(usize::from(end.port)) else { return };
        let seen = entry.read();
        if let Link::Connected(back) = entry.link(seen)
            && back.vm == place
            && back.port == port
        {
            entry.change(seen, Link::PeerGone);
        }
    }
}
