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
}

impl<C: Conduit> Line<'_, C> {
    /// Tells the far end if it `wants` to be told.
    #[inline(always)]
    fn tell(&self, wants: bool) -> Result<(), RingError> {
        if wants { Ok(event::via::send(self.conduit, self.port)?) } else { Ok(()) }
    }

    /// Tells the far end if it `wants` to be told, and waits for an event of it. One that came before counts.
    #[inline(always)]
    fn tell_and_wait(&self, mut wants: bool) -> Result<(), RingError> {
        let cells = EventCells::of_this_vcpu();
        while !cells.take(self.port.0.index()) {
            if self.ended.is_some_and(|ended| cells.is_pending(ended.0.index())) {
                return Err(RingError::Ended);
            }
            if wants {
                vcpu::via::signal_wait(self.conduit, self.port, NO_DEADLINE)?;
                wants = false;
            } else {
                vcpu::via::wait(self.conduit, NO_DEADLINE)?;
            }
        }
        self.tell(wants)
    }
}

/// The end that sends. Its port is bound to the vCPU that uses it.
#[derive(Debug)]
pub struct Sender<'c, const WORDS: usize, M = Window, C = Hvc> {
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
        Self { producer, line: Line { conduit, port, ended: None } }
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
        let wants = self.producer.publish()?;
        self.line.tell(wants)?;
        Ok(count)
    }

    /// Sends all of `messages`, in batches when they do not fit at once, and waits for room in between.
    ///
    /// # Errors
    /// Those of [`Sender::try_send`], `Ended`.
    pub fn send(&mut self, mut messages: &[[u64; WORDS]]) -> Result<(), RingError> {
        loop {
            let count = self.producer.write(messages)?;
            let wants = self.producer.publish()?;
            messages = messages.split_at(count).1;
            if messages.is_empty() {
                return self.line.tell(wants);
            }
            if self.producer.want(messages.len())? {
                self.line.tell_and_wait(wants)?;
            } else {
                self.line.tell(wants)?;
            }
        }
    }
}

/// The end that receives. Its port is bound to the vCPU that uses it.
#[derive(Debug)]
pub struct Receiver<'c, const WORDS: usize, M = Window, C = Hvc> {
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
        Self { consumer, line: Line { conduit, port, ended: None } }
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

    /// Copies the next messages to the front of `into`, as many as there are and fit, gives their slots back and returns how
    /// many.
    ///
    /// # Errors
    /// `Corrupt`, a refused access or call.
    pub fn try_receive(&mut self, into: &mut [[u64; WORDS]]) -> Result<usize, RingError> {
        let count = self.consumer.read(into)?;
        let wants = self.consumer.release()?;
        self.line.tell(wants)?;
        Ok(count)
    }

    /// Receives as [`Receiver::try_receive`], after waiting until there is a message. Nothing fits into an empty `into`.
    ///
    /// # Errors
    /// Those of [`Receiver::try_receive`], `Ended`.
    pub fn receive(&mut self, into: &mut [[u64; WORDS]]) -> Result<usize, RingError> {
        loop {
            let count = self.try_receive(into)?;
            if count != 0 || into.is_empty() {
                return Ok(count);
            }
            if self.consumer.want(1)? {
                self.line.tell_and_wait(false)?;
            }
        }
    }
}
