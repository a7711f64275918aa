//! Ports: one end of an event channel each. All of an end that a sender needs is one atomic word.
//!
//! The word names the other end (VM and port) with the incarnation of that VM, so that nothing is delivered to a later
//! owner of the same place. A closed port is used again only after every core has begun another stay (see `arch::epoch`).

use strato_abi::Handle;
use zerocopy::FromZeros;

use crate::sync::{AtomicU64, Ordering};

/// What a port leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not in use.
    Free,
    /// Made by OFFER; the VM that may connect.
    Offered(End),
    /// Connected to the port at the other end.
    Connected(End),
    /// The other end was closed.
    PeerGone,
}

/// The other end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Place of the VM.
    pub vm: u8,
    /// Incarnation of the VM in that place; only the low 30 bits count.
    pub incarnation: u32,
    /// Port there.
    pub port: u16,
}

/// One end of an event channel.
#[derive(Debug, FromZeros)]
#[repr(C)]
pub struct Port {
    // port[9:0] | vm[15:10] | generation[31:16] | incarnation[61:32] | state[63:62]
    word: AtomicU64,
    // vCPU[7:0] | epoch that must pass before the port is used again [63:8]
    binding: AtomicU64,
}

/// What a port is bound to, as it was read. Unequal ones may name the same vCPU, if the port was closed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(u64);

impl Binding {
    /// Returns the number of the vCPU.
    #[inline]
    #[must_use]
    pub const fn vcpu(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

const INCARNATION: u64 = (1 << 30) - 1;
const STATE_SHIFT: u32 = 62;
const CONNECTED: u64 = 2;

/// A port's word as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    fn new(generation: u16, link: Link) -> Self {
        let (state, end) = match link {
            Link::Free => (0, None),
            Link::Offered(end) => (1, Some(end)),
            Link::Connected(end) => (CONNECTED, Some(end)),
            Link::PeerGone => (3, None),
        };
        let place = end.map_or(0, |end| {
            u64::from(end.port & 0x3ff)
                | u64::from(end.vm & 0x3f) << 10
                | (u64::from(end.incarnation) & INCARNATION) << 32
        });
        Self(state << STATE_SHIFT | place | u64::from(generation) << 16)
    }

    /// Returns the generation of the handle that names the port.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 >> 16 & 0xffff) as u16
    }

    /// Returns whether `handle` names the port: it is in use, and of this generation.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, handle: Handle) -> bool {
        (self.0 ^ handle.bits() as u64) & 0xffff_0000 == 0 && self.is_open()
    }

    /// Returns whether the port is in use.
    #[inline(always)]
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.0 >> STATE_SHIFT != 0
    }

    /// Returns the end that the port is connected to.
    #[inline(always)]
    #[must_use]
    pub const fn far_end(self) -> Option<End> {
        if self.0 >> STATE_SHIFT == CONNECTED { Some(self.end()) } else { None }
    }

    #[inline(always)]
    const fn end(self) -> End {
        End {
            vm: (self.0 >> 10 & 0x3f) as u8,
            incarnation: (self.0 >> 32 & INCARNATION) as u32,
            port: (self.0 & 0x3ff) as u16,
        }
    }

    /// Returns what the port leads to.
    #[must_use]
    pub const fn link(self) -> Link {
        let end = self.end();
        match self.0 >> STATE_SHIFT {
            0 => Link::Free,
            1 => Link::Offered(end),
            CONNECTED => Link::Connected(end),
            _ => Link::PeerGone,
        }
    }
}

impl Port {
    /// Returns the port's word.
    #[inline]
    #[must_use]
    pub fn read(&self) -> Snapshot {
        Snapshot(self.word.load(Ordering::Acquire))
    }

    /// Sets a port that its owner holds the table lock for.
    pub fn set(&self, generation: u16, link: Link) {
        self.word.store(Snapshot::new(generation, link).0, Ordering::Release);
    }

    /// Changes the link from what `seen` says, unless it changed meanwhile. Returns whether it did.
    pub fn change(&self, seen: Snapshot, link: Link) -> bool {
        let new = Snapshot::new(seen.generation(), link);
        self.word.compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns the vCPU that the port is bound to, in a form that can be compared with a later one.
    #[inline]
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding(self.binding.load(Ordering::Acquire))
    }

    /// Binds the port to `vcpu`.
    pub fn bind(&self, vcpu: u8) {
        self.binding.store(u64::from(vcpu), Ordering::SeqCst);
    }

    /// Notes that the port may be used again once `epoch` has passed.
    pub fn rest_until(&self, epoch: u64) {
        self.binding.store(epoch << 8, Ordering::Relaxed);
    }

    /// Returns the epoch that must have passed before the port is used again.
    #[must_use]
    pub fn rests_until(&self) -> u64 {
        self.binding.load(Ordering::Relaxed) >> 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_state_place_and_generation() {
        let end = End { vm: 63, incarnation: 0x3fff_ffff, port: 1023 };
        for link in [Link::Free, Link::Offered(end), Link::Connected(end), Link::PeerGone] {
            let snapshot = Snapshot::new(0xabcd, link);
            assert_eq!((snapshot.link(), snapshot.generation()), (link, 0xabcd));
            assert_eq!(snapshot.is_of(Handle::new(7, 0xabcd)), link != Link::Free);
            assert!(!snapshot.is_of(Handle::new(7, 0xabcc)) && !snapshot.is_of(Handle::new(7, 0x2bcd)));
        }
    }

    #[test]
    fn a_link_that_changed_meanwhile_is_left_alone() {
        let port = Port { word: AtomicU64::new(0), binding: AtomicU64::new(0) };
        port.set(1, Link::PeerGone);
        let seen = port.read();
        port.set(2, Link::Free);
        assert!(!port.change(seen, Link::PeerGone));
        assert_eq!(port.read().link(), Link::Free);
    }
}
