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

bitflags::bitflags! {
    /// Flags of EVT.BIND_IRQ.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqFlags: u64 {
        /// The binding ends and the interrupt is masked; the port is not looked at.
        const OFF = 1;
    }
}

impl Argument for IrqFlags {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        Self::from_bits(u64::take(regs)?).ok_or((Reason::ReservedBits, Self::all().bits()))
    }

    fn put(&self, regs: &mut [u64]) {
        self.bits().put(regs);
    }
}

/// Nanoseconds between two coming of an interrupt at least, on a core of whose time its VM has a share, so that it comes also while another
/// VM's share runs there.
pub const IRQ_PERIOD_MIN_NS: u64 = 100_000;

/// How often in a row EVT.IRQ_DONE may find the line of a level interrupt still raised before the interrupt is masked.
pub const IRQ_ROUNDS_MAX: u64 = 4096;
