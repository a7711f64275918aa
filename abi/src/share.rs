//! Group 4, SHARE: values that its calls carry, and the reasons that a bound port is raised for.

use crate::address_space::Attributes;
use crate::error::Reason;
use crate::regs::Argument;

/// What becomes of the memory when the peer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Verb {
    /// Both have it.
    Share = 0,
    /// Only the borrower has it until it gives it back.
    Lend = 1,
    /// It is the peer's for good.
    Donate = 2,
}

/// Terms of an offer: rights in bits 2:0, [`Verb`] in bits 5:4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What becomes of the memory.
    pub verb: Verb,
    /// The most that the peer may map it with. A donation hands over all that the giver may.
    pub rights: Attributes,
}

impl Terms {
    /// Bits that may be set.
    const DEFINED: u64 = 0x37;

    /// Returns the terms as they travel in a register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.rights.bits() | (self.verb as u64) << 4
    }
}

impl Argument for Terms {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        let bits = u64::take(regs)?;
        if bits & !Self::DEFINED != 0 {
            return Err((Reason::ReservedBits, Self::DEFINED));
        }
        let verb = match bits >> 4 {
            0 => Verb::Share,
            1 => Verb::Lend,
            2 => Verb::Donate,
            _ => return Err((Reason::UnknownValue, 0)),
        };
        Ok(Self { verb, rights: Attributes::from_bits_truncate(bits) })
    }

    fn put(&self, regs: &mut [u64]) {
        self.bits().put(regs);
    }
}

/// How an owner takes memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RevokePolicy {
    /// The borrower is told and gives it back when it likes.
    Ask = 0,
    /// It is unmapped at the borrower, a bounded part with each call.
    Force = 1,
}

crate::regs::argument_enum!(RevokePolicy { 0 => Ask, 1 => Force });

/// How a share stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum ShareState {
    /// The peer has not accepted.
    Offered = 1,
    /// The peer has it.
    Accepted = 2,
    /// The peer has it and was asked to give it back.
    Asked = 3,
    /// It is being unmapped at the peer.
    Revoking = 4,
    /// The peer gave it back, or has ended, before it accepted too.
    Relinquished = 5,
    /// It was taken back, before or after the peer accepted.
    Revoked = 6,
    /// It was donated, and is the peer's.
    Donated = 7,
}

impl ShareState {
    /// Returns the state of the number, or `None` when it is not defined here.
    #[must_use]
    pub const fn from_u64(value: u64) -> Option<Self> {
        Some(match value {
            1 => Self::Offered,
            2 => Self::Accepted,
            3 => Self::Asked,
            4 => Self::Revoking,
            5 => Self::Relinquished,
            6 => Self::Revoked,
            7 => Self::Donated,
            _ => return None,
        })
    }
}

bitflags::bitflags! {
    /// What EVT.BIND_OBJECT raises a port for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Steps: u64 {
        /// Peer: the peer has offered memory.
        const OFFERED = 1;
        /// Share: the peer has accepted.
        const ACCEPTED = 2;
        /// Share: the peer has given the memory back, or has ended, before it accepted too.
        const RELINQUISHED = 4;
        /// Borrowed memory: its owner asks for it.
        const ASKED = 8;
        /// Borrowed memory: its owner took it back.
        const REVOKED = 16;
        /// Borrowed memory, or a peer: the VM at the other end has ended.
        const ENDED = 32;
        /// Peer: the peer has taken back what it had offered, before it was accepted.
        const WITHDRAWN = 64;
    }
}

impl Argument for Steps {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        Self::from_bits(u64::take(regs)?).ok_or((Reason::ReservedBits, Self::all().bits()))
    }

    fn put(&self, regs: &mut [u64]) {
        self.bits().put(regs);
    }
}

/// Ranges of addresses at which borrowed memory can be mapped at once.
pub const BORROWED_RANGES: u64 = 4;
/// Objects of borrowed memory that a VM can have mapped at once.
pub const BORROWED_OBJECTS: u64 = 64;
/// Offers of a VM that nobody has accepted yet.
pub const OPEN_OFFERS: u64 = 128;
