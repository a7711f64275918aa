//! UART: what the console does with one, whichever it is. Sends and receives what fits its FIFOs, and never waits but where
//! the name says `polled`.

use super::mini::Mini;
use super::pl011::Pl011;
use super::ring::Ring;
use crate::arch;
use crate::arch::mmio::Device;

/// Most characters taken at once: the depth of the deepest PL011 FIFO. Behind more the interrupt comes again.
const FIFO_BYTES: usize = 32;
/// Most characters sent at once. Every FIFO is full before that but QEMU's, which asks for more at once: fewer and longer turns cost a guest
/// less altogether.
const SENT_BYTES: usize = 64;
/// Polls before a UART counts as stuck; at 115,200 baud a character takes 87 microseconds.
const PATIENCE: u32 = 100_000;
/// Bits per second.
pub(super) const BAUD: u32 = 115_200;

/// Which UART the console has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A PL011.
    Pl011 {
        /// Its clock; with 0 the firmware's line settings stay.
        clock_hz: u32,
    },
    /// The mini UART of a Raspberry Pi 4.
    Mini,
}

/// What a UART does, a character or a register at a time.
pub(super) trait Driver {
    /// Returns whether the transmit FIFO has no room.
    fn is_full(&self) -> bool;
    /// Returns whether a character is on its way.
    fn is_busy(&self) -> bool;
    /// Sends a character; there is room.
    fn write(&mut self, byte: u8);
    /// Has the transmit FIFO ask for more, or not. The receive interrupts are on.
    fn ask(&mut self, is_sending: bool);
    /// Acknowledges the interrupts that do not end by themselves as characters are taken.
    fn acknowledge(&mut self);
    /// Takes a character: `None` when none is there, `Some(None)` for a broken one.
    fn read(&mut self) -> Option<Option<u8>>;
}

/// The UART of the console.
pub(super) enum Uart {
    Pl011(Port<Pl011>),
    Mini(Port<Mini>),
}

impl Uart {
    /// Returns the UART, ready to send, with its receive interrupts on; `None` if `device` is too small for one.
    pub(super) fn new(device: Device, wire: Wire) -> Option<Self> {
        Some(match wire {
            Wire::Pl011 { clock_hz } => Self::Pl011(Port::new(Pl011::new(device, clock_hz)?)),
            Wire::Mini => Self::Mini(Port::new(Mini::new(device)?)),
        })
    }

    /// Sends what the transmit FIFO takes, and has it ask for more exactly while bytes wait.
    pub(super) fn send<const N: usize>(&mut self, ring: &mut Ring<N>) {
        match self {
            Self::Pl011(port) => port.send(ring),
            Self::Mini(port) => port.send(ring),
        }
    }

    /// Sends everything, waiting for each character for a bounded time. Only for a machine that is about to stop.
    pub(super) fn send_polled<const N: usize>(&mut self, ring: &mut Ring<N>) {
        match self {
            Self::Pl011(port) => port.send_polled(ring),
            Self::Mini(port) => port.send_polled(ring),
        }
    }

    /// Acknowledges the interrupt and takes what arrived, at most a FIFO full; what does not fit `ring` is lost. Returns
    /// whether a byte arrived.
    pub(super) fn receive<const N: usize>(&mut self, ring: &mut Ring<N>) -> bool {
        match self {
            Self::Pl011(port) => port.receive(ring),
            Self::Mini(port) => port.receive(ring),
        }
    }
}

/// A UART of one kind.
pub(super) struct Port<D> {
    driver: D,
    /// Whether the transmit interrupt is on; saves a register access where it stays as it is.
    is_sending: bool,
}

impl<D: Driver> Port<D> {
    fn new(mut driver: D) -> Self {
        driver.ask(false);
        Self { driver, is_sending: false }
    }

    // The FIFO is filled before the interrupt is relied on: a PL011's fires when the level falls, not while it is low (Arm DDI 0183).
    fn send<const N: usize>(&mut self, ring: &mut Ring<N>) {
        for _ in 0..SENT_BYTES {
            if ring.len() == 0 || self.driver.is_full() {
                break;
            }
            if let Some(byte) = ring.take() {
                self.driver.write(byte);
            }
        }
        let is_sending = ring.len() > 0;
        if is_sending != self.is_sending {
            self.is_sending = is_sending;
            self.driver.ask(is_sending);
        }
    }

    fn send_polled<const N: usize>(&mut self, ring: &mut Ring<N>) {
        while let Some(byte) = ring.take() {
            wait_while(|| self.driver.is_full());
            self.driver.write(byte);
        }
        wait_while(|| self.driver.is_busy());
    }

    fn receive<const N: usize>(&mut self, ring: &mut Ring<N>) -> bool {
        self.driver.acknowledge();
        let before = ring.len();
        for _ in 0..FIFO_BYTES {
            match self.driver.read() {
                Some(Some(byte)) => {
                    ring.put(&[byte]);
                }
                None => break,
                Some(None) => {} // a broken character is consumed and dropped
            }
        }
        ring.len() > before
    }
}

/// Waits for a bounded time.
pub(super) fn wait_while(is_so: impl Fn() -> bool) {
    let mut patience = PATIENCE;
    while is_so() && patience > 0 {
        patience -= 1;
        arch::relax();
    }
}
