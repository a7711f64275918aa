//! TM: times at the ends of their range, timers that race or storm, and CNTV_* programmed in every way.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::time::ClockKind;
use strato_guest::abi::{Call, Code, PortHandle};
use strato_guest::event_area::EventCells;
use strato_guest::time::Instant;
use strato_guest::vcpu::Stack;
use strato_guest::{Error, Failure, Info, LocalTimer, ensure, ensure_equal, event, time, vcpu};

use crate::raw::{Random, refused};
use crate::replies::tells;
use crate::scratch::Scratch;
use crate::storms::is_over;
use crate::words::{mrs, msr, register};

const NEVER: u64 = u64::MAX;
const HALF: u64 = 1 << 63;
const CTL: u16 = register(3, 3, 14, 3, 1);
const CVAL: u16 = register(3, 3, 14, 3, 2);
const TVAL: u16 = register(3, 3, 14, 3, 0);
/// Rounds of a race.
const ROUNDS: u64 = 5000;

static STACKS: [Stack; 3] = [const { Stack::new() }; 3];
static RACED: AtomicU64 = AtomicU64::new(0);
static ARMED: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);
static WENT_BACK: AtomicBool = AtomicBool::new(false);
static DIFFERS: AtomicBool = AtomicBool::new(false);

/// Returns a port of one's own. Numbers of closed ports rest until every core has seen that they are closed.
fn own() -> Result<PortHandle, Error> {
    loop {
        match event::own_port() {
            Err(error) if error.code() == Code::Again => vcpu::yield_now(),
            other => return other,
        }
    }
}

/// A timer is set and ended, the clocks are read, the vCPU's own timer is asked for and given back: for LK02.
pub(crate) fn served() -> Result<(), Failure> {
    let port = own()?;
    let bits = u64::from(port.0.bits());
    tells(Call::TimeTimerSet, &[bits, HALF, 0, 0], &[])?;
    tells(Call::TimeTimerCancel, &[bits], &[1])?;
    tells(Call::TimeTimerCancel, &[bits], &[0])?;
    for kind in 0..3 {
        tells(Call::TimeClock, &[kind], &[])?;
    }
    tells(Call::TimeLocal, &[bits], &[])?;
    tells(Call::TimeLocal, &[0], &[])?;
    Ok(event::close(port)?)
}

fn came(port: PortHandle, microseconds: u64) -> Result<bool, Error> {
    event::wait_until(port, time::deadline_in(microseconds))
}

/// Deadlines in the past are due at once, those at the end of time never, and no sum of times wraps.
pub(crate) fn tm01_every_deadline_is_defined(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let port = own()?;
    for deadline in [0, 1, time::counter() - 1, time::counter()] {
        time::timer_set(port, deadline, 0, 0)?;
        ensure(came(port, 1_000_000)?, "a deadline that has passed is due at once")?;
    }
    for deadline in [HALF, NEVER - 1, NEVER] {
        for (period, slack) in [(0, 0), (0, NEVER), (NEVER, 0), (HALF, HALF), (NEVER, NEVER)] {
            time::timer_set(port, deadline, period, slack)?;
            ensure(!came(port, 100)?, "the end of time has come")?;
        }
    }
    time::timer_set(port, 0, HALF, 0)?;
    ensure(came(port, 1_000_000)?, "the first deadline has passed")?;
    ensure(!came(port, 100)?, "a sum of times has wrapped")?;
    ensure(time::timer_cancel(port)?, "the next deadline is ahead")?;
    Ok(event::close(port)?)
}

/// Periods below the least are refused; with the least, what is not taken for long is one event.
pub(crate) fn tm03_short_periods_are_refused(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let port = own()?;
    let bits = u64::from(port.0.bits());
    let least = info.counter_hz() / 10_000;
    for period in [1, 2, least / 2, least - 1] {
        refused("a short period", Call::TimeTimerSet, &[bits, 0, period, 0], &[Code::Invalid])?;
    }
    ensure(!came(port, 100)?, "a refused timer is not set")?;
    time::timer_set(port, 0, least, 0)?;
    let _ = vcpu::wait(time::deadline_in(2000))?; // returns with the first event, or later
    let end = time::counter() + 50 * least;
    while time::counter() < end {}
    ensure(time::timer_cancel(port)?, "a periodic timer was set")?;
    ensure(EventCells::of_this_vcpu().take(port.0.index()), "it has been due")?;
    ensure(!came(port, 1000)?, "periods that have passed are caught up with")?;
    Ok(event::close(port)?)
}

/// A timer that another vCPU sets, sets anew and cancels while it is due: at most one event for each time that it was set.
pub(crate) fn tm02_racing_calls_deliver_once(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let [stack, ..] = &STACKS;
    let port = own()?;
    vcpu::launch(1, stack, race, port.0.bits() as usize)?;
    let (cells, mut events) = (EventCells::of_this_vcpu(), 0);
    while RACED.load(Ordering::SeqCst) == 0 {
        events += u64::from(cells.take(port.0.index()));
        let _ = vcpu::wait(time::deadline_in(50))?;
    }
    events += u64::from(came(port, 1000)?);
    ensure(events <= ARMED.load(Ordering::SeqCst), "more events than times that it was set")?;
    // Whether one came in time to be delivered is the host's affair; that the next one comes is not.
    time::timer_set(port, time::counter(), 0, 0)?;
    ensure(came(port, 1_000_000)?, "nothing is delivered after the race")?;
    Ok(event::close(port)?)
}

fn race(port: usize) {
    let port = PortHandle(strato_guest::abi::Handle::from_bits(port as u32));
    let mut random = Random(0x7000_0002);
    for _ in 0..ROUNDS {
        let is_set = time::timer_set(port, time::counter() + random.below(500), 0, random.below(3) * 64).is_ok();
        ARMED.fetch_add(u64::from(is_set), Ordering::SeqCst);
        match random.below(4) {
            0 => drop(time::timer_cancel(port)),
            1 => vcpu::yield_now(),
            2 => drop(event::bind_vcpu(port, 0)),
            _ => {}
        }
    }
    RACED.store(1, Ordering::SeqCst);
}

/// CNTV_* written in every way, with and without TIME.LOCAL, while the vCPU is switched out: nothing traps, what is masked raises
/// nothing, and what expires raises its port once.
pub(crate) fn tm04_the_own_timer_is_ones_own(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let write = |which, value| {
        let mut registers = [value; 30];
        let seen = scratch.execute(msr(which), &mut registers)?;
        ensure_equal("exceptions of a virtual timer", seen.count, 0)
    };
    // Not asked for: it is nobody's, and a storm of it costs its own time.
    for _ in 0..200 {
        write(CVAL, 0)?;
        write(CTL, 1)?;
        vcpu::yield_now();
    }
    write(CTL, 0)?;
    let local = LocalTimer::new()?;
    let port = local.port();
    for (tval, cval) in [(Some(0xffff_ffff), 0), (Some(1), 0), (None, 0), (None, 1), (None, time::counter())] {
        write(CTL, 0)?;
        match tval {
            Some(value) => write(TVAL, value)?,
            None => write(CVAL, cval)?,
        }
        write(CTL, 1)?;
        ensure(came(port, 1_000_000)?, "a time that has come raises the port")?;
        let mut registers = [0; 30];
        scratch.execute(mrs(CTL), &mut registers)?;
        ensure_equal("CNTV_CTL_EL0", registers.first().copied().unwrap_or(0) & 3, 3)?;
        ensure(!came(port, 100)?, "it is masked until it is armed again")?;
    }
    for cval in [HALF, NEVER - 1, NEVER] {
        local.arm(Instant::from_ticks(cval));
        ensure(!came(port, 100)?, "the end of time has come")?;
        let mut registers = [0; 30];
        scratch.execute(mrs(CTL), &mut registers)?;
        ensure_equal("CNTV_CTL_EL0", registers.first().copied().unwrap_or(0) & 3, 1)?;
    }
    // The hypervisor keeps its time while others have the core: by this VM's counter, not by its own.
    for ahead in 1..20 {
        let due = time::counter() + ahead * 1000;
        local.arm(Instant::from_ticks(due));
        ensure(came(port, 1_000_000)?, "a time that has come raises the port")?;
        ensure(time::counter() >= due, "a timer has come before its time")?;
    }
    for control in [0, 2, 3] {
        write(CTL, control)?;
        write(CVAL, 0)?;
        vcpu::yield_now();
        ensure(!came(port, 100)?, "a timer that is off or masked raises nothing")?;
    }
    for n in 0..200 {
        local.arm(Instant::from_ticks(time::counter() + n));
        write(CTL, 3)?;
        write(CTL, 1)?;
        vcpu::yield_now();
    }
    drop(local);
    write(CVAL, 0)?;
    write(CTL, 1)?;
    Ok(())
}

/// All timers of several VMs due at one tick, again and again, until the victim has had its share.
pub(crate) fn tm06_all_timers_at_once_leave_the_others_their_share(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let limit = strato_guest::core::limit(strato_guest::abi::limit::LimitKey::TimersPerVm)?;
    let mut ports = [None; 64];
    let count = usize::try_from(limit).unwrap_or(0);
    for place in ports.iter_mut().take(count) {
        *place = Some(own()?);
    }
    let least = info.counter_hz() / 10_000;
    while !is_over(info)? {
        let tick = time::counter() / (8 * least) * (8 * least) + 8 * least;
        for port in ports.iter().flatten() {
            time::timer_set(*port, tick, least, 0)?;
        }
        for port in ports.iter().flatten() {
            event::wait(*port)?;
        }
    }
    for port in ports.iter().flatten() {
        event::close(*port)?;
    }
    Ok(())
}

/// The counter on every vCPU, wherever it runs and whatever it waited for, never goes back behind what another one has seen.
pub(crate) fn tm08_time_goes_on_alone(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..info.vcpus()).zip(&STACKS) {
        vcpu::launch(number, stack, watch, number)?;
    }
    watch(0);
    for number in 1..info.vcpus() {
        while vcpu::state(number as u64)? != Some(strato_guest::abi::vcpu::RunState::Off) {
            vcpu::yield_now();
        }
    }
    ensure(!DIFFERS.load(Ordering::SeqCst), "vCPUs have different offsets")?;
    ensure(!WENT_BACK.load(Ordering::SeqCst), "the counter went back")
}

/// Holds the counter of vCPU `number`, which makes the call, against what the hypervisor says: the offset on this core is that of the VM, and
/// the counter began when the VM did, so that it tells nothing of how long the machine was up before. For TM05, too.
pub(crate) fn begins_with_the_vm(number: usize) -> Result<(), Failure> {
    let before = time::counter();
    let waited = vcpu::wait(before + 50)?.now;
    let clock = time::clock(ClockKind::Monotonic)?.counter;
    let record = strato_guest::vcpu_area::record(number).ok_or("a vCPU has no record")?;
    let after = time::counter();
    ensure(before <= waited && waited <= clock && clock <= after, "the hypervisor counts by another offset")?;
    ensure(record.since <= after, "a state has begun in the future")?;
    let counted = record.running + record.runnable + record.blocked + record.off;
    ensure_equal("ticks from the VM's first moment on", counted, record.since)
}

fn watch(number: usize) {
    for round in 0..3000 {
        let seen = LAST.load(Ordering::SeqCst);
        let now = time::counter();
        if now < seen {
            WENT_BACK.store(true, Ordering::SeqCst);
        }
        LAST.fetch_max(now, Ordering::SeqCst);
        match (round + number) % 16 {
            0 => drop(vcpu::wait(now + 100)),
            5 => vcpu::yield_now(),
            9 if begins_with_the_vm(number).is_err() => DIFFERS.store(true, Ordering::SeqCst),
            _ => {}
        }
    }
}
