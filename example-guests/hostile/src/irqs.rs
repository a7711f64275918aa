//! DS, EV: a driver that misuses its device's interrupt: never serves it, says so when it has not come, binds what it does not own.

use strato_guest::abi::event::IrqFlags;
use strato_guest::abi::{Call, Code, IrqHandle, Reason};
use strato_guest::event::bind_irq;
use strato_guest::{Failure, Info, Irq, Mmio, ensure, ensure_equal};

use crate::raw::refused;
use crate::replies::{reply, tells};
use crate::scratch::{Scratch, ipa};

pub(crate) const PLACE: u64 = 0x3000_0000;
// Registers of a PL031.
const SECONDS: u64 = 0x00;
const MATCH: u64 = 0x04;
pub(crate) const INTERRUPT_ON: u64 = 0x10;
const IS_RAISED: u64 = 0x14;
const ROUNDS: u64 = 4096;

/// Raises the clock's line, which stays up.
pub(crate) fn raise(clock: &Mmio<'_>) {
    clock.write(INTERRUPT_ON, 1);
    // A second may pass between the two: then the alarm is far ahead, and is set again.
    while clock.read(IS_RAISED) == 0 {
        clock.write(MATCH, clock.read(SECONDS));
    }
}

/// Says without end that the device was served, which it never was: the interrupt comes each time, and is masked in the end.
/// The VM ends while it is active, with its line up.
pub(crate) fn ds13_a_line_that_never_falls_is_masked(info: &'static Info, _: &Scratch) -> Result<(), Failure> {
    let clock = Mmio::map(info.device("rtc")?, ipa(PLACE)?)?;
    raise(&clock);
    let irq = Irq::bind(info.irq("rtc")?, info.port("rtc")?)?;
    let mut rounds = 1;
    let refusal = loop {
        irq.wait()?;
        match irq.done() {
            Ok(()) => rounds += 1,
            Err(refusal) => break refusal,
        }
        ensure(rounds < 20 * ROUNDS, "a line that never falls is never masked")?;
    };
    ensure(rounds >= ROUNDS, "a line is masked too soon")?;
    ensure(refusal.code() == Code::State, "another refusal than STATE")?;
    ensure(refusal.error.detail.reason() == Some(Reason::LineStuck), "another reason than LineStuck")?;
    let again = irq.done().err().ok_or("a masked interrupt is done with")?;
    ensure(again.error.detail.reason() == Some(Reason::LineStuck), "it is forgotten that the line is stuck")?;
    // Bound again it comes again, since the line is still up.
    bind_irq(info.irq("rtc")?, irq.port(), IrqFlags::empty())?;
    irq.wait()?;
    ::core::mem::forget(irq);
    Ok(())
}

/// Handles that are no interrupts, ports that are none, and an interrupt that has not come.
pub(crate) fn ev02_interrupts_are_bound_by_their_owner_alone(info: &'static Info, _: &Scratch) -> Result<(), Failure> {
    let IrqHandle(irq) = info.irq("rtc")?;
    let (irq, port) = (u64::from(irq.bits()), u64::from(info.port("rtc")?.0.bits()));
    refused("IRQ_DONE before it was bound", Call::EvtIrqDone, &[irq], &[Code::State])?;
    bind_irq(info.irq("rtc")?, info.port("rtc")?, IrqFlags::empty())?;
    refused("IRQ_DONE before it came", Call::EvtIrqDone, &[irq], &[Code::State])?;
    for flags in [2, 1 << 63, u64::MAX] {
        refused("unknown flags", Call::EvtBindIrq, &[irq, port, flags], &[Code::Invalid])?;
    }
    let wrong = [Code::BadHandle, Code::Stale, Code::WrongKind];
    for guess in
        (0..2048_u64).map(|n| 1 << 16 | n).filter(|&guess| guess != irq).chain([0, irq ^ 1 << 16, u64::from(u32::MAX)])
    {
        refused("IRQ_DONE of a guess", Call::EvtIrqDone, &[guess], &wrong)?;
        refused("BIND_IRQ of a guess", Call::EvtBindIrq, &[guess, port, 0], &wrong)?;
    }
    refused("BIND_IRQ to no port", Call::EvtBindIrq, &[irq, irq, 0], &[Code::WrongKind])?;
    refused("BIND_IRQ to nothing", Call::EvtBindIrq, &[irq, 0, 0], &[Code::BadHandle])?;
    let device = u64::from(info.device("rtc")?.handle.0.bits());
    refused("executable registers", Call::AsMap, &[0, PLACE, device, 0, 1, 5], &[Code::Denied])?;
    refused("registers behind the last", Call::AsMap, &[0, PLACE, device, 0, 2, 3], &[Code::Overflow])?;
    let peer = u64::from(info.peer("victim")?.0.bits());
    refused("shared registers", Call::ShareOffer, &[peer, device, 0, 1, 1, 0], &[Code::WrongKind])?;
    refused("freed registers", Call::MemFree, &[device], &[Code::WrongKind])?;
    for _ in 0..64 {
        let clock = Mmio::map(info.device("rtc")?, ipa(PLACE)?)?;
        ensure_equal("the identity of a PL031", clock.read(0xfe0).into(), 0x31)?;
    }
    Ok(bind_irq(info.irq("rtc")?, info.port("rtc")?, IrqFlags::OFF)?)
}

/// LK02 of the two calls: the clock raises its interrupt, which is served and let go.
pub(crate) fn served(info: &Info) -> Result<(), Failure> {
    let clock = Mmio::map(info.device("rtc")?, ipa(PLACE)?)?;
    let (irq, port) = (u64::from(info.irq("rtc")?.0.bits()), u64::from(info.port("rtc")?.0.bits()));
    tells(Call::EvtBindIrq, &[irq, port, 0], &[])?;
    raise(&clock);
    // Refused until it has come.
    let mut tries = 0;
    while reply(Call::EvtIrqDone, &[irq])?.0 != 0 {
        tries += 1;
        ensure(tries < 100_000, "the clock's interrupt does not come")?;
    }
    clock.write(INTERRUPT_ON, 0);
    tells(Call::EvtBindIrq, &[irq, port, IrqFlags::OFF.bits()], &[])
}
