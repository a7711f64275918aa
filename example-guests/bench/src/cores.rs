//! What an event takes to a vCPU that sleeps on another core: from the sender's EVT.SEND to the receiver's first instruction.
//!
//! With an instruction counter the emulator runs the cores by turns, on one clock: it goes on to the next core where one sleeps, and where a
//! timer is due. So the sender sets a timer of its own, masked, that nobody but the emulator notices, and has it be due one instruction later
//! each time. Where that is right behind the interrupt to the other core, the sender stands still from there to the receiver's first instruction,
//! as on a machine whose cores run at once it does not matter what it does. That is the least of all times, and the figure: nothing is taken
//! off. The most is where the timer was due earlier: all that the sender does until its own core sleeps is counted too.

use strato_guest::abi::PortHandle;
use strato_guest::event_area::EventCells;
use strato_guest::{Failure, Info, ensure, event, println, time, vcpu, vcpu_area};

use crate::{PASSES, arch, shares};

/// Instructions from the setting of the timer to the last time at which it is due: more than the sender takes to the interrupt.
const AHEAD: u64 = 600;

/// Returns `counter`, as this VM reads it, on the one clock of the machine, in nanoseconds; a tick must be one.
fn on_one_clock(counter: u64) -> Result<u64, Failure> {
    let record = vcpu_area::record(0).ok_or("there is a vCPU 0")?;
    ensure(record.wall_base != 0, "the machine has a clock")?;
    ensure(time::counter_hz() == 1_000_000_000, "a tick is a nanosecond")?;
    Ok(record.wall_base.wrapping_add(counter.wrapping_sub(record.wall_counter)))
}

/// Measures, on a core of its own.
pub(crate) fn sender(info: &Info, other: PortHandle) -> Result<(), Failure> {
    let board = shares::keys(info)?;
    let (mut least, mut most) = (u64::MAX, 0);
    for _ in 0..PASSES {
        (least, most) = (u64::MAX, 0);
        for ahead in 1..=AHEAD {
            event::wait(other)?;
            // Until the other core sleeps.
            vcpu::wait(time::deadline_in(20))?;
            arch::set_masked_timer(ahead);
            let start = arch::send(other);
            arch::wait();
            arch::stop_timer();
            let ticks = board.load(0)?.wrapping_sub(on_one_clock(start)?);
            (least, most) = (least.min(ticks), most.max(ticks));
        }
    }
    println!("bench event_to_idle_core {least}");
    println!("{most} with all that the sender does until its own core sleeps");
    Ok(())
}

/// Says when it went on, on another core.
pub(crate) fn receiver(info: &Info, other: PortHandle) -> Result<(), Failure> {
    let board = shares::keys(info)?;
    let cells = EventCells::of_this_vcpu();
    for _ in 0..PASSES * AHEAD {
        event::send(other)?;
        let now = arch::wait();
        ensure(cells.take(other.0.index()), "what ends the wait is the event")?;
        board.store(0, on_one_clock(now)?)?;
    }
    Ok(event::send(other)?)
}
