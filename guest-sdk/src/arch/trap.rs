//! From `vectors.S` into Rust, and the registers of the interrupted program.

use ::core::arch::global_asm;

use strato_abi::Call;

use super::Frame;
use crate::exception::{self, REASON_NESTED, Resume};
use crate::fault::Fault;

global_asm!(
    include_str!("vectors.S"),
    sync = sym sync,
    line = sym line,
    error = sym error,
    fp = const cfg!(target_feature = "neon") as u32,
    nested = const REASON_NESTED,
    write_low = const Call::ConWrite.function_id() & 0xffff,
    write_high = const Call::ConWrite.function_id() >> 16,
    panic_low = const Call::CorePanic.function_id() & 0xffff,
    panic_high = const Call::CorePanic.function_id() >> 16,
);

const fn fault_of(frame: &Frame, syndrome: u64, address: u64) -> Fault {
    Fault { syndrome, address, pc: frame.pc, status: frame.status }
}

extern "C" fn sync(frame: &mut Frame, syndrome: u64, address: u64) {
    let fault = fault_of(frame, syndrome, address);
    match exception::synchronous(&fault, || super::word::recovery(frame.pc).is_some()) {
        Resume::Again => {}
        Resume::Behind => match super::word::recovery(frame.pc) {
            None => frame.pc = frame.pc.wrapping_add(4),
            Some(pc) => {
                let [value, far, at, ..] = &mut frame.x;
                (*value, *far, *at) = (syndrome, address, frame.pc);
                frame.pc = pc;
            }
        },
    }
}

extern "C" fn line() {
    crate::upcall::dispatch();
}

extern "C" fn error(frame: &Frame, syndrome: u64) -> ! {
    exception::system_error(&fault_of(frame, syndrome, 0))
}
