//! Ports: one end of an event channel each. All of an end that a sender needs is one atomic word.
//!
//! The word names the port's own handle and the other end. It says `Connected` only while the VM at the other end is there:
//! that closes its ports at both ends before it goes, and goes only after every core has begun another stay (see
//! `arch::epoch`), as a closed port is used again only then. So nothing is delivered to a later owner of a place or of a port.

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
    // state[2:0] | vm[13:8] | port[31:22] | handle[63:32]: that which names the port while it is connected, else that of its
    // neighbor, so that no handle finds a port that is not connected and SEND compares once.
    word: AtomicU64,
    // In use: vCPU[7:0] | incarnation of the other VM[37:8]. Closed: epoch that must pass before it is used again[63:8].
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

    #[allow(clippy::cast_possible_truncation, reason = "masked to its width")]
    const fn incarnation(self) -> u32 {
        (self.0 >> 8 & INCARNATION) as u32
    }
}

const INCARNATION: u64 = (1 << 30) - 1;
const STATE: u64 = 7;
/// What makes the handle of a port that of its neighbor: the lowest bit of the index.
const NEIGHBOR: u32 = 1;
const CONNECTED: u64 = 1;
const OFFERED: u64 = 2;
const PEER_GONE: u64 = 4;

/// A port's word as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    const fn new(handle: Handle, link: Link) -> Self {
        let (state, end) = match link {
            Link::Free => (0, None),
            Link::Offered(end) => (OFFERED, Some(end)),
            Link::Connected(end) => (CONNECTED, Some(end)),
            Link::PeerGone => (PEER_GONE, None),
        };
        let place = match end {
            Some(end) => (end.port as u64 & 0x3ff) << 22 | (end.vm as u64 & 0x3f) << 8,
            None => 0,
        };
        let other = if state == CONNECTED { 0 } else { NEIGHBOR };
        Self(((handle.bits() ^ other) as u64) << 32 | place | state)
    }

    /// Returns the handle that names the port.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    pub const fn handle(self) -> Handle {
        let other = if self.0 & STATE == CONNECTED { 0 } else { NEIGHBOR };
        Handle::from_bits((self.0 >> 32) as u32 ^ other)
    }

    /// Returns whether `handle` names the port: it is in use, and of this generation.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, handle: Handle) -> bool {
        self.handle().bits() == handle.bits() && self.is_open()
    }

    /// Returns whether the port is in use.
    #[inline(always)]
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.0 & STATE != 0
    }

    /// Returns whether the other end was closed.
    #[must_use]
    pub const fn is_peer_gone(self) -> bool {
        self.0 & PEER_GONE != 0
    }

    /// Returns the other end, if `argument`, a register as the guest set it, is the handle of the
    /// port and that is connected. The port is the one that the index in `argument`, modulo the places of the table, leads to.
    #[inline(always)]
    #[must_use]
    pub const fn far_end(self, argument: u64) -> Option<FarEnd> {
        if self.0 >> 32 == argument { Some(FarEnd(self)) } else { None }
    }

    #[inline(always)]
    const fn vm(self) -> u8 {
        (self.0 >> 8 & 0x3f) as u8
    }

    #[inline(always)]
    const fn port(self) -> u16 {
        (self.0 >> 22 & 0x3ff) as u16
    }
}

/// The other end of a port that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarEnd(Snapshot);

impl FarEnd {
    /// Returns the place of the VM.
    #[inline(always)]
    #[must_use]
    pub const fn vm(self) -> u8 {
        self.0.vm()
    }

    /// Returns the port there.
    #[inline(always)]
    #[must_use]
    pub const fn port(self) -> u16 {
        self.0.port()
    }

    /// Returns the port with other bits above its ten: for a table of at most 1,024 places that takes what it is asked for modulo
    /// their number.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0.0 >> 22
    }
}

impl Port {
    /// Returns the port's word.
    #[inline]
    #[must_use]
    pub fn read(&self) -> Snapshot {
        Snapshot(self.word.load(Ordering::Acquire))
    }

    /// Makes the port of index 0, whose zeros name itself, one that no handle finds. It is never in use: memory is the first
    /// that a VM has.
    pub fn close_first(&self) {
        self.word.store(Snapshot::new(Handle::from_bits(0), Link::Free).0, Ordering::Relaxed);
    }

    /// Returns what the port led to when its word was `seen`. The incarnation is right as long as the word is; a caller that
    /// does not hold the lock of the port's owner changes the word from `seen` or changes nothing.
    #[must_use]
    pub fn link(&self, seen: Snapshot) -> Link {
        let end = End { vm: seen.vm(), incarnation: self.binding().incarnation(), port: seen.port() };
        match seen.0 & STATE {
            0 => Link::Free,
            OFFERED => Link::Offered(end),
            CONNECTED => Link::Connected(end),
            _ => Link::PeerGone,
        }
    }

    /// Begins the use of a port that its owner holds the table lock for: bound to `vcpu`, with `handle` as its name.
    pub fn open(&self, handle: Handle, vcpu: u8, link: Link) {
        let incarnation = match link {
            Link::Offered(end) | Link::Connected(end) => u64::from(end.incarnation) & INCARNATION,
            Link::Free | Link::PeerGone => 0,
        };
        self.binding.store(u64::from(vcpu) | incarnation << 8, Ordering::SeqCst);
        self.word.store(Snapshot::new(handle, link).0, Ordering::Release);
    }

    /// Changes the link from what `seen` says, unless it changed meanwhile. Returns whether it did. The other VM stays the one
    /// that it was: who connects to an offer is the VM that it was made to.
    pub fn change(&self, seen: Snapshot, link: Link) -> bool {
        let new = Snapshot::new(seen.handle(), link);
        self.word.compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns the vCPU that the port is bound to, in a form that can be compared with a later one.
    #[inline]
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding(self.binding.load(Ordering::Acquire))
    }

    /// The same for a first look, which [`Port::binding`] is compared with later.
    #[inline(always)]
    #[must_use]
    pub fn binding_unordered(&self) -> Binding {
        Binding(self.binding.load(Ordering::Relaxed))
    }

    /// Binds a port in use to `vcpu`. The caller holds the lock of its owner.
    pub fn bind(&self, vcpu: u8) {
        let now = self.binding.load(Ordering::Relaxed);
        self.binding.store(now & !0xff | u64::from(vcpu), Ordering::SeqCst);
    }

    /// Notes that the port, which was closed, may be used again once `epoch` has passed.
    pub fn rest_until(&self, epoch: u64) {
        self.binding.store(epoch << 8, Ordering::Relaxed);
    }

    /// Returns the epoch that must have passed before the closed port is used again.
    #[must_use]
    pub fn rests_until(&self) -> u64 {
        self.binding.load(Ordering::Relaxed) >> 8
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
