//! Upcalls: events as a virtual interrupt, handled between two instructions of the program.
//!
//! `dispatch` is called by `arch/trap.rs` with the line masked, on the exception stack. It never blocks.

use strato_abi::event::DeliveryMode;

use crate::arch::Hook;
use crate::conduit::Conduit;
use crate::error::Result;
use crate::event;
use crate::event_area::EventCells;

static HANDLER: Hook<fn(u16)> = Hook::new();

/// Sets what is called for each event, with the index of its port; one handler serves all vCPUs.
pub fn set_handler(handler: fn(u16)) {
    HANDLER.set(handler);
}

/// Lets events of the calling vCPU arrive as upcalls from now on.
///
/// # Errors
/// None but a forbidden EVT.MODE.
pub fn enable() -> Result<()> {
    event::mode(crate::vcpu::current() as u64, DeliveryMode::Upcall)?;
    crate::arch::unmask_interrupts();
    Ok(())
}

/// Goes back to polling: no upcall of the calling vCPU after it returns.
///
/// # Errors
/// None but a forbidden EVT.MODE.
pub fn disable() -> Result<()> {
    crate::arch::mask_interrupts();
    event::mode(crate::vcpu::current() as u64, DeliveryMode::Poll)
}

/// Returns what `body` returns; no upcall interrupts it on this vCPU.
pub fn without<T>(body: impl FnOnce() -> T) -> T {
    let before = crate::arch::mask_interrupts();
    let result = body();
    crate::arch::restore_interrupts(before);
    result
}

/// Takes all events of the calling vCPU and hands them to the handler. Without one they stay pending.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only an interrupt calls it"))]
pub(crate) fn dispatch() {
    let cells = EventCells::of_this_vcpu();
    let local = crate::timer::local_handler();
    if let Some(handler) = HANDLER.get() {
        take_all(&crate::Hvc, cells, |port| match local {
            Some((own, expired)) if own == port => expired(),
            _ => handler(port),
        });
        return;
    }
    // The line must go down or the program never runs on.
    let _ = event::ack();
    if let Some((port, expired)) = local
        && cells.take(port)
    {
        expired();
    }
}

/// Lowers the line and hands every event taken to `each`.
fn take_all<C: Conduit + ?Sized>(conduit: &C, cells: &EventCells, each: impl FnMut(u16)) {
    // Refused only when the manifest forbids EVT.ACK; the selector is then still in the area.
    let selector = event::via::ack(conduit).unwrap_or_else(|_| cells.take_selector());
    cells.drain(selector, each);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use strato_abi::Call;
    use strato_abi::call::EvtAckReply;

    use super::*;
    use crate::Recorder;

    #[test]
    fn an_upcall_acknowledges_once_and_hands_over_every_event_of_the_selector() {
        let cells = EventCells::new();
        for port in [3, 70] {
            cells.raise(port);
        }
        let recorder = Recorder::new().answer(EvtAckReply { selector: cells.take_selector() });
        let mut ports = Vec::new();
        take_all(&recorder, &cells, |port| ports.push(port));
        assert_eq!(ports, [3, 70]);
        assert_eq!(recorder.calls(), [(Call::EvtAck.function_id(), [0; 15])]);
    }

    #[test]
    fn an_upcall_whose_ack_is_refused_still_takes_the_events() {
        let cells = EventCells::new();
        cells.raise(9);
        let mut ports = Vec::new();
        take_all(&Recorder::new(), &cells, |port| ports.push(port));
        assert_eq!(ports, [9]);
    }
}
