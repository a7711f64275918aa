//! PSCI (Arm DEN 0022) for a guest: the same operations as group VCPU, under the numbers that kernels know.

use arm_psci::Version;
use strato_abi::vcpu::RunState;
use strato_abi::{Call, Ipa};

use crate::machine::{Cx, Next, Wakes};
use crate::vm::StartError;

/// Owning entity of the standard secure services.
pub(super) const OWNER: u32 = 4;

/// PSCI return values, DEN 0022 section "Return codes".
mod result {
    pub(super) const SUCCESS: i64 = 0;
    pub(super) const NOT_SUPPORTED: i64 = -1;
    pub(super) const INVALID_PARAMETERS: i64 = -2;
    pub(super) const DENIED: i64 = -3;
    pub(super) const ALREADY_ON: i64 = -4;
    pub(super) const ON_PENDING: i64 = -5;
    pub(super) const INVALID_ADDRESS: i64 = -9;
}

const VERSION: u32 = 0x8400_0000;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_ON_32: u32 = 0x8400_0003;
const CPU_ON_64: u32 = 0xc400_0003;
const AFFINITY_INFO_32: u32 = 0x8400_0004;
const AFFINITY_INFO_64: u32 = 0xc400_0004;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const FEATURES: u32 = 0x8400_000a;
const KNOWN: [u32; 9] =
    [VERSION, CPU_OFF, CPU_ON_32, CPU_ON_64, AFFINITY_INFO_32, AFFINITY_INFO_64, SYSTEM_OFF, SYSTEM_RESET, FEATURES];
/// SMCCC_VERSION, which FEATURES must know so that a guest may ask for it.
const SMCCC_VERSION: u32 = 0x8000_0000;

/// What a PSCI function comes to.
pub(super) enum Answer {
    /// The guest goes on with this in x0.
    Value(u64),
    /// Something else follows.
    Next(Next),
}

/// Answers the PSCI function `id`.
pub(super) fn answer(cx: &mut Cx<'_>, id: u32, [x1, x2, x3]: [u64; 3]) -> Answer {
    let same_call = match id {
        CPU_OFF => Some(Call::VcpuStop),
        CPU_ON_32 | CPU_ON_64 => Some(Call::VcpuStart),
        AFFINITY_INFO_32 | AFFINITY_INFO_64 => Some(Call::VcpuState),
        SYSTEM_OFF | SYSTEM_RESET => Some(Call::CoreExit),
        _ => None,
    };
    if same_call.is_some_and(|call| !cx.vm.allows(call)) {
        return one(result::DENIED.cast_unsigned()); // the manifest forbids the operation, whatever its name
    }
    let status = match id {
        VERSION => return one(u64::from(u32::from(Version { major: 1, minor: 1 }))),
        FEATURES => {
            #[allow(clippy::cast_possible_truncation, reason = "the argument is w1")]
            let asked = x1 as u32;
            if KNOWN.contains(&asked) || asked == SMCCC_VERSION { result::SUCCESS } else { result::NOT_SUPPORTED }
        }
        CPU_OFF => return Answer::Next(Next::Off),
        SYSTEM_OFF => return Answer::Next(Next::Exit(0)),
        SYSTEM_RESET if cx.vm.rule.may_ask() => return Answer::Next(Next::Reboot),
        SYSTEM_RESET => result::DENIED, // and the guest goes on
        CPU_ON_32 => cpu_on(cx, x1 & 0xffff_ffff, x2 & 0xffff_ffff, x3 & 0xffff_ffff),
        CPU_ON_64 => cpu_on(cx, x1, x2, x3),
        AFFINITY_INFO_32 => affinity_info(cx, x1 & 0xffff_ffff, x2 & 0xffff_ffff),
        AFFINITY_INFO_64 => affinity_info(cx, x1, x2),
        _ => result::NOT_SUPPORTED,
    };
    one(status.cast_unsigned())
}

fn one(x0: u64) -> Answer {
    Answer::Value(x0)
}

/// Returns the vCPU that an affinity names: Aff0 is its number, every other field is zero.
fn vcpu_of(affinity: u64) -> u64 {
    if affinity & !0xff == 0 { affinity } else { u64::MAX }
}

fn cpu_on(cx: &mut Cx<'_>, affinity: u64, entry: u64, context: u64) -> i64 {
    let Some(entry) = Ipa::new(entry) else { return result::INVALID_ADDRESS };
    match cx.vm.start(vcpu_of(affinity), entry, context) {
        Ok(number) => {
            cx.wakes = Wakes { place: cx.me.vm(), vcpus: 1 << number };
            result::SUCCESS
        }
        Err(StartError::NoVcpu) => result::INVALID_PARAMETERS,
        Err(StartError::Misaligned | StartError::BadAddress) => result::INVALID_ADDRESS,
        Err(StartError::NotOff(RunState::Off)) => result::ON_PENDING,
        Err(StartError::NotOff(_)) => result::ALREADY_ON,
    }
}

fn affinity_info(cx: &Cx<'_>, affinity: u64, lowest_level: u64) -> i64 {
    const ON: i64 = 0;
    const OFF: i64 = 1;
    const PENDING: i64 = 2;
    let Some((_, vcpu)) = cx.vm.named_vcpu(vcpu_of(affinity)) else {
        return result::INVALID_PARAMETERS;
    };
    match vcpu.public.state() {
        _ if lowest_level != 0 => result::INVALID_PARAMETERS,
        _ if vcpu.public.is_starting() => PENDING,
        RunState::Off | RunState::Stopped => OFF,
        RunState::Runnable | RunState::Running | RunState::Blocked => ON,
    }
}
