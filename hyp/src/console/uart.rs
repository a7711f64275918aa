//! UART: a thin adapter over the PL011 driver. Sends and receives what fits its FIFOs, and never waits but where the
//! name says `polled`.

use arm_pl011_uart::{DataBits, FifoLevel, Interrupts, LineConfig, Parity, StopBits};

use super::ring::Ring;
use crate::arch;
use crate::arch::mmio::Device;

/// Most characters taken at once: the depth of the deepest PL011 FIFO.
const FIFO_BYTES: usize = 32;
/// Most characters sent at once. Every FIFO is full before that but QEMU's, which asks for more at once: fewer and longer turns cost a guest
/// less altogether.
const SENT_BYTES: usize = 64;
/// Polls before a UART counts as stuck; at 115,200 baud a character takes 87 microseconds.
const PATIENCE: u32 = 100_000;
/// Bits per second.
const BAUD: u32 = 115_200;

/// The PL011 of the console.
pub(super) struct Uart {
    driver: arm_pl011_uart::Uart<'static>,
    /// Whether the transmit interrupt is on; saves a register access where it stays as it is.
    is_sending: bool,
}

impl Uart {
    /// Returns the UART, ready to send, with its receive interrupts on; `None` if `device` is too small for one. With a
    /// `clock_hz` of 0 the firmware's line settings stay.
    pub(super) fn new(device: Device, clock_hz: u32) -> Option<Self> {
        let mut driver = arm_pl011_uart::Uart::new(device.unique()?);
        let mut patience = PATIENCE;
        while driver.is_busy() && patience > 0 {
            patience -= 1; // what the firmware wrote is sent before the line is set
            arch::relax();
        }
        let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
        if clock_hz != 0 && driver.enable(line, BAUD, clock_hz).is_err() {
            return None;
        }
        driver.set_interrupt_fifo_levels(FifoLevel::Bytes4, FifoLevel::Bytes4);
        let mut uart = Self { driver, is_sending: false };
        uart.set_masks();
        Some(uart)
    }

    fn set_masks(&mut self) {
        let receive = Interrupts::RXI | Interrupts::RTI;
        self.driver.set_interrupt_masks(if self.is_sending { receive | Interrupts::TXI } else { receive });
    }

    /// Sends what the transmit FIFO takes, and has it ask for more exactly while bytes wait. The FIFO is filled before
    /// the interrupt is relied on: it fires when the level falls, not while it is low (Arm DDI 0183).
    pub(super) fn send<const N: usize>(&mut self, ring: &mut Ring<N>) {
        for _ in 0..SENT_BYTES {
            if ring.len() == 0 || self.driver.is_tx_fifo_full() {
                break;
            }
            if let Some(byte) = ring.take() {
                self.driver.write_word(byte);
            }
        }
        let is_sending = ring.len() > 0;
        if is_sending != self.is_sending {
            self.is_sending = is_sending;
            self.set_masks();
        }
    }

    /// Sends everything, waiting for each character for a bounded time. Only for a machine that is about to stop.
    pub(super) fn send_polled<const N: usize>(&mut self, ring: &mut Ring<N>) {
        while let Some(byte) = ring.take() {
            let mut patience = PATIENCE;
            while self.driver.is_tx_fifo_full() && patience > 0 {
                patience -= 1;
                arch::relax();
            }
            self.driver.write_word(byte);
        }
        let mut patience = PATIENCE;
        while self.driver.is_busy() && patience > 0 {
            patience -= 1;
            arch::relax();
        }
    }

    /// Acknowledges the interrupt and takes what arrived, at most a FIFO full; what does not fit `ring` is lost. Returns
    /// whether a byte arrived.
    pub(super) fn receive<const N: usize>(&mut self, ring: &mut Ring<N>) -> bool {
        self.driver.clear_interrupts(Interrupts::RXI | Interrupts::RTI | Interrupts::TXI);
        let before = ring.len();
        for _ in 0..FIFO_BYTES {
            match self.driver.read_word() {
                Ok(Some(byte)) => {
                    ring.put(&[byte]);
                }
                Ok(None) => break,
                Err(_) => {} // a broken character is consumed and dropped
            }
        }
        ring.len() > before
    }
}
