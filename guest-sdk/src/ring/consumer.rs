//! The end that reads. Its own words in the memory are never read back; of the far end's, each is read once and checked.

use ::core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::layout::{HEAD, Slots, TAIL, WANTED_HEAD, WANTED_TAIL, has_reached};
use super::{Memory, RingError};

/// The reading end of a ring of messages of `WORDS` words, without a way to tell or to wait: see [`Receiver`](super::Receiver).
#[derive(Debug)]
pub struct Consumer<const WORDS: usize, M> {
    memory: M,
    slots: Slots,
    /// Messages given back, and messages read.
    released: u64,
    read: u64,
    /// The far end's `TAIL` as last seen: at least `read`, and at most a ring ahead of `released`.
    tail: u64,
}

impl<const WORDS: usize, M: Memory> Consumer<WORDS, M> {
    /// Makes a ring in `memory`, of which the far end learns afterwards.
    ///
    /// # Errors
    /// `TooSmall`, or a refused access.
    pub fn create(memory: M) -> Result<Self, RingError> {
        let slots = Slots::create::<M, WORDS>(&memory)?;
        Ok(Self { memory, slots, released: 0, read: 0, tail: 0 })
    }

    /// Becomes the reading end of a ring that the far end has made.
    ///
    /// # Errors
    /// `NotMade` yet, `Format` of another version or message, `Corrupt`, `TooSmall`, or a refused access.
    pub fn attach(memory: M) -> Result<Self, RingError> {
        let slots = Slots::attach::<M, WORDS>(&memory)?;
        Ok(Self { memory, slots, released: 0, read: 0, tail: 0 })
    }

    /// Returns the messages that the ring holds.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.slots.count()
    }

    const fn available(&self) -> u64 {
        self.tail.wrapping_sub(self.read)
    }

    /// Looks at what the far end has published.
    fn look(&mut self) -> Result<(), RingError> {
        // Acquire: with the number come the messages.
        let found = self.memory.load(TAIL, Acquire)?;
        let seen = self.tail.wrapping_sub(self.released);
        if found.wrapping_sub(self.tail) > self.slots.count() - seen {
            return Err(RingError::Corrupt { word: "tail", found });
        }
        self.tail = found;
        Ok(())
    }

    /// Copies the next messages to the front of `into`, as many as there are and fit, and returns how many. Their slots stay
    /// taken until they are given back.
    ///
    /// # Errors
    /// `Corrupt`, or a refused access; nothing more counts as read then.
    #[inline(always)]
    pub fn read(&mut self, into: &mut [[u64; WORDS]]) -> Result<usize, RingError> {
        if self.available() < into.len() as u64 {
            self.look()?;
        }
        let count = into.len().min(usize::try_from(self.available()).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        let (at, run) = self.slots.at(self.read);
        let run = count.min(usize::try_from(run).unwrap_or(usize::MAX));
        let (before, behind) = into.split_at_mut(run);
        self.memory.read(at, before.as_flattened_mut())?;
        if run < count {
            let (at, _) = self.slots.at(0);
            self.memory.read(at, behind.split_at_mut(count - run).0.as_flattened_mut())?;
        }
        self.read = self.read.wrapping_add(count as u64);
        Ok(count)
    }

    /// Gives the slots of what was read back to the far end, and returns whether it must be told by an event.
    ///
    /// # Errors
    /// A refused access.
    #[inline(always)]
    pub fn release(&mut self) -> Result<bool, RingError> {
        let old = self.released;
        if self.read == old {
            return Ok(false);
        }
        // Release: the messages were read before the far end writes over them.
        self.memory.store(HEAD, self.read, Release)?;
        self.released = self.read;
        // Pairs with the fence of `Producer::want`: that end sees the number, or this one sees what it wants.
        self.memory.fence();
        Ok(has_reached(old, self.read, self.memory.load(WANTED_HEAD, Relaxed)?))
    }

    /// Asks for an event once `count` messages are there, at most the whole ring, and returns whether there are fewer yet.
    /// What was read has to be given back before, or the far end may have no room for them.
    ///
    /// # Errors
    /// `Corrupt`, or a refused access.
    pub fn want(&mut self, count: usize) -> Result<bool, RingError> {
        let count = self.slots.count().min(count as u64);
        self.memory.store(WANTED_TAIL, self.read.wrapping_add(count), Relaxed)?;
        // Pairs with the fence of `Producer::publish`.
        self.memory.fence();
        self.look()?;
        Ok(self.available() < count)
    }
}
