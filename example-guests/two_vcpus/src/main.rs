//! An SMP guest: two vCPUs change the same memory under a lock, and tell each other by an event when it is the other's turn to look.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use strato_guest::abi::vcpu::{RunState, YieldHint};
use strato_guest::abi::{Handle, PortHandle};
use strato_guest::vcpu::{self, Stack};
use strato_guest::{Failure, Info, ensure, ensure_equal, event, println};

strato_guest::entry!(two_vcpus);

const VCPUS: usize = 2;
const ROUNDS: u64 = 100;
/// How often a vCPU takes the lock in a round.
const STEPS: u64 = 20;

static STACK: Stack = Stack::new();
/// What the lock guards: words that are the same whenever nobody holds it.
static WORDS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static LOCK: AtomicBool = AtomicBool::new(false);
/// The port of each vCPU, by which the other one interrupts it.
static PORTS: [AtomicU32; VCPUS] = [const { AtomicU32::new(0) }; VCPUS];
/// Rounds that each vCPU is through with.
static DONE: [AtomicU64; VCPUS] = [const { AtomicU64::new(0) }; VCPUS];
static FAILED: AtomicBool = AtomicBool::new(false);

fn two_vcpus(info: &'static Info) -> Result<(), Failure> {
    ensure(info.vcpus() == VCPUS, "the manifest must give this VM two vCPUs")?;
    for (number, place) in (0u64..).zip(&PORTS) {
        let port = event::own_port()?;
        event::bind_vcpu(port, number)?;
        place.store(port.0.bits(), Ordering::Relaxed);
    }
    vcpu::launch(1, &STACK, second, 0)?;
    run(0)?;
    while vcpu::state(1)? != Some(RunState::Off) {
        vcpu::yield_now();
    }
    ensure(!FAILED.load(Ordering::Relaxed), "the second vCPU failed")?;
    println!("{ROUNDS} rounds, none before the other vCPU was there");
    for word in &WORDS {
        ensure_equal("a word", word.load(Ordering::Relaxed), VCPUS as u64 * ROUNDS * STEPS)?;
    }
    println!("no step was lost: {} under one lock", VCPUS as u64 * ROUNDS * STEPS);
    println!("two_vcpus: ok");
    Ok(())
}

fn second(_: usize) {
    FAILED.fetch_or(run(1).is_err(), Ordering::Relaxed);
}

fn done(vcpu: usize) -> &'static AtomicU64 {
    if vcpu == 0 { &DONE[0] } else { &DONE[1] }
}

fn port(vcpu: usize) -> PortHandle {
    PortHandle(Handle::from_bits(PORTS.get(vcpu).map_or(0, |port| port.load(Ordering::Relaxed))))
}

/// Takes part in every round on vCPU `me`.
fn run(me: usize) -> Result<(), Failure> {
    let other = 1 - me;
    for round in 1..=ROUNDS {
        for _ in 0..STEPS {
            locked(other as u64, || {
                let first = WORDS.first().map_or(0, |word| word.load(Ordering::Relaxed));
                for word in &WORDS {
                    ensure_equal("a word", word.load(Ordering::Relaxed), first)?;
                    word.store(first + 1, Ordering::Relaxed);
                }
                Ok(())
            })?;
        }
        // The other one waits for this: an interrupt from one vCPU to another is an event to a port of its own VM. Two may be taken
        // as one, so that what was done stands in memory.
        done(me).store(round, Ordering::Release);
        event::send(port(other))?;
        while done(other).load(Ordering::Acquire) < round {
            event::wait(port(me))?;
        }
    }
    Ok(())
}

/// Does `work` while nobody else does. While the other vCPU has the lock, this one gives it its turn: they may share a core.
fn locked(other: u64, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    while LOCK.swap(true, Ordering::Acquire) {
        vcpu::yield_to(YieldHint::Vcpu, other)?;
    }
    let done = work();
    LOCK.store(false, Ordering::Release);
    done
}
