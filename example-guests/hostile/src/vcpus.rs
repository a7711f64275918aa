//! VC and TM: vCPUs and time. Starts that cannot be, waits that must not hang, spinning that must not pay.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::vcpu::{NO_DEADLINE, RunState};
use strato_guest::abi::{Call, Code};
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, ensure, ensure_equal, event, time, vcpu};

use crate::arch;
use crate::raw::{refused, succeeds, undefined};
use crate::scratch::Scratch;
use crate::words::{mrs, msr, register};

static STACK: Stack = Stack::new();
static STEPS: AtomicU64 = AtomicU64::new(0);
const EVENT_AREA: u64 = 0x3fe2_0000;

/// vCPUs that run, do not exist, or exist twice.
pub(crate) fn vc01_only_a_vcpu_that_is_off_starts(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let entry = info.ram().start;
    refused("START of itself", Call::VcpuStart, &[0, entry, 0], &[Code::State])?;
    for number in [info.vcpus() as u64, 8, 64, 255, 256, 1 << 31, 1 << 32, u64::MAX] {
        refused("START", Call::VcpuStart, &[number, entry, 0], &[Code::Invalid])?;
        refused("STATE", Call::VcpuState, &[number], &[Code::Invalid])?;
        refused("YIELD", Call::VcpuYield, &[1, number], &[Code::Invalid])?;
    }
    vcpu::launch(1, &STACK, stay, 0)?;
    while STEPS.load(Ordering::Acquire) == 0 {
        refused("START twice", Call::VcpuStart, &[1, entry, 0], &[Code::State])?;
        vcpu::yield_now();
    }
    refused("START of a running vCPU", Call::VcpuStart, &[1, entry, 0], &[Code::State])?;
    refused("MODE of a running vCPU", Call::EvtMode, &[1, 1], &[Code::State])?;
    STEPS.store(2, Ordering::Release);
    while vcpu::state(1)? != Some(RunState::Off) {
        vcpu::yield_now();
    }
    Ok(())
}

fn stay(_: usize) {
    STEPS.store(1, Ordering::Release);
    while STEPS.load(Ordering::Acquire) == 1 {
        vcpu::relax();
    }
}

/// Entries that no vCPU can start at; vCPU 1 is still off afterwards.
pub(crate) fn vc02_impossible_entries_are_refused(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for odd in [1, 2, 3, 0x4000_0001, 0x3fe0_0002] {
        refused("an odd entry", Call::VcpuStart, &[1, odd, 0], &[Code::Misaligned, Code::BadAddress])?;
    }
    for far in [1 << 39, 1 << 47, 1 << 63, 0xffff_ffff_ffff_fffc] {
        refused("a far entry", Call::VcpuStart, &[1, far, 0], &[Code::BadAddress])?;
    }
    refused("an entry in page 0", Call::VcpuStart, &[1, 8, 0], &[Code::BadAddress])?;
    ensure(vcpu::state(1)? == Some(RunState::Off), "a refused START started")
}

/// The last vCPU turns itself off, which ends the VM with exit code 0.
pub(crate) fn vc04_stopping_the_last_vcpu_ends_the_vm(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let _ = vcpu::stop();
    Err("VCPU.STOP returned".into())
}

/// A vCPU that starts where nothing can be executed faults there: the whole VM stops, with a report.
pub(crate) fn vc02x_start_without_code_stops_the_vm(_: &Info, _: &Scratch) -> Result<(), Failure> {
    succeeds("START in the window", Call::VcpuStart, &[1, EVENT_AREA, 0])?;
    loop {
        vcpu::yield_now();
    }
}

/// Yields in a tight loop, to everybody and nobody.
pub(crate) fn vc05_yields_cost_their_caller_alone(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let port = u64::from(info.port("victim")?.0.bits());
    for n in 0..2000 {
        let (hint, target) = match n % 4 {
            0 => (0, u64::MAX),
            1 => (1, 0),
            2 => (2, port),
            _ => (3, u64::MAX),
        };
        succeeds("YIELD", Call::VcpuYield, &[hint, target])?;
    }
    refused("an unknown hint", Call::VcpuYield, &[4, 0], &[Code::Invalid])
}

/// Waits whose end has come already, or that an event ends.
pub(crate) fn vc06_waits_end_when_they_must(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let _ = vcpu::wait(0)?;
    for deadline in [0, 1, time::counter().saturating_sub(1), time::counter()] {
        let waited = vcpu::wait(deadline)?;
        ensure(waited.now >= deadline, "a wait in the past ended early")?;
    }
    for tenth in 1..10 {
        let deadline = time::deadline_in(tenth * 20);
        let waited = vcpu::wait(deadline)?;
        ensure(waited.selector != 0 || waited.now >= deadline, "a wait ended early")?;
    }
    // The victim sends once per beat: waits without a deadline, and the farthest one, end by that.
    let victim = info.port("victim")?;
    for deadline in [NO_DEADLINE, NO_DEADLINE - 1, 1 << 63] {
        ensure(event::wait_until(victim, deadline)?, "a wait for ever ended without an event")?;
    }
    vcpu::wfi();
    Ok(())
}

/// Spins with all interrupts masked, calling nothing, until the victim's event shows in memory.
pub(crate) fn vc11_masked_spinning_is_preempted(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const DAIF_ALL: u32 = 0xd503_4fdf;
    scratch.execute(DAIF_ALL, &mut [0; 30])?;
    let number = u64::from(info.port("victim")?.0.index());
    arch::spin_on(EVENT_AREA + number / 64 * 8);
    Ok(())
}

/// The physical timer and counter do not exist; the virtual counter never goes back.
pub(crate) fn tm05_physical_time_is_undefined(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const PHYSICAL: [u16; 7] = [
        register(3, 3, 14, 0, 1), // CNTPCT_EL0
        register(3, 3, 14, 2, 0), // CNTP_TVAL_EL0
        register(3, 3, 14, 2, 1), // CNTP_CTL_EL0
        register(3, 3, 14, 2, 2), // CNTP_CVAL_EL0
        register(3, 4, 14, 1, 0), // CNTHCTL_EL2
        register(3, 4, 14, 0, 3), // CNTVOFF_EL2
        register(3, 7, 14, 2, 1), // CNTPS_CTL_EL1
    ];
    for which in PHYSICAL {
        let mut registers = [0; 30];
        scratch.execute(mrs(which), &mut registers)?;
        undefined("a read of a physical timer")?;
        scratch.execute(msr(which), &mut registers)?;
        undefined("a write of a physical timer")?;
    }
    // CNTV_* cannot be trapped and raises nothing.
    let virtual_control = register(3, 3, 14, 3, 1);
    for (which, value) in [(register(3, 3, 14, 3, 2), 0), (virtual_control, 1), (register(3, 3, 14, 3, 2), u64::MAX)] {
        let mut registers = [value; 30];
        let seen = scratch.execute(msr(which), &mut registers)?;
        ensure_equal("exceptions of a virtual timer", seen.count, 0)?;
    }
    let mut last = 0;
    for _ in 0..2000 {
        let now = time::counter();
        ensure(now >= last, "the counter went back")?;
        last = now;
        if now & 63 == 0 {
            vcpu::yield_now();
        }
    }
    let mut registers = [0; 30];
    scratch.execute(mrs(register(3, 3, 14, 0, 0)), &mut registers)?;
    ensure_equal("CNTFRQ_EL0", registers.first().copied().unwrap_or(0), info.counter_hz())
}
