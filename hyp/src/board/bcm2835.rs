//! BCM2835: the pins of a Raspberry Pi, as far as the console needs them.

use tock_registers::interfaces::ReadWriteable;

use crate::arch::mmio::Registers;
use crate::arch::pins::{GPFSEL1, PULL0, Pins};

/// Routes pins 14 and 15 to the PL011, which the firmware leaves with the Bluetooth chip. An input that nobody drives reads as idle.
pub fn route_console(pins: &Registers<Pins>) {
    pins.function1.modify(GPFSEL1::FSEL14::Alt0 + GPFSEL1::FSEL15::Alt0);
    pins.pull0.modify(PULL0::PIN14::None + PULL0::PIN15::Up);
}
