//! Mini UART: the driver of the one that a BCM2711 has beside its PL011s ("BCM2711 ARM Peripherals", chapter "Auxiliaries"). Its
//! registers are those of a 16550. Each interrupt is a level that ends with its cause: none has to be acknowledged.

use tock_registers::interfaces::{Readable, Writeable};

use super::uart::{BAUD, Driver, wait_while};
use crate::arch::mmio::{Device, RegisterPage, Registers};

/// AUX_ENABLES, in the page that it has in common with two SPIs.
const ENABLES: u64 = 0x04;
const IO: u64 = 0x40;
const IER: u64 = 0x44;
const IIR: u64 = 0x48;
const LCR: u64 = 0x4c;
const MCR: u64 = 0x50;
const LSR: u64 = 0x54;
const CNTL: u64 = 0x60;
const BAUD_REG: u64 = 0x68;

/// AUX_ENABLES: it has registers.
const ENABLED: u32 = 1;
/// AUX_MU_IER: a character is there, or is lost. As Linux has it (`8250_port.c`): bit 2, which the manual leaves out, is needed on silicon.
const RECEIVE: u32 = 0b101;
/// AUX_MU_IER: the transmit FIFO is empty.
const TRANSMIT: u32 = 0b010;
/// AUX_MU_IIR, written: both FIFOs are cleared.
const CLEAR: u32 = 0b110;
/// AUX_MU_LCR: eight bits. Both bits of it: with the manual's one alone it sends seven.
const EIGHT_BITS: u32 = 0b11;
/// AUX_MU_LSR: a character is there.
const HAS_DATA: u32 = 1;
/// AUX_MU_LSR: there is room.
const HAS_ROOM: u32 = 1 << 5;
/// AUX_MU_LSR: nothing is on its way.
const IS_IDLE: u32 = 1 << 6;
/// AUX_MU_CNTL: transmitter and receiver.
const ON: u32 = 0b11;
/// The core clock, which config.txt fixes.
const CLOCK_HZ: u32 = 500_000_000;

/// A mini UART.
pub(super) struct Mini(Registers<RegisterPage>);

impl Mini {
    /// Returns the UART, ready to send; `None` if `device` is less than its page.
    pub(super) fn new(device: Device) -> Option<Self> {
        let mini = Self(device.shared()?);
        mini.set(ENABLES, mini.get(ENABLES) | ENABLED); // the SPIs stay as they are
        wait_while(|| mini.is_busy()); // what was written so far is sent before the line is set
        for (register, value) in [
            (CNTL, 0),
            (IER, 0),
            (LCR, EIGHT_BITS),
            (MCR, 0),
            (IIR, CLEAR),
            (BAUD_REG, CLOCK_HZ / (8 * BAUD) - 1),
            (CNTL, ON),
        ] {
            mini.set(register, value);
        }
        Some(mini)
    }

    #[inline(always)]
    fn get(&self, register: u64) -> u32 {
        self.0.word(register).map_or(0, Readable::get)
    }

    #[inline(always)]
    fn set(&self, register: u64, value: u32) {
        if let Some(word) = self.0.word(register) {
            word.set(value);
        }
    }
}

impl Driver for Mini {
    fn is_full(&self) -> bool {
        self.get(LSR) & HAS_ROOM == 0
    }

    fn is_busy(&self) -> bool {
        self.get(LSR) & IS_IDLE == 0
    }

    fn write(&mut self, byte: u8) {
        self.set(IO, byte.into());
    }

    fn ask(&mut self, is_sending: bool) {
        self.set(IER, if is_sending { RECEIVE | TRANSMIT } else { RECEIVE });
    }

    fn acknowledge(&mut self) {}

    fn read(&mut self) -> Option<Option<u8>> {
        let [byte, ..] = (self.get(LSR) & HAS_DATA != 0).then(|| self.get(IO))?.to_le_bytes();
        Some(Some(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::mmio::{peek, poke};

    fn mini() -> (Mini, usize) {
        let device = Device::simulated_with(0x1000, &[(0x04, 6), (0x54, IS_IDLE | HAS_ROOM), (0x44, 7)]);
        let base = device.address();
        (Mini::new(device).unwrap(), base)
    }

    #[test]
    fn its_line_is_set_and_the_spis_beside_it_are_left() {
        let (_, base) = mini();
        let registers = [0x04, 0x44, 0x48, 0x4c, 0x60, 0x68].map(|register| peek(base + register));
        assert_eq!(registers, [7, 0, 6, 3, 3, 541]);
    }

    #[test]
    fn it_asks_for_more_only_while_bytes_wait() {
        let (mut mini, base) = mini();
        mini.ask(true);
        assert_eq!(peek(base + 0x44), 7);
        mini.ask(false);
        assert_eq!(peek(base + 0x44), 5);
    }

    #[test]
    fn what_it_says_of_itself_is_what_its_line_status_says() {
        let (mut mini, base) = mini();
        poke(base + 0x40, 0xffff_ff41);
        assert_eq!((mini.is_full(), mini.is_busy(), mini.read()), (false, false, None));
        poke(base + 0x54, HAS_DATA);
        assert_eq!((mini.is_full(), mini.is_busy(), mini.read()), (true, true, Some(Some(0x41))));
        mini.write(0x42);
        assert_eq!(peek(base + 0x40), 0x42);
    }

    #[test]
    fn less_than_its_page_is_none() {
        assert!(Mini::new(Device::simulated(0x68)).is_none());
    }
}
