//! Calls as a hostile guest makes them: any number, any registers, nothing checked before. Called by the cases.

use strato_guest::abi::{Call, Code};
use strato_guest::{Conduit, Failure, Hvc, ensure, ensure_equal};

use crate::arch::Registers;
use crate::scratch::{Scratch, seen};
use crate::words::hvc;

/// A word that no register of the hypervisor and no result ever holds.
pub(crate) const JUNK: u64 = 0xa5a5_5a5a_c3c3_3c3c;

/// Returns x0 and x1 to x15 after the call with x1, x2, ... = `arguments`.
pub(crate) fn call(call: Call, arguments: &[u64]) -> (i64, [u64; 15]) {
    id(call.function_id(), arguments)
}

/// Returns x0 and x1 to x15 after HVC #0 with this function id.
pub(crate) fn id(id: u32, arguments: &[u64]) -> (i64, [u64; 15]) {
    let mut registers = [0; 15];
    for (register, &argument) in registers.iter_mut().zip(arguments) {
        *register = argument;
    }
    Hvc.call(id, registers)
}

/// Returns nothing if the call is refused with one of `codes`.
pub(crate) fn refused(what: &'static str, which: Call, arguments: &[u64], codes: &[Code]) -> Result<(), Failure> {
    let (status, _) = call(which, arguments);
    let Some(&first) = codes.first() else { return Ok(()) };
    if codes.iter().any(|&code| code as i64 == status) {
        return Ok(());
    }
    ensure_equal(what, status.cast_unsigned(), (first as i64).cast_unsigned())
}

/// Returns nothing if the call succeeds.
pub(crate) fn succeeds(what: &'static str, which: Call, arguments: &[u64]) -> Result<[u64; 15], Failure> {
    let (status, results) = call(which, arguments);
    ensure_equal(what, status.cast_unsigned(), 0).map(|()| results)
}

/// Returns x0 to x29 with x0 as given and [`JUNK`] and the register's number in the others.
pub(crate) fn junk(x0: u64) -> Registers {
    let mut registers = [0; 30];
    for (number, register) in (0_u64..).zip(&mut registers) {
        *register = if number == 0 { x0 } else { JUNK ^ number };
    }
    registers
}

/// Runs the HVC #0 in the code page with x0 to x29 = `registers` and checks that it took no exception and kept x18 to x29.
pub(crate) fn trap(registers: &mut Registers) -> Result<i64, Failure> {
    let before = *registers;
    let seen = Scratch::run(registers);
    ensure_equal("exceptions of an HVC", seen.count, 0)?;
    let kept = before.iter().zip(registers.iter()).skip(18).all(|(before, after)| before == after);
    ensure(kept, "a call changed one of x18 to x29")?;
    Ok(registers.first().map_or(0, |status| status.cast_signed()))
}

/// Puts HVC #0 into the code page.
pub(crate) fn prepare(scratch: &Scratch) -> Result<(), Failure> {
    scratch.write([hvc(0)].into_iter())
}

/// Returns whether x`from` to x17 are zero.
pub(crate) fn are_zero(registers: &Registers, from: usize) -> bool {
    registers.iter().take(18).skip(from).all(|&register| register == 0)
}

/// Returns whether x`from` to x17 are what [`junk`] put there.
pub(crate) fn are_kept(registers: &Registers, from: usize) -> bool {
    let pattern = junk(0);
    registers.iter().zip(&pattern).take(18).skip(from).all(|(register, junk)| register == junk)
}

/// Returns nothing if what ran last caused one undefined instruction exception.
pub(crate) fn undefined(what: &'static str) -> Result<(), Failure> {
    ensure_equal(what, seen().count, 1)?;
    ensure_equal(what, seen().syndrome, 0x0200_0000)
}

/// A generator of numbers that look random (xorshift64*), for cases that repeat from a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns the next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
