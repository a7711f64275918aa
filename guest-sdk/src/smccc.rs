//! Standard services on the same conduit: SMCCC and PSCI discovery, PSCI's power calls, Strato's UID and revision.
//!
//! Numbers: Arm SMC Calling Convention (DEN 0028) and PSCI (DEN 0022). Results are words in w0 to w3.

use strato_abi::Ipa;
use strato_abi::version::{FUNCTION_REVISION, FUNCTION_UID};

use crate::conduit::Conduit;

const SMCCC_VERSION: u32 = 0x8000_0000;
const PSCI_VERSION: u32 = 0x8400_0000;
const PSCI_CPU_OFF: u32 = 0x8400_0002;
const PSCI_SYSTEM_OFF: u32 = 0x8400_0008;
const PSCI_SYSTEM_RESET: u32 = 0x8400_0009;
const PSCI_FEATURES: u32 = 0x8400_000a;
const PSCI_CPU_ON: u32 = 0xc400_0003;

#[allow(clippy::cast_possible_truncation, reason = "the service answers in w registers")]
const fn word(register: u64) -> u32 {
    register as u32
}

fn words<C: Conduit + ?Sized>(conduit: &C, id: u32, argument: [u64; 3]) -> [u32; 4] {
    let [x1, x2, x3] = argument;
    let (x0, [x1, x2, x3]) = conduit.call_short(id, [x1, x2, x3, 0, 0, 0, 0]);
    [word(x0.cast_unsigned()), word(x1), word(x2), word(x3)]
}

fn first<C: Conduit + ?Sized>(conduit: &C, id: u32, argument: [u64; 3]) -> i32 {
    let [status, ..] = words(conduit, id, argument);
    status.cast_signed()
}

/// Returns the version of the calling convention, `major << 16 | minor`, or a negative number.
pub fn smccc_version<C: Conduit + ?Sized>(conduit: &C) -> i32 {
    first(conduit, SMCCC_VERSION, [0; 3])
}

/// Returns the UID of the hypervisor; a Strato answers [`strato_abi::version::UID`].
pub fn uid<C: Conduit + ?Sized>(conduit: &C) -> [u32; 4] {
    words(conduit, FUNCTION_UID, [0; 3])
}

/// Returns major and minor revision of the hypervisor service.
pub fn revision<C: Conduit + ?Sized>(conduit: &C) -> (u32, u32) {
    let [major, minor, ..] = words(conduit, FUNCTION_REVISION, [0; 3]);
    (major, minor)
}

/// Returns the version of PSCI, `major << 16 | minor`, or a negative number.
pub fn psci_version<C: Conduit + ?Sized>(conduit: &C) -> i32 {
    first(conduit, PSCI_VERSION, [0; 3])
}

/// Returns the features of the PSCI function of id `function`, or a negative number when it is not there.
pub fn psci_features<C: Conduit + ?Sized>(conduit: &C, function: u32) -> i32 {
    first(conduit, PSCI_FEATURES, [u64::from(function), 0, 0])
}

/// Starts the vCPU whose MPIDR affinity is `target` at `entry` with `context` in x0, and returns PSCI's status.
pub fn cpu_on<C: Conduit + ?Sized>(conduit: &C, target: u64, entry: Ipa, context: u64) -> i32 {
    first(conduit, PSCI_CPU_ON, [target, entry.bytes(), context])
}

/// Turns the calling vCPU off; returns PSCI's status only when that is refused.
pub fn cpu_off<C: Conduit + ?Sized>(conduit: &C) -> i32 {
    first(conduit, PSCI_CPU_OFF, [0; 3])
}

/// Ends the VM with exit code 0; returns PSCI's status only when that is refused.
pub fn system_off<C: Conduit + ?Sized>(conduit: &C) -> i32 {
    first(conduit, PSCI_SYSTEM_OFF, [0; 3])
}

/// Starts the VM again; returns PSCI's status only when that is refused.
pub fn system_reset<C: Conduit + ?Sized>(conduit: &C) -> i32 {
    first(conduit, PSCI_SYSTEM_RESET, [0; 3])
}
