//! The machine: instructions at an address of the caller's choice, registers that Rust cannot name.

use ::core::arch::{asm, global_asm};
use ::core::cell::UnsafeCell;
use ::core::ops::Range;

use strato_guest::abi::Call;

use super::{First, Registers, SystemRegisters, Vectors};

global_asm!(
    include_str!("probe.S"),
    include_str!("first.S"),
    stop_low = const Call::VcpuStop.function_id() & 0xffff,
    stop_high = const Call::VcpuStop.function_id() >> 16,
);

unsafe extern "C" {
    fn arch_run(code: u64, registers: *mut Registers);
    fn arch_spin();
    fn arch_spin_on();
    fn arch_system_registers(values: *mut SystemRegisters, spins: u64);
    fn arch_vectors_spin(values: *mut Vectors, spins: u64);
    fn arch_first();
    static __image_start: u8;
    static __image_end: u8;
}

/// Runs the code at `code` with x0 to x29 = `registers`, and leaves there what it made of them.
pub(crate) fn run(code: u64, registers: &mut Registers) {
    // SAFETY: `arch_run` keeps what the C calling convention keeps. What the code does is the case's choice: it writes no
    // memory of this program (`Scratch` has nothing of it), or the VM ends.
    unsafe { arch_run(code, registers) };
}

/// Counts x0 down to zero with the other registers as they are.
pub(crate) fn spin(registers: &mut Registers) {
    run((arch_spin as *const ()).addr() as u64, registers);
}

/// Loads the word at `address` again and again until it is not zero, with no call in between.
pub(crate) fn spin_on(address: u64) {
    let mut registers = [0; 30];
    if let Some(first) = registers.first_mut() {
        *first = address;
    }
    run((arch_spin_on as *const ()).addr() as u64, &mut registers);
}

/// Writes the registers, spins, and reads them back; none of them is of use to the program meanwhile.
pub(crate) fn system_registers(values: &mut SystemRegisters, spins: u64) {
    // SAFETY: none of the registers matters to compiled code; TPIDR_EL1 is put back. Exceptions cannot come between: the
    // line is masked, and the code causes none.
    unsafe { arch_system_registers(values, spins) };
}

/// Loads V0 to V31, spins, and stores them.
pub(crate) fn vectors(values: &mut Vectors, spins: u64) {
    // SAFETY: the routine keeps D8 to D15; a C call clobbers the other FP registers.
    unsafe { arch_vectors_spin(values, spins) };
}

/// Makes instructions written as data visible to instruction fetch.
pub(crate) fn synchronize_code(start: u64, bytes: u64) {
    // Four words: the least line size that CTR_EL0 can report.
    for address in (start..start.saturating_add(bytes)).step_by(16) {
        // SAFETY: cache maintenance of a mapped address changes no value.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier: the data is at the point of unification before the instruction cache forgets.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for address in (start..start.saturating_add(bytes)).step_by(16) {
        // SAFETY: as above.
        unsafe { asm!("ic ivau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers: what follows is fetched anew.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Returns the addresses of this program.
pub(crate) fn image() -> Range<u64> {
    (&raw const __image_start).addr() as u64..(&raw const __image_end).addr() as u64
}

struct Record(UnsafeCell<First>);

// SAFETY: written by the one vCPU that case LK01 starts, read when it is off.
unsafe impl Sync for Record {}

/// Every word is wrong until the vCPU writes it.
const WRONG: u64 = 0x5a5a_5a5a_5a5a_5a5a;
static RECORD: Record = Record(UnsafeCell::new(First {
    x: [WRONG; 31],
    sp: [WRONG; 2],
    pstate: [WRONG; 4],
    control: [WRONG; 4],
    zeros: [WRONG; 11],
    vectors: [WRONG; 66],
}));

/// Returns where the vCPU of case LK01 enters and its x0.
pub(crate) fn first() -> (u64, u64) {
    ((arch_first as *const ()).addr() as u64, RECORD.0.get().addr() as u64)
}

/// Returns what that vCPU had at its first instruction. It must be off.
pub(crate) fn first_state() -> First {
    // SAFETY: the vCPU is off, so nobody writes; volatile, because the compiler has seen no writer at all.
    unsafe { RECORD.0.get().read_volatile() }
}
