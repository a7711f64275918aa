//! What an event of one's own takes: sent, taken as an upcall, acknowledged, and back at the instruction behind the call that sent it.

use strato_guest::{Failure, event, time, upcall, vcpu};

use crate::clock::Clock;
use crate::{arch, figure};

/// Measures it.
pub(crate) fn run(clock: impl Clock) -> Result<(), Failure> {
    let port = event::own_port()?;
    arch::take_upcalls();
    upcall::enable()?;
    // Until the console has sent what was printed, whose interrupts would be counted too.
    vcpu::wait(time::deadline_in(50_000))?;
    figure(clock, "event_send_to_handler_self", |_| event::send(port))?;
    upcall::disable()?;
    Ok(event::close(port)?)
}
