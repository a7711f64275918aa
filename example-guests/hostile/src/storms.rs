//! DS: storms. As many exits as a guest can make, of each kind; its neighbors keep their share.

use strato_guest::abi::Call;
use strato_guest::{Failure, Info, ensure_equal, event, vcpu};

use crate::raw::{junk, prepare, trap};
use crate::scratch::{Scratch, retry, seen};
use crate::words::{LOAD_X0, WFI, mrs, register};

/// Whether the victim's event has come: its bit in the event area, looked at without a call.
pub(crate) fn is_over(info: &Info) -> Result<bool, Failure> {
    let cells = strato_guest::event_area::EventCells::of_this_vcpu();
    Ok(cells.is_pending(info.port("victim")?.0.index()))
}

/// Calls without end, until the victim, which shares the core, says that it has had its share.
pub(crate) fn ds04_endless_calls_leave_the_others_their_share(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    prepare(scratch)?;
    while !is_over(info)? {
        for _ in 0..256 {
            let mut registers = junk(u64::from(Call::CoreNop.function_id()));
            ensure_equal("a NOP", trap(&mut registers)?.cast_unsigned(), 0)?;
        }
    }
    Ok(())
}

/// Storms of undefined instructions, refused accesses, WFI and sends, one after the other and mixed.
pub(crate) fn ds07_storms_leave_the_others_their_share(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let port = info.port("victim")?;
    let undefined = mrs(register(3, 3, 14, 0, 1));
    let words = [undefined, LOAD_X0, 0xd503_3f9f, undefined, LOAD_X0];
    scratch.write(words.into_iter())?;
    for _ in 0..1500 {
        let mut registers = [8; 30];
        ensure_equal("exceptions of a storm", Scratch::run(&mut registers).count, 4)?;
        event::send(port)?;
    }
    event::wait(port)?;
    for _ in 0..20 {
        event::wait(port)?;
        event::send(port)?;
        // The line is up or comes with the next beat; WFI takes nothing.
        scratch.execute(WFI, &mut [0; 30])?;
    }
    Ok(())
}

/// An access whose handler never repairs anything: it faults for ever, and is preempted for ever.
pub(crate) fn ds14_a_fault_loop_is_confined_to_its_slices(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    while !is_over(info)? {
        retry(2000);
        let mut registers = [16; 30];
        scratch.execute(LOAD_X0, &mut registers)?;
        ensure_equal("faults of a loop", seen().count, 2001)?;
    }
    vcpu::yield_now();
    Ok(())
}
