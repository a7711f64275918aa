//! A ring of messages from one producer to one consumer, over memory that both ends write and an event port.
//!
//! [`Sender`] and [`Receiver`] are the ends of a program; [`Producer`] and [`Consumer`] are the same without port and waiting.
//! A message is `WORDS` words of 64 bits, copied in and out; a batch is published by one store, and its far end gets an event
//! only when it has asked for one.
//!
//! The far end is not trusted. Both ends keep their own numbers, so whatever it writes, whenever it does: no word of its
//! leads outside the slots, each is read once, a number that cannot be is [`RingError::Corrupt`], a message is just words, and
//! memory that was taken back is [`RingError::Access`] in a program that declares a fault handler (any other ends by that fault,
//! as by every one). It can still stop sending, or send nonsense: that is the program's to judge.
//!
//! # Layout, version 1
//!
//! | offset | word | written by |
//! |---|---|---|
//! | 0 | `MAGIC`, the letters `ST_RING1`; zero while the ring is being made | its maker, last of all |
//! | 8 | version in bits 63:32, words of a message in bits 31:0 | its maker |
//! | 16 | slots, a power of two | its maker |
//! | 128 | `TAIL`: messages written since the ring was made, modulo 2^64 | the producer |
//! | 136 | the `HEAD` at which the producer wants an event | the producer |
//! | 256 | `HEAD`: messages read since the ring was made, modulo 2^64 | the consumer |
//! | 264 | the `TAIL` at which the consumer wants an event | the consumer |
//! | 512 | the slots: message `n` is in slot `n % slots`, its words in order | the producer |
//!
//! Little-endian words of 64 bits; the others below 512 are not used. Two lines of 64 bytes separate what one end writes from
//! what the other one writes, for caches that fetch lines in pairs. A page holds 32 messages of 64 bytes.
//!
//! An end that publishes stores its counter with release order, passes a full barrier, and loads the number that the far end
//! wants; it owes an event when the counter reached that number by this step. An end that sleeps stores the number that it
//! wants, passes a full barrier, and loads the far end's counter with acquire order; it waits when that is not there yet. So
//! one of the two sees the other, and nobody sleeps on news; an end that does not sleep wants a number that has passed, and
//! costs no event. An event may come for nothing: who wakes looks again.

mod consumer;
mod ends;
mod layout;
mod producer;

use ::core::fmt;
use ::core::sync::atomic::{Ordering, fence};

pub use consumer::Consumer;
pub use ends::{Receiver, Sender};
pub use producer::Producer;

use crate::error::Error;
use crate::memory::{AccessError, Window};

/// Memory that the far end writes as well: words that are loaded and stored, and no reference to any of them.
pub trait Memory {
    /// Returns the bytes that there are.
    fn bytes(&self) -> u64;
    /// Returns the word `at` bytes, a multiple of 8, into the memory.
    ///
    /// # Errors
    /// A refused access; so for the others.
    fn load(&self, at: u64, order: Ordering) -> Result<u64, AccessError>;
    /// Stores `value` in the word `at` bytes into the memory.
    ///
    /// # Errors
    /// As [`Memory::load`].
    fn store(&self, at: u64, value: u64, order: Ordering) -> Result<(), AccessError>;
    /// Reads words, each once, in no order.
    ///
    /// # Errors
    /// As [`Memory::load`].
    fn read(&self, at: u64, into: &mut [u64]) -> Result<(), AccessError>;
    /// Writes words, each once, in no order.
    ///
    /// # Errors
    /// As [`Memory::load`].
    fn write(&self, at: u64, from: &[u64]) -> Result<(), AccessError>;
    /// Orders every access before with every access behind, as all see them.
    fn fence(&self);
}

impl Memory for Window {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    #[inline(always)]
    fn load(&self, at: u64, order: Ordering) -> Result<u64, AccessError> {
        if matches!(order, Ordering::Relaxed) { self.load_relaxed(at) } else { self.load(at) }
    }

    #[inline(always)]
    fn store(&self, at: u64, value: u64, order: Ordering) -> Result<(), AccessError> {
        if matches!(order, Ordering::Relaxed) { self.store_relaxed(at, value) } else { self.store(at, value) }
    }

    #[inline(always)]
    fn read(&self, at: u64, into: &mut [u64]) -> Result<(), AccessError> {
        self.read(at, into)
    }

    #[inline(always)]
    fn write(&self, at: u64, from: &[u64]) -> Result<(), AccessError> {
        self.write(at, from)
    }

    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// Why a ring does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The memory does not hold the header and one message.
    TooSmall,
    /// The far end has not made the ring yet.
    NotMade,
    /// The ring is of another version, or its messages are of another length: its second word.
    Format {
        /// Version in bits 63:32, words of a message in bits 31:0.
        found: u64,
    },
    /// The far end wrote what cannot be.
    Corrupt {
        /// Which word.
        word: &'static str,
        /// What it was.
        found: u64,
    },
    /// An access was refused: the memory was taken back, or never mapped.
    Access(AccessError),
    /// A call was refused; `PEER_GONE` when the far end has ended.
    Call(Error),
    /// The port that [`Sender::watch`] or [`Receiver::watch`] names was raised.
    Ended,
}

impl From<AccessError> for RingError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<Error> for RingError {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => f.write_str("ring: the memory does not hold a message"),
            Self::NotMade => f.write_str("ring: not made yet"),
            Self::Format { found } => {
                write!(f, "ring: of version {}, {} words a message", found >> 32, found & 0xffff_ffff)
            }
            Self::Corrupt { word, found } => write!(f, "ring: the far end wrote {found:#x} as {word}"),
            Self::Access(error) => write!(f, "ring: {error}"),
            Self::Call(error) => write!(f, "ring: {error}"),
            Self::Ended => f.write_str("ring: the far end has ended"),
        }
    }
}

impl ::core::error::Error for RingError {}
