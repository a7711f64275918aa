//! Refused accesses and what the guest makes of them. A guest that declares a fault handler gets them delivered.
//!
//! Called by `exception`; never decides by itself.

use ::core::fmt;

use crate::arch::Hook;

/// An exception that the program caused, as the hypervisor or the core reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// ESR_EL1.
    pub syndrome: u64,
    /// FAR_EL1: the address that was used, for aborts.
    pub address: u64,
    /// ELR_EL1: the instruction.
    pub pc: u64,
    /// SPSR_EL1, or zero for a fault that a [`Window`](crate::memory::Window) reports.
    pub status: u64,
}

/// What to do after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the instruction again: the cause is gone.
    Retry,
    /// Go on behind it. A [`Window`](crate::memory::Window)'s access returns the fault.
    Skip,
    /// End the VM with a report.
    Panic,
}

impl Fault {
    /// Returns the exception class (ESR_ELx.EC).
    #[must_use]
    pub const fn class(&self) -> u64 {
        self.syndrome >> 26 & 0x3f
    }

    /// Returns whether an access to memory was refused, for data or for an instruction.
    #[must_use]
    pub const fn is_abort(&self) -> bool {
        matches!(self.class(), 0x20 | 0x21 | 0x24 | 0x25)
    }

    /// Returns whether the access was a store (ESR_ELx.WnR of a data abort).
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self.class(), 0x24 | 0x25) && self.syndrome & 1 << 6 != 0
    }

    /// Returns whether nothing is mapped at the address.
    #[must_use]
    pub const fn is_translation(&self) -> bool {
        self.is_abort() && self.syndrome & 0x3c == 0x04
    }

    /// Returns whether the mapping does not allow the access.
    #[must_use]
    pub const fn is_permission(&self) -> bool {
        self.is_abort() && self.syndrome & 0x3c == 0x0c
    }

    const fn class_in_words(&self) -> &'static str {
        match self.class() {
            0x00 => "undefined instruction",
            0x07 => "FP or SIMD instruction, which this VM may not use",
            0x0e => "illegal execution state",
            0x15 => "supervisor call",
            0x16 => "hypervisor call",
            0x18 => "trapped system instruction",
            0x20 | 0x21 => "instruction abort",
            0x22 => "misaligned PC",
            0x24 | 0x25 if self.is_write() => "data abort on a store",
            0x24 | 0x25 => "data abort on a load",
            0x26 => "misaligned SP",
            0x2c => "floating-point exception",
            0x2f => "system error",
            0x30..=0x37 => "debug exception",
            0x3c => "breakpoint instruction",
            _ => "exception of an unknown class",
        }
    }

    const fn cause_in_words(&self) -> &'static str {
        match self.syndrome & 0x3f {
            0x00..=0x03 => "address size",
            0x04..=0x07 => "nothing mapped",
            0x08..=0x0b => "access flag",
            0x0c..=0x0f => "permission",
            0x10..=0x17 => "external abort",
            0x21 => "alignment",
            0x35 => "unsupported exclusive or atomic access",
            _ => "unknown cause",
        }
    }
}

impl fmt::Display for Fault {
    /// Writes `data abort on a store at 0x80000000: permission` or `undefined instruction`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_abort() {
            write!(f, "{} at {:#x}: {}", self.class_in_words(), self.address, self.cause_in_words())
        } else {
            f.write_str(self.class_in_words())
        }
    }
}

impl ::core::error::Error for Fault {}

static HANDLER: Hook<fn(&Fault) -> Action> = Hook::new();

/// Sets what is asked about every exception that the program causes; it runs on the exception stack with the line masked.
///
/// Accesses that the address space refuses reach it only when the guest's [`Needs`](crate::Needs) declare a fault handler.
pub fn set_handler(handler: fn(&Fault) -> Action) {
    HANDLER.set(handler);
}

#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "nothing causes an exception on a PC"))]
/// Returns what the handler, if any, says about `fault`.
pub(crate) fn ask(fault: &Fault) -> Option<Action> {
    HANDLER.get().map(|handler| handler(fault))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn fault(syndrome: u64) -> Fault {
        Fault { syndrome, address: 0x8000_0000, pc: 0x4000_1000, status: 0 }
    }

    #[test]
    fn a_store_to_a_read_only_page_reads_as_such() {
        let fault = fault(0x9600_004f);
        assert!(fault.is_abort() && fault.is_write() && fault.is_permission() && !fault.is_translation());
        assert_eq!(fault.to_string(), "data abort on a store at 0x80000000: permission");
    }

    #[test]
    fn a_load_and_a_fetch_of_an_unmapped_page_are_told_apart() {
        assert_eq!(fault(0x9600_0007).to_string(), "data abort on a load at 0x80000000: nothing mapped");
        assert_eq!(fault(0x8600_0007).to_string(), "instruction abort at 0x80000000: nothing mapped");
        assert!(!fault(0x8600_0047).is_write());
    }

    #[test]
    fn an_undefined_instruction_has_no_address() {
        assert_eq!(fault(0).to_string(), "undefined instruction");
        assert_eq!(fault(0x3f << 26).to_string(), "exception of an unknown class");
    }
}
