//! Standard services by HVC or SMC (SMCCC, Arm DEN 0028). Nothing is ever passed on to EL3.

use strato_abi::version::{ABI_VERSION, FUNCTION_REVISION, FUNCTION_SVE_HINT, FUNCTION_UID, UID, major, minor};

use super::{psci, skip};
use crate::arch::frame::Frame;
use crate::arch::timer;
use crate::machine::{Cx, Next};
use crate::vcpu::Extras;
use crate::vm::records::stolen_address;

/// SMCCC_VERSION: 1.2, the first that lets a call list x4 to x17 as results.
const SMCCC_VERSION: u32 = 0x8000_0000;
const VERSION_1_2: u64 = 0x1_0002;
/// SMCCC_ARCH_FEATURES.
const ARCH_FEATURES: u32 = 0x8000_0001;

/// PV_TIME_FEATURES (Arm DEN 0057).
const PV_TIME_FEATURES: u32 = 0xc500_0020;
/// PV_TIME_ST: where the calling vCPU's stolen time stands.
const PV_TIME_ST: u32 = 0xc500_0021;

/// What x0 holds for a function that is not here: -1 in the width of the function.
pub(super) const NOT_SUPPORTED: u64 = u64::MAX;

/// Answers a standard service; the function id is in w0.
pub fn service(frame: &mut Frame, cx: &mut Cx<'_>, is_smc: bool) -> Next {
    #[allow(clippy::cast_possible_truncation, reason = "the function id is w0")]
    let id = frame.read(0) as u32 & !FUNCTION_SVE_HINT;
    let arguments = [frame.read(1), frame.read(2), frame.read(3)];
    if is_smc {
        skip(frame); // the preferred return address of a trapped SMC is the SMC itself
    }
    let one = |x0| [x0, 0, 0, 0];
    let answer = match id {
        SMCCC_VERSION => one(VERSION_1_2),
        ARCH_FEATURES => {
            let is_here = matches!(low(arguments[0]), SMCCC_VERSION | ARCH_FEATURES | PV_TIME_FEATURES);
            one(if is_here { 0 } else { NOT_SUPPORTED })
        }
        PV_TIME_FEATURES => {
            one(if matches!(low(arguments[0]), PV_TIME_FEATURES | PV_TIME_ST) { 0 } else { NOT_SUPPORTED })
        }
        PV_TIME_ST => {
            cx.context.extras.insert(Extras::STOLEN);
            cx.vm.tell_stolen(cx.me.vcpu(), timer::frequency());
            one(stolen_address(cx.me.vcpu()))
        }
        FUNCTION_UID => UID.map(u64::from),
        FUNCTION_REVISION => [u64::from(major(ABI_VERSION)), u64::from(minor(ABI_VERSION)), 0, 0],
        _ if id >> 24 & 0x3f == psci::OWNER => match psci::answer(cx, id, arguments) {
            psci::Answer::Value(x0) => one(x0),
            psci::Answer::Next(next) => return next,
        },
        _ => one(NOT_SUPPORTED),
    };
    cx.cpu.keep(answer);
    Next::Service
}

/// Returns the function id in a register, whose upper half says nothing.
#[allow(clippy::cast_possible_truncation, reason = "the function id is the lower half")]
const fn low(register: u64) -> u32 {
    register as u32
}
