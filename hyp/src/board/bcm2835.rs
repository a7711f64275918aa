//! BCM2835: the pins of a Raspberry Pi, as far as the console needs them.

use tock_registers::interfaces::{Readable, Writeable};

use crate::arch::mmio::{RegisterPage, Registers};
use crate::arch::pins::{FUNCTION1, GPFSEL1, PULL, PULL0};

/// Routes pins 14 and 15 to the PL011, which the firmware leaves with the Bluetooth chip, or to the mini UART. An input that nobody
/// drives reads as idle.
pub fn route_console(pins: &Registers<RegisterPage>, is_mini_uart: bool) {
    if let Some((function, pull)) = pins.word(FUNCTION1).zip(pins.word(PULL)) {
        let route = match is_mini_uart {
            false => GPFSEL1::FSEL14::Alt0 + GPFSEL1::FSEL15::Alt0,
            true => GPFSEL1::FSEL14::Alt5 + GPFSEL1::FSEL15::Alt5,
        };
        function.set(route.modify(function.get()));
        pull.set((PULL0::PIN14::None + PULL0::PIN15::Up).modify(pull.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::mmio::{Device, peek};

    #[test]
    fn the_consoles_pins_are_routed_and_no_others() {
        for (is_mini_uart, function) in [(false, 0xfffe_4fff), (true, 0xfffd_2fff)] {
            let device = Device::simulated_with(0x1000, &[(0x04, u32::MAX), (0xe4, u32::MAX)]);
            let base = device.address();
            route_console(&device.shared().unwrap(), is_mini_uart);
            assert_eq!((peek(base + 0x04), peek(base + 0xe4)), (function, 0x4fff_ffff));
        }
    }
}
