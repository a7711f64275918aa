//! The LED of a Raspberry Pi 4, by what QEMU's trace of register writes says of the pins. Called by `commands::boot` for systems whose
//! hypervisor is to blink a code.

use std::path::Path;
use std::process::Command;

/// Has `command` write each write of a register to `log`: some hundred lines for a boot, and more than can be kept of a long run.
pub fn trace(command: &mut Command, log: &Path) {
    command.args(["-d", "trace:memory_region_ops_write", "-D"]).arg(log);
}

/// Returns each time that the LED was turned on (`true`) or off by the trace in `log`: a write of pin 42 to GPSET1 or GPCLR1 ("BCM2711 ARM
/// Peripherals", General Purpose I/O).
#[must_use]
pub fn turned(log: &str) -> Vec<bool> {
    const PIN: u32 = 1 << (42 - 32);
    let turned = |line: &str| {
        let (_, rest) = line.split_once(" addr 0x")?;
        let (address, rest) = rest.split_once(" value 0x")?;
        let value = u32::from_str_radix(rest.split_once(' ')?.0, 16).ok()?;
        let is_on = match address {
            "fe200020" => true,
            "fe20002c" => false,
            _ => return None,
        };
        (value & PIN != 0).then_some(is_on)
    };
    log.lines().filter_map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_the_pin_of_the_led_is_told_from_all_else() {
        let log = ["fe200020 value 0x400", "fe201000 value 0x400", "fe20002c value 0x800", "fe20002c value 0xc00"].map(
            |write| format!("memory_region_ops_write cpu 0 mr 0x55d0 addr 0x{write} size 4 name 'bcm2838_gpio'\n"),
        );
        assert_eq!(turned(&log.concat()), [true, false]);
        assert_eq!(turned("memory_region_ops_write cpu"), [false; 0]);
    }
}
