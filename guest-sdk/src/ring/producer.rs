//! The end that writes. Its own words in the memory are never read back; of the far end's, each is read once and checked.

use ::core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::layout::{HEAD, Slots, TAIL, WANTED_HEAD, WANTED_TAIL, has_reached};
use super::{Memory, RingError};

/// The writing end of a ring of messages of `WORDS` words, without a way to tell or to wait: see [`Sender`](super::Sender).
#[derive(Debug)]
pub struct Producer<const WORDS: usize, M> {
    memory: M,
    slots: Slots,
    /// Messages published, and messages written.
    published: u64,
    written: u64,
    /// The far end's `HEAD` as last seen: at most `published`, and at most a ring behind `written`.
    head: u64,
}

impl<const WORDS: usize, M: Memory> Producer<WORDS, M> {
    /// Makes a ring in `memory`, of which the far end learns afterwards.
    ///
    /// # Errors
    /// `TooSmall`, or a refused access.
    pub fn create(memory: M) -> Result<Self, RingError> {
        let slots = Slots::create::<M, WORDS>(&memory)?;
        Ok(Self { memory, slots, published: 0, written: 0, head: 0 })
    }

    /// Becomes the writing end of a ring that the far end has made.
    ///
    /// # Errors
    /// `NotMade` yet, `Format` of another version or message, `Corrupt`, `TooSmall`, or a refused access.
    pub fn attach(memory: M) -> Result<Self, RingError> {
        let slots = Slots::attach::<M, WORDS>(&memory)?;
        Ok(Self { memory, slots, published: 0, written: 0, head: 0 })
    }

    /// Returns the messages that the ring holds.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.slots.count()
    }

    const fn room(&self) -> u64 {
        self.slots.count() - self.written.wrapping_sub(self.head)
    }

    /// Looks at what the far end has given back.
    fn look(&mut self) -> Result<(), RingError> {
        // Acquire: the far end has read the slots before they are written again.
        let found = self.memory.load(HEAD, Acquire)?;
        if found.wrapping_sub(self.head) > self.published.wrapping_sub(self.head) {
            return Err(RingError::Corrupt { word: "head", found });
        }
        self.head = found;
        Ok(())
    }

    /// Writes the first of `messages` behind what was written, as many as there is room for, and returns how many. The far
    /// end sees them once they are published.
    ///
    /// # Errors
    /// `Corrupt`, or a refused access; nothing more counts as written then.
    #[inline(always)]
    pub fn write(&mut self, messages: &[[u64; WORDS]]) -> Result<usize, RingError> {
        if self.room() < messages.len() as u64 {
            self.look()?;
        }
        let count = messages.len().min(usize::try_from(self.room()).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        let (at, run) = self.slots.at(self.written);
        let run = count.min(usize::try_from(run).unwrap_or(usize::MAX));
        // Where the slots end, the rest goes to the first ones.
        let (before, behind) = messages.split_at(run);
        self.memory.write(at, before.as_flattened())?;
        if run < count {
            let (at, _) = self.slots.at(0);
            self.memory.write(at, behind.split_at(count - run).0.as_flattened())?;
        }
        self.written = self.written.wrapping_add(count as u64);
        Ok(count)
    }

    /// Lets the far end see what was written, and returns whether it must be told by an event.
    ///
    /// # Errors
    /// A refused access.
    #[inline(always)]
    pub fn publish(&mut self) -> Result<bool, RingError> {
        let old = self.published;
        if self.written == old {
            return Ok(false);
        }
        // Release: who sees the number sees the messages.
        self.memory.store(TAIL, self.written, Release)?;
        self.published = self.written;
        // Pairs with the fence of `Consumer::want`: that end sees the number, or this one sees what it wants.
        self.memory.fence();
        Ok(has_reached(old, self.written, self.memory.load(WANTED_TAIL, Relaxed)?))
    }

    /// Asks for an event once there is room for `count` messages, at most the whole ring, and returns whether there is none
    /// yet. What was written has to be published before, or the far end has nothing to give back.
    ///
    /// # Errors
    /// `Corrupt`, or a refused access.
    pub fn want(&mut self, count: usize) -> Result<bool, RingError> {
        let count = self.slots.count().min(count as u64);
        let wanted = self.written.wrapping_add(count).wrapping_sub(self.slots.count());
        self.memory.store(WANTED_HEAD, wanted, Relaxed)?;
        // Pairs with the fence of `Consumer::release`.
        self.memory.fence();
        self.look()?;
        Ok(self.room() < count)
    }
}
