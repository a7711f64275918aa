//! Group 5, EVT: values that its calls carry.

use crate::error::Reason;
use crate::regs::Argument;

/// How a vCPU learns of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum DeliveryMode {
    /// It looks at its event area, or waits: no trap.
    Poll = 0,
    /// A virtual interrupt (the *line*) is taken at the vector base + 0x280 (SPx) or + 0x080 (SP0).
    Upcall = 1,
}

crate::regs::argument_enum!(DeliveryMode { 0 => Poll, 1 => Upcall });
