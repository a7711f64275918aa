//! Toggles a pin by a timer. The page that the pin's registers are in is not mapped: others have pins there, and the hypervisor those of
//! the console. Each access is done for the guest, as far as the manifest allows it.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::time::Duration;

use strato_guest::abi::Ipa;
use strato_guest::time::Instant;
use strato_guest::{Failure, Info, Mmio, Timer, ensure_equal, println};

strato_guest::entry!(blink);

/// Where the registers are answered: any address that is free.
const PLACE: u64 = 0x3000_0000;
const PERIOD: Duration = Duration::from_millis(10);

/// A pin by the registers of its board.
enum Pin {
    /// Pin `.1` of a PL061 (Arm DDI 0190, GPIODATA and GPIODIR): the address of the data masks the other pins out.
    Pl061(Mmio<'static>, u32),
    /// Pin 20 + `.1` of a BCM2711 ("BCM2711 ARM Peripherals", GPFSEL2, GPSET0, GPCLR0 and GPLEV0).
    Bcm2711(Mmio<'static>, u32),
}

impl Pin {
    /// Returns pin `n` of the board, as an output.
    fn output(info: &Info, n: u32) -> Result<Self, Failure> {
        let place = Ipa::new(PLACE).ok_or("the place is no address")?;
        if let Ok(registers) = info.device("pl061") {
            let gpio = Mmio::map(registers, place)?;
            gpio.write(0x400, 1 << n);
            return Ok(Self::Pl061(gpio, n));
        }
        let gpio = Mmio::map(info.device("bcm2711")?, place)?;
        gpio.write(0x08, 1 << (3 * n));
        Ok(Self::Bcm2711(gpio, n))
    }

    fn set(&self, is_on: bool) {
        match self {
            Self::Pl061(gpio, n) => gpio.write(4 << n, u32::from(is_on) << n),
            Self::Bcm2711(gpio, n) => gpio.write(if is_on { 0x1c } else { 0x28 }, 1 << (20 + n)),
        }
    }

    fn is_on(&self) -> bool {
        match self {
            Self::Pl061(gpio, n) => gpio.read(4 << n) != 0,
            Self::Bcm2711(gpio, n) => gpio.read(0x34) >> (20 + n) & 1 != 0,
        }
    }
}

fn blink(info: &'static Info) -> Result<(), Failure> {
    let is_curious = info.command_line().contains("curious");
    let pin = Pin::output(info, if is_curious { 2 } else { 1 })?;
    let timer = Timer::new()?;
    timer.periodic(Instant::now().after(PERIOD), PERIOD)?;
    for round in 1..=4 {
        timer.wait()?;
        let is_on = round % 2 != 0;
        pin.set(is_on);
        ensure_equal("the level of the pin", pin.is_on().into(), is_on.into())?;
        println!("{}", if is_on { "on" } else { "off" });
    }
    if is_curious {
        // The pin of the other guest: the hypervisor ends this one.
        println!("what is there beside my pin?");
        match &pin {
            Pin::Pl061(gpio, _) => gpio.write(4 << 1, 0),
            Pin::Bcm2711(gpio, _) => gpio.write(0x04, 0),
        }
        return Err("it wrote to the pin of another VM".into());
    }
    println!("blink: ok");
    Ok(())
}
