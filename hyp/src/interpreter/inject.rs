//! Injection: makes a guest take an exception, as the processor would have (DDI 0487, "AArch64.TakeException").

use crate::arch::frame::Place;
use crate::arch::guest;

/// ESR_ELx of an undefined instruction: class 0, 32-bit instruction.
pub const SYNDROME_UNDEFINED: u64 = 1 << 25;
/// PSTATE on entry to EL1: EL1h, everything masked.
const PSTATE_ENTRY: u64 = 0x3c5;

/// Makes the guest that is at `at`, and whose EL1 state is in the registers, take a synchronous exception there.
///
/// `far` is written only when the exception has an address. Returns where the guest goes on: at its vector.
pub fn synchronous(at: Place, syndrome: u64, far: Option<u64>) -> Place {
    let base = guest::take_exception(syndrome, far, at.pc, at.pstate);
    Place { pc: base.wrapping_add(offset(at.pstate)), pstate: PSTATE_ENTRY }
}

/// Returns the offset of the synchronous vector for a guest that ran with `pstate`: EL1 with SP_EL0, EL1 with SP_EL1, EL0.
const fn offset(pstate: u64) -> u64 {
    match pstate & 0xf {
        0b0100 => 0x000,
        0b0101 => 0x200,
        _ => 0x400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::el1::El1;

    #[test]
    fn the_vector_depends_on_level_and_stack_and_the_rest_is_saved_exactly() {
        for (mode, expected) in [(0x4, 0x8000), (0x5, 0x8200), (0x0, 0x8400)] {
            guest::load(&El1 { vbar: 0x8000, ..El1::RESET });
            let pstate = 0x6000_0000 | mode;
            let at = Place { pc: 0x1234, pstate };
            assert_eq!(synchronous(at, 77, Some(0x99)), Place { pc: expected, pstate: 0x3c5 });
            let mut el1 = El1::RESET;
            guest::save(&mut el1);
            assert_eq!((el1.esr, el1.far, el1.elr, el1.spsr), (77, 0x99, 0x1234, pstate));
        }
    }
}
