//! RT: a device whose interrupt comes again as soon as it may, on the core of a VM with a share of its time, which counts what it is
//! interrupted by.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::vcpu_area::VcpuRecord;
use strato_guest::abi::{Call, IrqHandle};
use strato_guest::{Failure, Info, Mmio, event, println, time, vcpu, vcpu_area};

use crate::crew::STACKS;
use crate::irqs::{INTERRUPT_ON, PLACE, raise};
use crate::raw::call;
use crate::scratch::{Scratch, ipa};
use crate::storms::is_over;
use crate::victim::tell;

/// Microseconds of a period of the share, and how much of them it has, as the system files say.
const PERIOD_US: u64 = 8000;
const BUDGET_US: u64 = 3000;
/// Budgets that it looks on for.
const BUDGETS: u64 = 50;
/// Interrupts in a period that are its own, or make somebody ready: the ends of its slice, its budget and its period, letters, the console.
const OWN: u64 = 8;

static IRQ: AtomicU64 = AtomicU64::new(0);
static PORT: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// Says from another core that the device was served, which it never was: the interrupt comes again at once, where the port is bound.
fn storm(_: usize) {
    let (irq, port) = (IRQ.load(Ordering::Acquire), PORT.load(Ordering::Acquire));
    let mut refusals = 0;
    while !IS_OVER.load(Ordering::Acquire) {
        if call(Call::EvtIrqDone, &[irq]).0 == 0 {
            DONE.fetch_add(1, Ordering::AcqRel);
            refusals = 0;
        } else {
            refusals += 1;
            if refusals == 1000 {
                call(Call::EvtBindIrq, &[irq, port, 0]); // it is masked by now, since it never falls
                refusals = 0;
            }
        }
    }
    HAS_ENDED.store(true, Ordering::Release);
}

/// Has the clock interrupt the victim's core without end, until the victim has had its share.
pub(crate) fn rt10_interrupts_of_devices_take_no_reserved_time(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let clock = Mmio::map(info.device("rtc")?, ipa(PLACE)?)?;
    let (IrqHandle(irq), port) = (info.irq("rtc")?, info.port("rtc")?.0);
    IRQ.store(irq.bits().into(), Ordering::Release);
    PORT.store(port.bits().into(), Ordering::Release);
    raise(&clock);
    let [stack, ..] = &STACKS;
    vcpu::launch(1, stack, storm, 0)?;
    while DONE.load(Ordering::Acquire) < 100 {
        vcpu::wait(time::deadline_in(1000))?;
    }
    event::send(info.port("victim")?)?;
    while !is_over(info)? {
        vcpu::wait(time::deadline_in(1000))?;
    }
    IS_OVER.store(true, Ordering::Release);
    while !HAS_ENDED.load(Ordering::Acquire) {
        vcpu::wait(time::deadline_in(1000))?;
    }
    clock.write(INTERRUPT_ON, 0);
    Ok(())
}

/// Looks on while it has its share: nothing interrupts it but its own time, and what makes others ready.
pub(crate) fn keep(info: &'static Info) -> Result<(), Failure> {
    event::wait(info.port("a0")?)?; // the storm has begun
    let mut attacker = Some(info.port("a0")?);
    let record = || vcpu_area::record(0).ok_or("the record of this vCPU is never whole");
    let interrupts = |record: &VcpuRecord| record.exits[1];
    let ticks = |us: u64| time::counter_hz() / 1_000_000 * us;
    let (first, since) = (record()?, time::counter());
    let mut last = first;
    while last.running - first.running < ticks(BUDGET_US) * BUDGETS {
        last = record()?;
    }
    let periods = (time::counter() - since) / ticks(PERIOD_US) + 2;
    let found = interrupts(&last) - interrupts(&first);
    while attacker.is_some() {
        tell(&mut attacker)?;
        vcpu::wait(time::deadline_in(1000))?;
    }
    if found > periods * OWN {
        println!("{found} interrupts in {periods} periods");
        return Err("reserved time was taken by interrupts of others".into());
    }
    println!("reserved time is interrupted by what is its own");
    println!("hostile: ok");
    Ok(())
}
