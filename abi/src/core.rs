//! Group 0, CORE: values that its calls carry.

use crate::error::Reason;
use crate::regs::Argument;

/// How a VM ends by CORE.EXIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ExitKind {
    /// Everything is given back.
    Off = 0,
    /// The VM starts again.
    Reboot = 1,
}

crate::regs::argument_enum!(ExitKind { 0 => Off, 1 => Reboot });
