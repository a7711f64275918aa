//! From `start.S` into Rust: the first vCPU into the guest's entry function, the others into theirs.

use ::core::arch::global_asm;
use ::core::mem::offset_of;

use super::stack::Record;
use crate::Info;

global_asm!(
    include_str!("start.S"),
    first = sym first,
    further = sym further,
    record_stack_top = const offset_of!(Record, stack_top),
);

const _: () = assert!(offset_of!(Record, exception_top) == offset_of!(Record, stack_top) + 8);

unsafe extern "C" {
    fn arch_vcpu_entry();
}

unsafe extern "Rust" {
    /// Defined by [`entry!`](crate::entry!).
    safe fn strato_guest_main(info: &'static Info);
}

/// Runs the function that [`entry!`](crate::entry!) names, and returns when it succeeded.
pub(crate) fn run_main(info: &'static Info) {
    strato_guest_main(info);
}

/// Returns the address where further vCPUs enter.
pub(crate) fn vcpu_entry() -> usize {
    (arch_vcpu_entry as *const ()).addr()
}

extern "C" fn first(_info: u64, version: u64, _vcpu: u64) -> ! {
    crate::entry::begin(version)
}

extern "C" fn further(record: &'static Record) -> ! {
    super::own_stack::remember(record.stack_top);
    (record.function)(record.argument);
    crate::entry::end_vcpu()
}
