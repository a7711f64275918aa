//! Refused accesses and what the guest makes of them. A guest that declares a fault handler gets them delivered.
//!
//! [`set_handler`] names the function that is asked. It runs on the exception stack of the vCPU that faulted, so that it can
//! handle what the program's own stack ran into; it may make any call. Called by `exception`; never decides by itself.

use ::core::fmt;

use strato_abi::Ipa;
use strato_abi::address_space::LastFault;

use crate::arch::{self, Hook};
use crate::{Result, address_space, load_store};

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

/// What was wanted of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction.
    Execute,
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

    /// Returns what was wanted of memory, or `None` when no access was refused.
    #[must_use]
    pub const fn access(&self) -> Option<Access> {
        match self.class() {
            0x20 | 0x21 => Some(Access::Execute),
            0x24 | 0x25 if self.is_write() => Some(Access::Write),
            0x24 | 0x25 => Some(Access::Read),
            _ => None,
        }
    }

    /// Returns the bytes of the refused load or store, as the instruction in the image tells, or `None` when it is none of
    /// general or FP registers. An access that crosses into a page that is not mapped has its address there.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self.access()? {
            Access::Execute => Some(4),
            Access::Read | Access::Write => load_store::bytes(arch::instruction(self.pc)?),
        }
    }

    /// Returns the page that was used, or `None` when no access was refused or none can be mapped there.
    #[must_use]
    pub fn page(&self) -> Option<Ipa> {
        Ipa::new(self.address).filter(|_| self.is_abort()).map(Ipa::page_base)
    }

    /// Returns why the access was refused, as AS.QUERY tells: it alone tells memory whose owner took it back from memory that
    /// never was there. `None` stands for a reason of a later version.
    ///
    /// # Errors
    /// Those of AS.QUERY, but for `NOT_MAPPED`.
    pub fn reason(&self) -> Result<Option<LastFault>> {
        self.page().map_or(Ok(Some(LastFault::None)), address_space::last_fault)
    }

    /// Returns whether the address is below the calling vCPU's stack: in its guard page, or in its room
    /// ([`Needs::stack_room`](crate::Needs::stack_room)).
    #[must_use]
    pub fn is_stack_overflow(&self) -> bool {
        self.is_abort() && arch::stack_guard().contains(&self.address)
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

/// Sets what is asked about every exception that the program causes, on any vCPU.
///
/// The handler runs on the exception stack of the vCPU that faulted (8 KiB, with a guard page), with the line masked. Registers,
/// flags and FP registers of the program are as they were when it goes on. The handler may make any call but those that wait
/// for what the interrupted program would do. A fault of the handler itself ends the VM: CORE.PANIC with
/// [`REASON_NESTED`](crate::exception::REASON_NESTED), its PC, syndrome and address.
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
    fn what_was_wanted_and_its_page_are_told() {
        for (syndrome, access) in
            [(0x9600_0047, Access::Write), (0x9600_0007, Access::Read), (0x8600_0007, Access::Execute)]
        {
            let fault = Fault { address: 0x8000_0123, ..fault(syndrome) };
            assert_eq!((fault.access(), fault.page()), (Some(access), Ipa::new(0x8000_0000)));
        }
        assert_eq!((fault(0).access(), fault(0).page(), fault(0).bytes()), (None, None, None));
        assert_eq!(fault(0x8600_0007).bytes(), Some(4));
        assert_eq!(Fault { address: u64::MAX, ..fault(0x9600_0007) }.page(), None);
    }

    #[test]
    fn an_undefined_instruction_has_no_address() {
        assert_eq!(fault(0).to_string(), "undefined instruction");
        assert_eq!(fault(0x3f << 26).to_string(), "exception of an unknown class");
    }
}
