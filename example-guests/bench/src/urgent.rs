//! Taking the core by a deadline, from one that computes.

use strato_guest::abi::PortHandle;
use strato_guest::event_area::EventCells;
use strato_guest::{Failure, event, time, vcpu};

/// Ticks from a wait to its deadline: long enough that the other one is back at its loop.
const AHEAD: u64 = 20_000;

/// Measures from a deadline to the first instruction behind the wait for it, once the other end says so, and answers.
pub(crate) fn run(other: PortHandle) -> Result<(), Failure> {
    event::wait(other)?;
    let mut late = 0;
    for _ in 0..crate::PASSES {
        late = 0;
        for _ in 0..crate::COUNT {
            let deadline = time::counter() + AHEAD;
            vcpu::wait(deadline)?;
            late += time::counter() - deadline;
        }
    }
    crate::report(crate::clock::Ticks, "preempt_to_first_instruction", late);
    event::send(other)?;
    Ok(())
}

/// Lets the other end, of a higher priority, begin, and computes until it answers.
pub(crate) fn be_preempted(urgent: PortHandle) -> Result<(), Failure> {
    let cells = EventCells::of_this_vcpu();
    event::send(urgent)?;
    while !cells.take(urgent.0.index()) {}
    Ok(())
}
