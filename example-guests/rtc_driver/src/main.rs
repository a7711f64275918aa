//! Drives a PL031 real-time clock: sets alarms, sleeps, and is woken by the interrupt as by any event.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::{Code, Ipa};
use strato_guest::{Failure, Info, Irq, Mmio, Needs, ensure, ensure_equal, println};

strato_guest::entry!(rtc_driver, Needs::new().device("rtc").irq("rtc").port("rtc"));

/// Where the registers are mapped: any address that is free.
const PLACE: u64 = 0x3000_0000;
// PL031 registers (Arm DDI 0224, "Programmer's model").
const SECONDS: u64 = 0x00;
const MATCH: u64 = 0x04;
const INTERRUPT_ON: u64 = 0x10;
const IS_MASKED_IN: u64 = 0x18;
const CLEAR: u64 = 0x1c;

fn rtc_driver(info: &'static Info) -> Result<(), Failure> {
    let clock = Mmio::map(info.device("rtc")?, Ipa::new(PLACE).ok_or("the place is no address")?)?;
    // The registers are as whoever drove it before left them, be it a life of this VM: quiet first, then the interrupt.
    clock.write(INTERRUPT_ON, 0);
    clock.write(CLEAR, 1);
    let alarm = Irq::bind(info.irq("rtc")?, info.port("rtc")?)?;
    println!("the clock has 1970 behind it: {}", clock.read(SECONDS) > 0);
    clock.write(INTERRUPT_ON, 1);
    // For the system `rtc_driver_restarts`: so many lives end while the interrupt is active and its line is up.
    let crashes: u32 = info.option("crashes").and_then(|count| count.parse().ok()).unwrap_or(0);
    if info.header().boot_count <= crashes {
        clock.write(MATCH, clock.read(SECONDS) + 1);
        alarm.wait()?;
        println!("life {}: it crashes with its alarm up", info.header().boot_count);
        strato_guest::core::crash(1, 0, 0, 0);
    }

    for seconds in 1..=2 {
        let due = clock.read(SECONDS) + 1;
        clock.write(MATCH, due);
        alarm.wait()?;
        ensure(clock.read(SECONDS) >= due, "the alarm came too early")?;
        ensure_equal("what the clock says of its alarm", clock.read(IS_MASKED_IN).into(), 1)?;
        // First the device, whose line falls, then the interrupt, which may come again.
        clock.write(CLEAR, 1);
        alarm.done()?;
        println!("alarm {seconds}: it came when it was due");
    }

    // Nothing has come since: there is nothing to be done with.
    let refusal = alarm.done().err().ok_or("the clock was served without an alarm")?;
    ensure(refusal.code() == Code::State, "another refusal than STATE")?;
    println!("no alarm: {refusal}");

    // Both go back here: the interrupt is masked, the registers are unmapped.
    drop(alarm);
    clock.write(INTERRUPT_ON, 0);
    drop(clock);
    println!("rtc_driver: ok");
    Ok(())
}
