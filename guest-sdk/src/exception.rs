//! What happens on an exception that the program caused: ask its handler, else report the crash and end the VM.
//!
//! Called by `arch/trap.rs`, on the exception stack.

use crate::fault::{self, Action, Fault};
use crate::println;

/// CORE.PANIC reason: a Rust panic.
pub const REASON_PANIC: u64 = 1;
/// CORE.PANIC reason: an exception that nobody handled.
pub const REASON_EXCEPTION: u64 = 2;
/// CORE.PANIC reason: an exception inside a handler.
pub const REASON_NESTED: u64 = 3;
/// CORE.PANIC reason: a call that must not be refused was.
pub const REASON_REFUSED: u64 = 4;
/// CORE.PANIC reason: the hypervisor's info page or ABI version is not one that this library knows.
pub const REASON_VERSION: u64 = 5;

/// Where the program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// At the same instruction.
    Again,
    /// Behind it.
    Behind,
}

/// Returns where the program goes on after a synchronous exception; `is_ready` tells whether its code is ready for a fault.
#[inline]
pub(crate) fn synchronous(fault: &Fault, is_ready: impl FnOnce() -> bool) -> Resume {
    match fault::ask(fault) {
        Some(Action::Retry) => Resume::Again,
        Some(Action::Skip) => Resume::Behind,
        None if fault.is_abort() && is_ready() => Resume::Behind,
        Some(Action::Panic) | None => die(fault),
    }
}

/// Reports a system error and ends the VM.
pub(crate) fn system_error(fault: &Fault) -> ! {
    die(fault)
}

#[cold]
#[inline(never)]
fn die(fault: &Fault) -> ! {
    let cause = if fault.is_stack_overflow() { " (stack overflow)" } else { "" };
    println!("crash: {fault}{cause}");
    println!("crash: pc {:#x}, esr {:#x}, spsr {:#x}", fault.pc, fault.syndrome, fault.status);
    crate::core::crash(REASON_EXCEPTION, fault.pc, fault.syndrome, fault.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_ready_for_a_fault_goes_on_behind_it() {
        let fault = Fault { syndrome: 0x9600_0007, address: 0, pc: 0, status: 0 };
        assert_eq!(synchronous(&fault, || true), Resume::Behind);
    }
}
