//! Exit decode: the processor's bits become a [`Trap`]. Pure; each arm is tested on a PC.

use crate::arch::frame::{ExitKind, Frame, RawExit};
use crate::interpreter::abort::Abort;
use crate::interpreter::sysreg::Access;

/// Why a guest left, in the words of the rooms above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A call was answered and something follows; it stands in the context.
    Answered,
    /// A physical interrupt is pending.
    Interrupt,
    /// The same, and the guest was in AArch32, which ends it: without traps it would never be noticed.
    InterruptInAarch32,
    /// A call of this hypervisor that takes the full exit.
    Call,
    /// A standard service by HVC or SMC; PC is behind an HVC and at an SMC.
    Service {
        /// Whether the instruction was SMC.
        is_smc: bool,
    },
    /// HVC or SMC with a number beside it that means nothing here.
    OddImmediate {
        /// Whether the instruction was SMC.
        is_smc: bool,
    },
    /// Stage 2 refused an access.
    Abort(Abort),
    /// A system register, or a system instruction, that guests do not have.
    Register(Access),
    /// WFI.
    Wait,
    /// FP or SIMD while it is off or not loaded.
    Fp,
    /// A system error of unknown origin.
    SystemError,
    /// Something no guest may do; the exception class of ESR_EL2.
    Unknown(u8),
}

/// Exception classes, ESR_ELx.EC (Arm ARM DDI 0487).
mod class {
    pub(super) const WFX: u64 = 0x01;
    pub(super) const FP: u64 = 0x07;
    pub(super) const HVC: u64 = 0x16;
    pub(super) const SMC: u64 = 0x17;
    pub(super) const REGISTER: u64 = 0x18;
    pub(super) const INSTRUCTION_ABORT: u64 = 0x20;
    pub(super) const DATA_ABORT: u64 = 0x24;
}

/// What [`Trap::Unknown`] holds for an exit from AArch32; no exception class has that number.
pub const FROM_AARCH32: u8 = 0x3f;

/// Owning entity of a function id, bits 29:24 (SMCCC, Arm DEN 0028): 6 is the vendor specific hypervisor service.
const OWNER_HYPERVISOR: u64 = 6;

/// Returns what `exit` means; `frame` tells which service was called, and that the guest was in AArch32: at EL0 that arrives at the
/// vectors of AArch64, since EL1 is AArch64.
#[must_use]
#[inline(always)]
pub fn decode(exit: &RawExit, frame: &Frame) -> Trap {
    match exit.kind() {
        ExitKind::Answered => Trap::Answered,
        ExitKind::Irq | ExitKind::Fiq if frame.place().is_aarch32() => Trap::InterruptInAarch32,
        ExitKind::Irq | ExitKind::Fiq => Trap::Interrupt,
        ExitKind::SError => Trap::SystemError,
        ExitKind::Aarch32 => Trap::Unknown(FROM_AARCH32),
        ExitKind::Sync if frame.place().is_aarch32() => Trap::Unknown(FROM_AARCH32),
        ExitKind::Sync => synchronous(exit, frame),
    }
}

#[inline(always)]
fn synchronous(exit: &RawExit, frame: &Frame) -> Trap {
    let esr = exit.esr;
    match esr >> 26 & 0x3f {
        class::HVC if esr & 0xffff != 0 => Trap::OddImmediate { is_smc: false },
        class::SMC if esr & 0xffff != 0 => Trap::OddImmediate { is_smc: true },
        class::HVC if is_own_call(frame.read(0)) => Trap::Call,
        class::HVC => Trap::Service { is_smc: false },
        class::SMC => Trap::Service { is_smc: true },
        class::INSTRUCTION_ABORT | class::DATA_ABORT => Trap::Abort(Abort::decode(exit)),
        class::REGISTER => Trap::Register(Access::decode(esr)),
        // ESR_ELx.ISS.TI bit 0: 0 is WFI, or WFIT, whose deadline is not looked at: no guest is told that it has it
        // (ID_AA64ISAR2_EL1 reads as zero), and a WFI may go on late. WFE does not trap (HCR_EL2.TWE is clear).
        class::WFX if esr & 1 == 0 => Trap::Wait,
        class::FP => Trap::Fp,
        #[allow(clippy::cast_possible_truncation, reason = "six bits")]
        other => Trap::Unknown(other as u8),
    }
}

/// Returns whether w0 is a call of this hypervisor: fast, 64-bit, owner 6, and not one of the general queries.
fn is_own_call(x0: u64) -> bool {
    let id = x0 & 0xffff_ffff;
    id >> 30 == 0b11 && id >> 24 & 0x3f == OWNER_HYPERVISOR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(class: u64, iss: u64, x0: u64) -> Trap {
        let exit = RawExit { vector: 0, esr: class << 26 | 1 << 25 | iss, far: 0x4000_1234, hpfar: 0x0004_0001 << 4 };
        let mut frame = Frame::ZERO;
        frame.write(0, x0);
        decode(&exit, &frame)
    }

    #[test]
    fn each_way_to_leave_is_told_apart() {
        for (vector, trap) in [
            (1, Trap::Interrupt),
            (2, Trap::Interrupt),
            (3, Trap::SystemError),
            (4, Trap::Answered),
            (5, Trap::Unknown(FROM_AARCH32)),
            (77, Trap::Unknown(FROM_AARCH32)),
        ] {
            assert_eq!(decode(&RawExit { vector, ..RawExit::default() }, &Frame::ZERO), trap);
        }
    }

    #[test]
    fn whatever_comes_from_aarch32_ends_the_guest() {
        let exit = RawExit { vector: 0, esr: 0x24 << 26, ..RawExit::default() };
        let frame = Frame { pstate: 0x10, ..Frame::ZERO };
        assert_eq!(decode(&exit, &frame), Trap::Unknown(FROM_AARCH32));
        for vector in [1, 2] {
            assert_eq!(decode(&RawExit { vector, ..exit }, &frame), Trap::InterruptInAarch32, "the interrupt is taken");
        }
    }

    #[test]
    fn calls_and_services_are_told_apart_by_owner_and_width() {
        assert_eq!(sync(0x16, 0, 0xc600_00e0), Trap::Call);
        assert_eq!(sync(0x16, 0, 0xffff_ffff_c601_00e0), Trap::Call, "upper half and SVE hint say nothing");
        for id in [0x8600_ff01, 0x8400_0000, 0xc400_0003, 0x8000_0000, 0, u64::MAX] {
            assert_eq!(sync(0x16, 0, id), Trap::Service { is_smc: false }, "{id:#x}");
        }
        assert_eq!(sync(0x17, 0, 0xc600_0000), Trap::Service { is_smc: true });
        assert_eq!(sync(0x16, 1, 0xc600_0000), Trap::OddImmediate { is_smc: false });
        assert_eq!(sync(0x17, 0xffff, 0), Trap::OddImmediate { is_smc: true });
    }

    #[test]
    fn waiting_is_wfi_alone() {
        assert_eq!(sync(0x01, 0, 0), Trap::Wait);
        assert_eq!(sync(0x01, 1, 0), Trap::Unknown(0x01));
    }

    #[test]
    fn every_exception_class_has_an_answer() {
        for class in 0..64 {
            let trap = sync(class, 0, 0);
            let is_known = [0x01, 0x07, 0x16, 0x17, 0x18, 0x20, 0x24].contains(&class);
            assert_eq!(matches!(trap, Trap::Unknown(_)), !is_known, "{class:#x}");
        }
    }
}
