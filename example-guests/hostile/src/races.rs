//! EV10, EV11: events and wake-ups that are counted, between vCPUs and between VMs on different cores. Each is answered before the
//! next one is sent, so that none can stand for another: one that is lost leaves its receiver waiting, and the case never ends.
//!
//! Waits have no deadline: one would wake who was forgotten.

use ::core::hint::black_box;
use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::vcpu::{NO_DEADLINE, RunState};
use strato_guest::abi::{Call, Handle, PortHandle};
use strato_guest::event_area::EventCells;
use strato_guest::{Failure, Info, ensure, ensure_equal, event, println, upcall, vcpu};

use crate::crew::STACKS;
use crate::moves::{bits, share};
use crate::raw::succeeds;
use crate::scratch::Scratch;

/// Ports by the vCPU that they are bound to, which every vCPU may raise.
static PORTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// The last round that this vCPU has spoken in; what it has taken, and how much of it was not what it must be.
static SPOKEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static TAKEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static STRANGE: AtomicU64 = AtomicU64::new(0);
static ROUNDS: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// How the other one is told, and how it is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// SEND, then WAIT.
    Send,
    /// SIGNAL_WAIT.
    SignalWait,
    /// KICK, then WAIT for what the other one writes.
    Kick,
    /// SEND to one that takes upcalls, spins for a while, and then sleeps.
    Upcall,
}

impl Way {
    const fn of(round: u64) -> Self {
        match round % 3 {
            0 => Self::Send,
            1 => Self::SignalWait,
            _ => Self::Kick,
        }
    }
}

fn cell(cells: &'static [AtomicU64; 4], vcpu: usize) -> &'static AtomicU64 {
    let [a, b, c, d] = cells;
    match vcpu {
        0 => a,
        1 => b,
        2 => c,
        _ => d,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a handle was stored there")]
fn port_of(vcpu: usize) -> PortHandle {
    PortHandle(Handle::from_bits(cell(&PORTS, vcpu).load(Ordering::Acquire) as u32))
}

/// Spins for a time that differs from call to call, so that the two meet at different steps.
fn dither(state: &mut u64) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    for spin in 0..*state % 64 {
        black_box(spin); // YIELD would take an emulator longer than all the rest
    }
}

/// Speaks: the round, and then the event. By SIGNAL_WAIT it waits, too.
fn tell(me: usize, round: u64, way: Way) -> Result<(), Failure> {
    cell(&SPOKEN, me).store(round, Ordering::Release);
    match way {
        Way::Send | Way::Upcall => event::send(port_of(me ^ 1))?,
        Way::SignalWait => {
            let _ = vcpu::signal_wait(port_of(me ^ 1), NO_DEADLINE)?;
        }
        Way::Kick => vcpu::kick(1 << (me ^ 1))?,
    }
    Ok(())
}

/// Waits for what the other one says in `round`.
fn listen(me: usize, round: u64, way: Way) -> Result<(), Failure> {
    let (other, taken) = (cell(&SPOKEN, me ^ 1), cell(&TAKEN, me));
    match way {
        Way::Send | Way::SignalWait => {
            event::wait(port_of(me))?;
            taken.fetch_add(1, Ordering::Relaxed);
        }
        Way::Kick => {
            while other.load(Ordering::Acquire) < round {
                vcpu::wait(NO_DEADLINE)?;
            }
            taken.fetch_add(1, Ordering::Relaxed);
        }
        Way::Upcall => {
            for spins in 0.. {
                if taken.load(Ordering::Acquire) >= round {
                    break;
                }
                black_box(spins);
                if spins > round % 512 {
                    // Not for ever: the other one may have no core, of the machine or of the host. WFI takes nothing, and what
                    // came before it ends it.
                    upcall::without(|| {
                        if taken.load(Ordering::Acquire) < round {
                            vcpu::wfi();
                        }
                    });
                }
            }
        }
    }
    // What it wrote before is there, and it has not gone on without an answer.
    if other.load(Ordering::Acquire) != round {
        STRANGE.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// Talks with the other one of the pair: even vCPUs begin. Between what is said and what is waited for each does what `rest` says.
fn talk(me: usize, way_of: impl Fn(u64) -> Way, rest: impl Fn(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ me as u64;
    for round in 1..=ROUNDS.load(Ordering::Acquire) {
        let way = way_of(round);
        dither(&mut state);
        if me.is_multiple_of(2) {
            tell(me, round, way)?;
            rest(round)?;
            listen(me, round, way)?;
        } else {
            listen(me, round, way)?;
            dither(&mut state);
            // Who answers by SIGNAL_WAIT would wait for the next round: it sends.
            tell(me, round, if way == Way::SignalWait { Way::Send } else { way })?;
            rest(round)?;
        }
    }
    Ok(())
}

fn by_calls(me: usize) {
    if talk(me, Way::of, |_| Ok(())).is_err() {
        FAILED.fetch_add(1, Ordering::AcqRel);
    }
}

fn on_the_move(me: usize) {
    let mut shares = [0; 3];
    for (n, to) in (0..).zip(&mut shares) {
        *to = share(strato_guest::info::get(), n).map_or(0, |share| bits(share.handle));
    }
    let step = |round: u64| {
        let to = shares.iter().cycle().nth((round as usize + me) % 3).copied().unwrap_or(0);
        succeeds("SCHED_SET", Call::VcpuSchedSet, &[to, 8, 0, 0]).map(drop)
    };
    if talk(me, Way::of, step).is_err() {
        FAILED.fetch_add(1, Ordering::AcqRel);
    }
}

fn by_upcalls(me: usize) {
    let done = upcall::enable().map_err(Failure::from).and_then(|()| talk(me, |_| Way::Upcall, |_| Ok(())));
    if done.is_err() || upcall::disable().is_err() {
        FAILED.fetch_add(1, Ordering::AcqRel);
    }
}

/// The handler of upcalls: counts for the vCPU that it runs on.
fn count(_: u16) {
    cell(&TAKEN, vcpu::current()).fetch_add(1, Ordering::AcqRel);
}

/// How many events there are to be, of both directions together.
fn events(info: &Info) -> u64 {
    info.option("events").and_then(|count| count.parse().ok()).unwrap_or(10_000)
}

/// Lets the pairs of vCPUs talk, and adds up what they have taken.
fn pairs(info: &Info, body: fn(usize)) -> Result<(), Failure> {
    let vcpus = info.vcpus();
    let rounds = events(info) / vcpus as u64;
    ROUNDS.store(rounds, Ordering::Release);
    for vcpu in 0..vcpus {
        let port = event::own_port()?;
        event::bind_vcpu(port, vcpu as u64)?;
        cell(&PORTS, vcpu).store(port.0.bits().into(), Ordering::Release);
    }
    for (number, stack) in (1..vcpus).zip(&STACKS) {
        vcpu::launch(number, stack, body, number)?;
    }
    body(0);
    for number in 1..vcpus as u64 {
        while vcpu::state(number)? != Some(RunState::Off) {
            vcpu::yield_now();
        }
    }
    ensure_equal("vCPUs whose calls were refused", FAILED.load(Ordering::Acquire), 0)?;
    ensure_equal("events that came too early or too late", STRANGE.load(Ordering::Acquire), 0)?;
    let taken: u64 = TAKEN.iter().map(|taken| taken.load(Ordering::Acquire)).sum();
    ensure_equal("events that were taken", taken, rounds * vcpus as u64)?;
    println!("{taken} events, {taken} taken");
    Ok(())
}

/// Two pairs of vCPUs on two or four cores: SEND, SIGNAL_WAIT and KICK in turn race with the other one's wait.
pub(crate) fn ev11_every_event_wakes_who_waits_for_it(info: &Info, _: &Scratch) -> Result<(), Failure> {
    pairs(info, by_calls)
}

/// The same with vCPUs that go to another core between what they say and what they wait for.
pub(crate) fn ev11m_every_event_finds_who_moves(info: &Info, _: &Scratch) -> Result<(), Failure> {
    pairs(info, on_the_move)
}

/// The same with receivers that are interrupted by the event, as they spin or as they fall asleep.
pub(crate) fn ev11u_every_event_interrupts_who_spins_or_sleeps(info: &Info, _: &Scratch) -> Result<(), Failure> {
    upcall::set_handler(count);
    pairs(info, by_upcalls)
}

/// Two VMs: each event is answered by one, and both count.
pub(crate) fn ev11v_every_event_wakes_another_vm(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (other, is_left) = (info.port("other")?, info.option("side") == Some("left"));
    let (rounds, mut state, mut taken) = (events(info) / 2, 0x5eed_0000 + u64::from(is_left), 0);
    for round in 0..rounds {
        dither(&mut state);
        if is_left && round % 2 == 0 {
            let _ = vcpu::signal_wait(other, NO_DEADLINE)?;
        } else if is_left {
            event::send(other)?;
        }
        event::wait(other)?;
        ensure(!EventCells::of_this_vcpu().is_pending(other.0.index()), "one event is two")?;
        taken += 1;
        if !is_left {
            dither(&mut state);
            event::send(other)?;
        }
    }
    println!("{taken} events taken");
    Ok(())
}
