//! VC: shares of cores' time, and vCPUs that move by them. What is above the own cap, what must go along, and moves without end.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::{Call, Code, Handle, SchedHandle};
use strato_guest::info::Sched;
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, LocalTimer, Timer, ensure, ensure_equal, event, time, vcpu};

use crate::raw::{Random, call, refused, succeeds};
use crate::scratch::Scratch;
use crate::words::{FMOV_D0_X0, hvc};

const NAMES: [&str; 3] = ["here", "there", "far"];
const WORD: u64 = 0x8000_0000;
/// Rounds of a case.
const ROUNDS: u64 = 200;

static STACKS: [Stack; 3] = [const { Stack::new() }; 3];
/// What each vCPU has done, and whether they are to end; who has.
static STEPS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static IS_OVER: AtomicBool = AtomicBool::new(false);
static STRANGE: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn bits(SchedHandle(handle): SchedHandle) -> u64 {
    handle.bits().into()
}

/// Returns share `n` of this VM, modulo how many there are.
pub(crate) fn share(info: &Info, n: u64) -> Result<Sched, Failure> {
    let name = NAMES.iter().cycle().nth(n as usize % NAMES.len()).ok_or("no share")?;
    Ok(info.sched(name)?)
}

/// A priority, a budget, a period above the own cap; no priority; handles to nothing, to something else, to another's share.
pub(crate) fn vc08_what_is_above_the_own_cap_is_refused(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let Sched { handle, budget_ticks, period_ticks } = share(info, 0)?;
    let (own, over, none) = (bits(handle), [Code::Denied], [Code::Invalid]);
    for (what, arguments, codes) in [
        ("no priority", [own, 32, 0, 0], none),
        ("no priority", [own, u64::MAX, 0, 0], none),
        ("no priority without a share", [0, 32, 0, 0], none),
        ("a priority above that of the share", [own, 17, 0, 0], over),
        ("a priority above that of the VM", [0, 9, 0, 0], over),
        ("a budget above that of the share", [own, 1, budget_ticks + 1, 0], over),
        ("a budget without end", [own, 1, u64::MAX, 0], over),
        ("a period below that of the share", [own, 1, 0, period_ticks - 1], over),
        ("a period of a tick", [own, 1, 1, 1], over),
        ("a budget without a share", [0, 1, 1, 0], none),
        ("a period without a share", [0, 1, 0, 1], none),
    ] {
        refused(what, Call::VcpuSchedSet, &arguments, &codes)?;
    }
    // Every handle there could be: nothing but the own shares is one.
    let shares = [0, 1, 2].map(|n| share(info, n).map_or(0, |share| bits(share.handle)));
    for index in 0..1024 {
        for generation in 0..4 {
            let guess = u64::from(Handle::new(index, generation).bits());
            if guess != 0 && !shares.contains(&guess) {
                let wrong = [Code::BadHandle, Code::Stale, Code::WrongKind];
                refused("a guessed share", Call::VcpuSchedSet, &[guess, 1, 0, 0], &wrong)?;
            }
        }
    }
    // What it may have it gets, over and over, and no more time by that: the victim beside it says so.
    for n in 0..ROUNDS {
        succeeds("SCHED_SET", Call::VcpuSchedSet, &[own, n % 17, budget_ticks - n, period_ticks + n * n])?;
    }
    succeeds("SCHED_SET", Call::VcpuSchedSet, &[0, 8, 0, 0]).map(drop)
}

/// Moves behind an exclusive load, with FP registers written, events pending and timers armed.
pub(crate) fn vc09_a_move_is_invisible_to_the_guest(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const NOP: u32 = 0xd503_201f;
    const FMOV_D9_X22: u32 = FMOV_D0_X0 | 22 << 5 | 9;
    const FMOV_X23_D9: u32 = 0x9e66_0000 | 9 << 5 | 23;
    let word = crate::scratch::map_free(scratch, info, WORD, 1)?;
    let has_fp = info.header().features & 1 != 0;
    let fp = |instruction| if has_fp { instruction } else { NOP };
    // ldxr x20, [x19]; hvc #0; stxr w21, x19, [x19], between a write and a read of V9.
    scratch.write([fp(FMOV_D9_X22), 0xc85f_7e74, hvc(0), 0xc815_7e73, fp(FMOV_X23_D9)].into_iter())?;
    let (port, timer, local) = (event::own_port()?, Timer::new()?, LocalTimer::new()?);
    for round in 0..ROUNDS {
        let soon = time::Instant::now().after(::core::time::Duration::from_micros(40));
        timer.once(soon)?;
        local.arm(soon);
        event::send(port)?;
        let pattern = 0xf00d_0000 ^ round << 20;
        let mut registers = [WORD; 30];
        let own = [u64::from(Call::VcpuSchedSet.function_id()), bits(share(info, round)?.handle), round % 17, 0, 0];
        for (register, value) in registers.iter_mut().zip(own) {
            *register = value;
        }
        registers[22] = pattern;
        Scratch::run(&mut registers);
        ensure_equal("SCHED_SET", registers[0], 0)?;
        ensure_equal("the status of the store", registers[21], 1)?;
        ensure_equal("the word", word.load(0)?, 0)?;
        ensure(!has_fp || registers[23] == pattern, "a register of FP is another's")?;
        ensure(registers[24] == WORD && registers[29] == WORD, "a register is another's")?;
        event::wait(port)?;
        timer.wait()?;
        local.wait()?;
        ensure(time::Instant::now() >= soon, "a timer has come before its time")?;
        if round.is_multiple_of(16) {
            crate::timers::begins_with_the_vm(0)?;
        }
    }
    event::close(port)?;
    succeeds("SCHED_SET", Call::VcpuSchedSet, &[0, 8, 0, 0])?;
    Ok(strato_guest::memory::unmap(word.base(), 1)?)
}

/// Moves, waits, wakes the others and yields to them by chance until all have done enough.
fn wander(number: usize) {
    let mut random = Random(0x5eed ^ (number as u64) << 32);
    let Some(steps) = STEPS.get(number) else { return };
    let mut shares = [0; 4];
    for (n, to) in (0..3).zip(&mut shares) {
        *to = share(strato_guest::info::get(), n).map_or(0, |share| bits(share.handle));
    }
    while !IS_OVER.load(Ordering::Relaxed) {
        let to = shares.get(random.below(4) as usize).copied().unwrap_or(0);
        let (which, arguments) = match random.below(8) {
            0..4 => (Call::VcpuSchedSet, [to, 8, 0, 0]),
            4 => (Call::VcpuWait, [time::deadline_in(random.below(100)), 0, 0, 0]),
            5 => (Call::VcpuKick, [1 + random.below(15), 0, 0, 0]),
            6 => (Call::VcpuYield, [1, random.below(4), 0, 0]),
            _ => (Call::VcpuWatchdog, [1 << 40, 0, 0, 0]),
        };
        if call(which, &arguments).0 != 0 {
            STRANGE.fetch_add(1, Ordering::Relaxed);
        }
        steps.fetch_add(1, Ordering::Relaxed);
        if number == 0 && STEPS.iter().all(|steps| steps.load(Ordering::Relaxed) >= 5 * ROUNDS) {
            break;
        }
    }
    ENDED.fetch_add(1, Ordering::AcqRel);
}

/// Four vCPUs move among three cores: none is lost, and every call succeeds.
pub(crate) fn vc09s_vcpus_that_move_without_end_are_not_lost(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..4).zip(&STACKS) {
        vcpu::launch(number, stack, wander, number)?;
    }
    wander(0);
    IS_OVER.store(true, Ordering::Relaxed);
    while ENDED.load(Ordering::Acquire) < 4 {
        // One that waits has a deadline.
        vcpu::wait(time::deadline_in(100))?;
    }
    succeeds("SCHED_SET", Call::VcpuSchedSet, &[0, 8, 0, 0])?;
    ensure_equal("calls that were refused", STRANGE.load(Ordering::Relaxed), 0)
}

/// Ends as soon as all four have moved often enough, while three of them go on with it.
pub(crate) fn vc09d_a_vm_ends_while_its_vcpus_move(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..4).zip(&STACKS) {
        vcpu::launch(number, stack, wander, number)?;
    }
    wander(0);
    ensure_equal("calls that were refused", STRANGE.load(Ordering::Relaxed), 0)
}

/// Yields to the first vCPU for ever.
fn lend(number: usize) {
    let own = share(strato_guest::info::get(), number as u64).map_or(0, |share| bits(share.handle));
    if call(Call::VcpuSchedSet, &[own, 8, 0, 0]).0 != 0 {
        STRANGE.fetch_add(1, Ordering::Relaxed);
    }
    loop {
        if call(Call::VcpuYield, &[1, 0, 0, 0]).0 != 0 {
            STRANGE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Two vCPUs with shares of one core: the first one's is so small that it soon runs on what the second lends it, by all of whose time it
/// comes to its end. The VM ends in the midst of that.
pub(crate) fn vc09l_a_vm_ends_on_a_budget_that_is_lent(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let own = share(info, 0)?;
    let [stack, ..] = &STACKS;
    vcpu::launch(1, stack, lend, 1)?;
    succeeds("SCHED_SET", Call::VcpuSchedSet, &[bits(own.handle), 8, 0, 0])?;
    // A hundred of its budgets, of which one comes in each of its periods: nearly all of it is lent.
    let (mut worked, mut last) = (0, time::counter());
    while worked < 100 * own.budget_ticks {
        let now = time::counter();
        // What lies between two looks is its own, or the other one's turn.
        worked += (now - last).min(own.budget_ticks / 16);
        last = now;
    }
    ensure_equal("calls that were refused", STRANGE.load(Ordering::Relaxed), 0)
}

/// Gives way for ever.
fn give_way(number: usize) {
    loop {
        vcpu::yield_now();
        if let Some(steps) = STEPS.get(number) {
            steps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ends while its vCPUs and those of VMs like it pass each other every core without end: it is looked up there, and entered, meanwhile.
pub(crate) fn vc04y_a_vm_ends_as_it_is_passed_the_core(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..info.vcpus()).zip(&STACKS) {
        vcpu::launch(number, stack, give_way, number)?;
    }
    let others = || STEPS.iter().take(info.vcpus()).skip(1);
    while others().any(|steps| steps.load(Ordering::Relaxed) < ROUNDS) {
        vcpu::yield_now();
    }
    Ok(())
}
