//! The ends of a ring as a program has them: with the port that tells the far end, and waits that lose no event.

use strato_abi::PortHandle;
use strato_abi::vcpu::NO_DEADLINE;

use super::{Consumer, Memory, Producer, RingError};
use crate::conduit::Conduit;
use crate::event_area::EventCells;
use crate::memory::Window;
use crate::{Hvc, event, vcpu};

/// The port to the far end, and the one that says that it has ended.
#[derive(Debug)]
struct Line<'c, C> {
    conduit: &'c C,
    port: PortHandle,
    ended: Option<PortHandle>,
    /// The far end wants an event that it was not sent yet.
    owes: bool,
}

impl<'c, C: Conduit> Line<'c, C> {
    const fn new(conduit: &'c C, port: PortHandle) -> Self {
        Self { conduit, port, ended: None, owes: false }
    }

    /// Sends the event that is owed.
    #[inline(always)]
    fn tell(&mut self) -> Result<(), RingError> {
        if self.owes {
            self.owes = false;
            event::via::send(self.conduit, self.port)?;
        }
        Ok(())
    }

    /// Sends the event that is owed, and waits for one of the far end. One that came before counts.
    #[inline(always)]
    fn wait(&mut self) -> Result<(), RingError> {
        let cells = EventCells::of_this_vcpu();
        while !cells.take(self.port.0.index()) {
            if self.ended.is_some_and(|ended| cells.is_pending(ended.0.index())) {
                return Err(RingError::Ended);
            }
            if self.owes {
                self.owes = false;
                vcpu::via::signal_wait(self.conduit, self.port, NO_DEADLINE)?;
            } else {
                vcpu::via::wait(self.conduit, NO_DEADLINE)?;
            }
        }
        self.tell()
    }
}

/// The end that sends. Its port is bound to the vCPU that uses it.
#[derive(Debug)]
pub struct Sender<'c, const WORDS: usize, M: Memory = Window, C: Conduit = Hvc> {
    producer: Producer<WORDS, M>,
    line: Line<'c, C>,
}

impl<const WORDS: usize, M: Memory> Sender<'static, WORDS, M> {
    /// Returns the sending end of `producer`'s ring; `port` leads to the receiving one.
    pub const fn new(producer: Producer<WORDS, M>, port: PortHandle) -> Self {
        Self::new_on(&Hvc, producer, port)
    }
}

impl<'c, const WORDS: usize, M: Memory, C: Conduit> Sender<'c, WORDS, M, C> {
    /// Does the same as [`Sender::new`] over a conduit of the caller's choice.
    pub const fn new_on(conduit: &'c C, producer: Producer<WORDS, M>, port: PortHandle) -> Self {
        Self { producer, line: Line::new(conduit, port) }
    }

    /// Ends waits with `Ended` once `port` was raised, which is bound to the end of the far VM (EVT.BIND_OBJECT, `ENDED`)
    /// and serves nothing else.
    pub const fn watch(&mut self, port: PortHandle) {
        self.line.ended = Some(port);
    }

    /// Returns the messages that the ring holds.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.producer.capacity()
    }

    /// Sends the first of `messages` as one batch, as many as there is room for, and returns how many.
    ///
    /// # Errors
    /// `Corrupt`, a refused access or call.
    pub fn try_send(&mut self, messages: &[[u64; WORDS]]) -> Result<usize, RingError> {
        let count = self.producer.write(messages)?;
        self.line.owes |= self.producer.publish()?;
        self.line.tell()?;
        Ok(count)
    }

    /// Sends all of `messages`, in batches when they do not fit at once, and waits for room in between.
    ///
    /// # Errors
    /// Those of [`Sender::try_send`], `Ended`. Some of the messages may go out all the same: there is no sending them again.
    pub fn send(&mut self, messages: &[[u64; WORDS]]) -> Result<(), RingError> {
        self.queue(messages)?;
        self.flush()
    }

    /// Sends as [`Sender::send`], for one who sends on: a far end that sleeps may hear of it with the next call only, which
    /// tells and waits by one trap when there is no room. After the last one comes [`Sender::flush`], or a drop.
    ///
    /// # Errors
    /// Those of [`Sender::send`].
    #[inline(always)]
    pub fn queue(&mut self, mut messages: &[[u64; WORDS]]) -> Result<(), RingError> {
        loop {
            let count = self.producer.write(messages)?;
            messages = messages.split_at(count).1;
            if messages.is_empty() {
                // What the call before owes; this one may owe again.
                self.line.tell()?;
            }
            self.line.owes |= self.producer.publish()?;
            if messages.is_empty() {
                return Ok(());
            }
            if self.producer.want(messages.len())? {
                self.line.wait()?;
            }
        }
    }

    /// Tells the far end of what was sent, if it sleeps and was not told yet.
    ///
    /// # Errors
    /// A refused call.
    pub fn flush(&mut self) -> Result<(), RingError> {
        self.line.tell()
    }
}

impl<const WORDS: usize, M: Memory, C: Conduit> Drop for Sender<'_, WORDS, M, C> {
    fn drop(&mut self) {
        // A call alone: the memory may be gone by now. A far end that has ended need not be told.
        let _ = self.flush();
    }
}

/// The end that receives. Its port is bound to the vCPU that uses it. Dropping it gives nothing back: the memory may be gone.
#[derive(Debug)]
pub struct Receiver<'c, const WORDS: usize, M: Memory = Window, C: Conduit = Hvc> {
    consumer: Consumer<WORDS, M>,
    line: Line<'c, C>,
}

impl<const WORDS: usize, M: Memory> Receiver<'static, WORDS, M> {
    /// Returns the receiving end of `consumer`'s ring; `port` leads to the sending one.
    pub const fn new(consumer: Consumer<WORDS, M>, port: PortHandle) -> Self {
        Self::new_on(&Hvc, consumer, port)
    }
}

impl<'c, const WORDS: usize, M: Memory, C: Conduit> Receiver<'c, WORDS, M, C> {
    /// Does the same as [`Receiver::new`] over a conduit of the caller's choice.
    pub const fn new_on(conduit: &'c C, consumer: Consumer<WORDS, M>, port: PortHandle) -> Self {
        Self { consumer, line: Line::new(conduit, port) }
    }

    /// Does as [`Sender::watch`].
    pub const fn watch(&mut self, port: PortHandle) {
        self.line.ended = Some(port);
    }

    /// Returns the messages that the ring holds.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.consumer.capacity()
    }

    /// Copies the next messages to the front of `into`, as many as there are and fit, and returns how many. Their slots are
    /// given back with the next call, so that a ring of two batches keeps both ends busy, or by [`Receiver::release`].
    ///
    /// # Errors
    /// `Corrupt`, a refused access or call.
    pub fn try_receive(&mut self, into: &mut [[u64; WORDS]]) -> Result<usize, RingError> {
        self.release()?;
        self.consumer.read(into)
    }

    /// Receives as [`Receiver::try_receive`], after waiting until there is a message. Nothing fits into an empty `into`.
    ///
    /// # Errors
    /// Those of [`Receiver::try_receive`], `Ended`.
    #[inline(always)]
    pub fn receive(&mut self, into: &mut [[u64; WORDS]]) -> Result<usize, RingError> {
        loop {
            self.line.owes |= self.consumer.release()?;
            let count = self.consumer.read(into)?;
            if count != 0 || into.is_empty() {
                self.line.tell()?;
                return Ok(count);
            }
            if self.consumer.want(1)? {
                self.line.wait()?;
            }
        }
    }

    /// Gives the slots of what was received back, for one who comes back late.
    ///
    /// # Errors
    /// A refused access or call.
    pub fn release(&mut self) -> Result<(), RingError> {
        self.line.owes |= self.consumer.release()?;
        self.line.tell()
    }
}
