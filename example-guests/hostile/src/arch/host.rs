//! What stands in for the machine on a PC, where none of the cases runs.

use super::{First, Registers, SystemRegisters, Vectors};

pub(crate) fn run(_: u64, _: &mut Registers) {}
pub(crate) fn spin(_: &mut Registers) {}
pub(crate) fn spin_on(_: u64) {}
pub(crate) fn system_registers(_: &mut SystemRegisters, _: u64) {}
pub(crate) fn vectors(_: &mut Vectors, _: u64) {}
pub(crate) fn synchronize_code(_: u64, _: u64) {}
pub(crate) fn image() -> ::core::ops::Range<u64> {
    0..0
}
pub(crate) fn first() -> (u64, u64) {
    (0, 0)
}
pub(crate) fn first_state() -> First {
    First { x: [0; 31], sp: [0; 2], pstate: [0; 4], control: [0; 4], zeros: [0; 11], vectors: [0; 66] }
}
