//! PL011: a thin adapter over its driver (Arm DDI 0183). What the console does with it is `uart`'s business.

use arm_pl011_uart::{DataBits, FifoLevel, Interrupts, LineConfig, Parity, StopBits, Uart};

use super::uart::{BAUD, Driver, wait_while};
use crate::arch::mmio::Device;

/// A PL011.
pub(super) struct Pl011(Uart<'static>);

impl Pl011 {
    /// Returns the UART, ready to send; `None` if `device` is too small for one. With a `clock_hz` of 0 the firmware's line settings stay.
    pub(super) fn new(device: Device, clock_hz: u32) -> Option<Self> {
        let mut driver = Uart::new(device.unique()?);
        wait_while(|| driver.is_busy()); // what the firmware wrote is sent before the line is set
        let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
        if clock_hz != 0 && driver.enable(line, BAUD, clock_hz).is_err() {
            return None;
        }
        driver.set_interrupt_fifo_levels(FifoLevel::Bytes4, FifoLevel::Bytes4);
        Some(Self(driver))
    }
}

impl Driver for Pl011 {
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.0.is_tx_fifo_full()
    }

    fn is_busy(&self) -> bool {
        self.0.is_busy()
    }

    #[inline(always)]
    fn write(&mut self, byte: u8) {
        self.0.write_word(byte);
    }

    fn ask(&mut self, is_sending: bool) {
        let receive = Interrupts::RXI | Interrupts::RTI;
        self.0.set_interrupt_masks(if is_sending { receive | Interrupts::TXI } else { receive });
    }

    fn acknowledge(&mut self) {
        // Those of the receiver end as its FIFO is read (Arm DDI 0183, UARTICR, and Linux, `amba-pl011.c`). Cleared while more is there than
        // is read at once, one that has no timeout, as QEMU's, would never come again.
        self.0.clear_interrupts(Interrupts::TXI);
    }

    fn read(&mut self) -> Option<Option<u8>> {
        self.0.read_word().map_or(Some(None), |word| word.map(Some))
    }
}
