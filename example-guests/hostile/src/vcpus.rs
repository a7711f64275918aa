//! VC and TM: vCPUs and time. Starts that cannot be, waits that must not hang, spinning that must not pay.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::vcpu::{NO_DEADLINE, RunState};
use strato_guest::abi::{Call, Code};
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, ensure, ensure_equal, event, time, vcpu};

use crate::arch;
use crate::raw::{call, refused, succeeds, undefined};
use crate::scratch::{CODE, Scratch};
use crate::words::{hvc, mrs, msr, register};

static STACK: Stack = Stack::new();
static STEPS: AtomicU64 = AtomicU64::new(0);
static RACERS: [Stack; 2] = [const { Stack::new() }; 2];
static STARTED: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);
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

/// The vCPU that is started again and again, and where it counts.
const RUNNER: u64 = 3;
const COUNTER: u64 = 0x8000_0000;

/// Three vCPUs start a fourth one all the time, which turns itself off at once: each start that succeeds runs it once.
pub(crate) fn vc03_racing_starts_have_one_winner_each(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let counter = crate::scratch::map_free(scratch, info, COUNTER, 1)?;
    // ldr x1, [x0]; add x1, x1, #1; str x1, [x0]; movz w0, #0x24; movk w0, #0xc600, lsl #16; hvc #0
    scratch.write([0xf940_0001, 0x9100_0421, 0xf900_0001, 0x5280_0480, 0x72b8_c000, hvc(0)].into_iter())?;
    for (number, stack) in (1..).zip(&RACERS) {
        vcpu::launch(number, stack, race, 0)?;
    }
    race(0);
    for number in 1..=RUNNER {
        while vcpu::state(number)? != Some(RunState::Off) {
            vcpu::yield_now();
        }
    }
    ensure_equal("refusals by another code than STATE", STRANGE.load(Ordering::Acquire), 0)?;
    let started = STARTED.load(Ordering::Acquire);
    // A vCPU that is being started still reads as off: the last start may have yet to run.
    while counter.load(0)? < started {
        vcpu::yield_now();
    }
    ensure(started > 0, "nobody ever started the vCPU")?;
    ensure_equal("runs of the vCPU", counter.load(0)?, started)?;
    Ok(strato_guest::memory::unmap(counter.base(), 1)?)
}

fn race(_: usize) {
    for _ in 0..300 {
        match call(Call::VcpuStart, &[RUNNER, CODE, COUNTER]).0 {
            0 => drop(STARTED.fetch_add(1, Ordering::AcqRel)),
            status if status == Code::State as i64 => {}
            _ => drop(STRANGE.fetch_add(1, Ordering::AcqRel)),
        }
        vcpu::yield_now();
    }
}

/// An exclusive load before a call does not let the store behind it succeed.
pub(crate) fn vc10_a_call_ends_an_exclusive_access(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let word = crate::scratch::map_free(scratch, info, COUNTER, 1)?;
    // ldxr x20, [x19]; hvc #0; stxr w21, x19, [x19]
    scratch.write([0xc85f_7e74, hvc(0), 0xc815_7e73].into_iter())?;
    for round in 0..200 {
        let mut registers = [COUNTER; 30];
        // A NOP, and a yield to whoever shares the core.
        let which = if round % 2 == 0 { Call::CoreNop } else { Call::VcpuYield };
        for (register, value) in registers.iter_mut().zip([u64::from(which.function_id()), 0, 0]) {
            *register = value;
        }
        Scratch::run(&mut registers);
        ensure_equal("the status of the store", registers.get(21).copied().unwrap_or(0), 1)?;
        ensure_equal("the word", word.load(0)?, 0)?;
    }
    Ok(strato_guest::memory::unmap(word.base(), 1)?)
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

/// The physical timer and counter do not exist; the virtual counter begins with the VM, whatever that of the machine shows, and never goes
/// back.
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
    crate::timers::begins_with_the_vm(0)?;
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
