//! The other end of the round trips that `main.rs` measures, and the turn that both ends take.

use strato_guest::abi::PortHandle;
use strato_guest::event_area::EventCells;
use strato_guest::vcpu::{self, NO_DEADLINE};
use strato_guest::{Error, Failure, ensure, event};

/// Raises the other end and waits until it has raised this one.
#[inline(always)]
pub(crate) fn turn(port: PortHandle) -> Result<(), Error> {
    let cells = EventCells::of_this_vcpu();
    vcpu::signal_wait(port, NO_DEADLINE)?;
    while !cells.take(port.0.index()) {
        vcpu::wait(NO_DEADLINE)?;
    }
    Ok(())
}

/// Gives the core back whenever it comes here, and takes the event that came meanwhile, so that the next one is a first one
/// again; until an event of the other port says that this part is over.
pub(crate) fn take(other: PortHandle, quiet: PortHandle) -> Result<(), Failure> {
    let cells = EventCells::of_this_vcpu();
    let mut taken = 0;
    while !cells.take(other.0.index()) {
        taken += u64::from(cells.take(quiet.0.index()));
        vcpu::yield_now();
    }
    ensure(taken == crate::PASSES * crate::COUNT, "each event that is measured is a first one")?;
    Ok(())
}

/// Gives the core back whenever it comes here, until an event says that this part is over.
pub(crate) fn give_way(other: PortHandle) {
    let cells = EventCells::of_this_vcpu();
    while !cells.take(other.0.index()) {
        vcpu::yield_now();
    }
}

/// The same by two calls: EVT.SEND, then VCPU.WAIT.
#[inline(always)]
pub(crate) fn turn_by_two(port: PortHandle) -> Result<(), Error> {
    let cells = EventCells::of_this_vcpu();
    event::send(port)?;
    while !cells.take(port.0.index()) {
        vcpu::wait(NO_DEADLINE)?;
    }
    Ok(())
}

/// Plays the partner from the first figure to the last.
pub(crate) fn run(other: PortHandle, quiet: PortHandle) -> Result<(), Failure> {
    // First: wait, so that the other VM is alone on the core.
    event::send(other)?;
    event::wait(other)?;

    give_way(other);

    take(other, quiet)?;

    // At last: answer each event with one, by the calls of the other side. The first turn starts that, the last one is only
    // answered.
    for _ in 0..=crate::PASSES * crate::COUNT {
        turn_by_two(other)?;
    }
    for _ in 0..crate::PASSES * crate::COUNT {
        turn(other)?;
    }
    Ok(())
}
