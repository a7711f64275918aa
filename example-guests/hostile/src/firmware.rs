//! PS: standard services. Nothing reaches firmware; the power calls reach the caller's own VM alone.

use strato_guest::abi::vcpu::RunState;
use strato_guest::{Failure, Info, ensure, ensure_equal, vcpu};

use crate::raw::{Random, are_kept, id, junk};
use crate::scratch::Scratch;
use crate::words::{hvc, smc};

const CPU_ON_32: u32 = 0x8400_0003;
const CPU_ON: u32 = 0xc400_0003;
const AFFINITY_INFO: u32 = 0xc400_0004;
const CPU_OFF: u32 = 0x8400_0002;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const FEATURES: u32 = 0x8400_000a;
const INVALID_PARAMETERS: i64 = -2;
const DENIED: i64 = -3;
const ALREADY_ON: i64 = -4;
const INVALID_ADDRESS: i64 = -9;
/// Services that exist, 32-bit and 64-bit, by the table of the specification.
const KNOWN: [u32; 13] = [
    0x8600_ff01,
    0x8600_ff03,
    0x8000_0000,
    0x8000_0001,
    0x8400_0000,
    CPU_OFF,
    CPU_ON_32,
    CPU_ON,
    0x8400_0004,
    AFFINITY_INFO,
    SYSTEM_OFF,
    SYSTEM_RESET,
    FEATURES,
];

fn service(id_of: u32, arguments: &[u64]) -> i64 {
    // A status has 32 bits by the 32-bit ids, and 64 by the others.
    let (status, _) = id(id_of, arguments);
    if id_of >> 30 & 1 == 0 { i64::from((status & 0xffff_ffff) as u32 as i32) } else { status }
}

/// Ids of every owner, fast and slow: what is not in the table is NOT_SUPPORTED by HVC and by SMC.
pub(crate) fn ps01_unknown_services_are_not_supported(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let mut random = Random(0xf12a_00e5);
    for word in [hvc(0), smc(0)] {
        scratch.write([word].into_iter())?;
        for n in 0..6000_u64 {
            let low = if n < 64 { n } else { random.next() & 0xff_ffff };
            let function = ((random.next() & 0xff) << 24 | low) as u32;
            let function = if n < 3000 { 0x8400_0000 | function & 0x4000_00ff } else { function };
            let is_own = word == hvc(0) && function >> 24 == 0xc6;
            if is_own || KNOWN.contains(&(function & !(1 << 16))) {
                continue;
            }
            let mut registers = junk(u64::from(function));
            let seen = Scratch::run(&mut registers);
            ensure_equal("exceptions of a service", seen.count, 0)?;
            let [x0, x1, x2, x3, ..] = registers;
            ensure((x0, x1, x2, x3) == (u64::MAX, 0, 0, 0), "an unknown service is not refused by -1 and zeros")?;
            ensure(are_kept(&registers, 4), "an unknown service changed x4 to x17")?;
        }
    }
    for (function, is_there) in [(CPU_ON, true), (0x8400_0001, false), (0x8400_0005, false), (0xc400_0012, false)] {
        let answer = service(FEATURES, &[u64::from(function)]);
        ensure((answer == 0) == is_there && (is_there || answer == -1), "PSCI_FEATURES")?;
    }
    Ok(())
}

/// CPU_ON of a vCPU that runs, that is not there, at an address that is none.
pub(crate) fn ps02_impossible_starts_are_refused(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let entry = info.ram().start;
    ensure_equal("itself", service(CPU_ON, &[0, entry, 0]).cast_unsigned(), ALREADY_ON.cast_unsigned())?;
    for target in [info.vcpus() as u64, 255, 256, 0x100, 1 << 31, 1 << 32, 0x8000_0001, u64::MAX] {
        let status = service(CPU_ON, &[target, entry, 0]);
        ensure_equal("no such vCPU", status.cast_unsigned(), INVALID_PARAMETERS.cast_unsigned())?;
    }
    for address in [1, 2, entry | 1, 1 << 39, 1 << 47, u64::MAX, 8] {
        let status = service(CPU_ON, &[1, address, 0]);
        ensure_equal("an impossible entry", status.cast_unsigned(), INVALID_ADDRESS.cast_unsigned())?;
    }
    ensure(vcpu::state(1)? == Some(RunState::Off), "a refused CPU_ON started")?;
    for (target, level, expected) in
        [(0, 0, 0), (1, 0, 1), (2, 0, -2), (0, 1, -2), (0, u64::MAX, -2), (u64::MAX, 0, -2)]
    {
        let status = service(AFFINITY_INFO, &[target, level]);
        ensure_equal("AFFINITY_INFO", status.cast_unsigned(), i64::cast_unsigned(expected))?;
    }
    Ok(())
}

/// CPU_OFF of the last vCPU ends the VM.
pub(crate) fn ps04_cpu_off_of_the_last_ends_the_vm(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let _ = service(CPU_OFF, &[]);
    Err("CPU_OFF returned".into())
}

/// SYSTEM_RESET is refused; SYSTEM_OFF ends this VM and no other.
pub(crate) fn ps07_system_off_is_the_vms_own(_: &Info, _: &Scratch) -> Result<(), Failure> {
    ensure_equal("SYSTEM_RESET", service(SYSTEM_RESET, &[]).cast_unsigned(), DENIED.cast_unsigned())?;
    let _ = service(SYSTEM_OFF, &[]);
    Err("SYSTEM_OFF returned".into())
}

/// SMC is answered or refused by the hypervisor with PC behind it; Strato's own calls are not made by it.
pub(crate) fn ps09_smc_reaches_no_firmware(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for function in [0xc600_0003_u64, 0x8200_0000, 0xc200_0000, 0x8300_0001, 0xb200_0000, 0, 0xffff_ffff] {
        let mut registers = junk(function);
        let seen = scratch.execute(smc(0), &mut registers)?;
        ensure_equal("exceptions of an SMC", seen.count, 0)?;
        let [x0, x1, x2, x3, ..] = registers;
        ensure((x0, x1, x2, x3) == (u64::MAX, 0, 0, 0), "an SMC is not refused by -1 and zeros")?;
    }
    let mut registers = junk(0x8400_0000);
    scratch.execute(smc(0), &mut registers)?;
    ensure_equal("PSCI_VERSION by SMC", registers.first().copied().unwrap_or(0), 0x1_0001)
}

/// Every service that returns keeps x4 to x17.
pub(crate) fn ps11_services_keep_x4_to_x17(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for word in [hvc(0), smc(0)] {
        scratch.write([word].into_iter())?;
        for function in KNOWN {
            if matches!(function, CPU_OFF | SYSTEM_OFF) {
                continue;
            }
            let mut registers = junk(u64::from(function));
            let seen = Scratch::run(&mut registers);
            ensure_equal("exceptions of a service", seen.count, 0)?;
            ensure(are_kept(&registers, 4), "a service changed x4 to x17")?;
        }
    }
    Ok(())
}

/// The 32-bit ids ignore upper halves, the 64-bit ones do not.
pub(crate) fn ps12_upper_halves_count_by_the_64_bit_ids_alone(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let entry = info.ram().start;
    let high = 0xdead_0000_0000_0000;
    ensure_equal("CPU_ON, 32-bit", service(CPU_ON_32, &[high, entry, 0]).cast_unsigned(), ALREADY_ON.cast_unsigned())?;
    let status = service(CPU_ON, &[high, entry, 0]);
    ensure_equal("CPU_ON, 64-bit", status.cast_unsigned(), INVALID_PARAMETERS.cast_unsigned())?;
    let status = service(CPU_ON_32, &[high | 1, high | 2, 0]);
    ensure_equal("an odd entry, 32-bit", status.cast_unsigned(), INVALID_ADDRESS.cast_unsigned())?;
    ensure_equal("AFFINITY_INFO, 32-bit", service(0x8400_0004, &[high, high]).cast_unsigned(), 0)?;
    let status = service(AFFINITY_INFO, &[high, 0]);
    ensure_equal("AFFINITY_INFO, 64-bit", status.cast_unsigned(), INVALID_PARAMETERS.cast_unsigned())
}
