//! Counts what the calls cost. A value is ticks of CNTVCT_EL0 per operation; on the bench machine one tick is one
//! instruction. Each figure is the mean of many operations, the empty loop subtracted, rounded up, measured on the second
//! run, when caches and tables have warmed up; the same in every run on the same machine.
//!
//! Three VMs on one core: `role=a` measures, `role=b` (partner.rs) is the other end of its round trips, `role=urgent` is above
//! both.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod arch;
mod clock;
mod cores;
mod demand;
mod lending;
mod longest;
mod masked;
mod meter;
mod own;
mod pages;
mod partner;
mod shares;
mod stream;
mod timers;
mod urgent;

use strato_guest::abi::PortHandle;
use strato_guest::abi::vcpu::YieldHint;
use strato_guest::time::CycleCounter;
use strato_guest::{Failure, Info, Needs, core, event, println, time, vcpu};

use crate::clock::{Clock, Ticks};

strato_guest::entry!(bench, Needs::new().port("to_other").port("quiet").fault_handler().stack(32 * 1024));

/// Operations of each figure, and how often each is measured; the last time counts.
const COUNT: u64 = 128;
const PASSES: u64 = 2;

fn bench(info: &'static Info) -> Result<(), Failure> {
    let (other, quiet) = (info.port("to_other")?, info.port("quiet")?);
    if let Some(role @ ("longest" | "borrower")) = info.option("role") {
        return longest(info, role == "longest", other);
    }
    if let Some(role @ ("wide" | "wide_b")) = info.option("role") {
        return wide(info, role == "wide", other, quiet);
    }
    if let Some(role @ ("sender" | "receiver")) = info.option("role") {
        if role == "sender" {
            cores::sender(info, other)?
        } else {
            cores::receiver(info, other)?
        }
        println!("bench: ok");
        return Ok(());
    }
    if info.option("role") == Some("urgent") {
        urgent::run(other)?;
        println!("bench: ok");
        return Ok(());
    }
    if info.option("role") == Some("b") {
        partner::run(other, quiet)?;
        let peer = info.peer("a")?;
        stream::receive(peer, other, quiet)?;
        shares::offer(info, peer, other)?;
        println!("bench: ok");
        return Ok(());
    }
    if info.option("counter") == Some("cycles") {
        return measured(info, other, quiet, CycleCounter::of(info).ok_or("the system has no `cycle_counter`")?);
    }
    measured(info, other, quiet, Ticks)
}

/// Measures, by `clock`, all but what is measured from a deadline on, whose figures are ticks.
fn measured(info: &'static Info, other: PortHandle, quiet: PortHandle, clock: impl Clock) -> Result<(), Failure> {
    // The partner waits: nobody else wants the core.
    event::wait(other)?;
    figure(clock, "null_call", |_| core::nop().map(drop))?;
    figure(clock, "yield_alone", |_| vcpu::yield_to(YieldHint::Any, 0))?;
    pages::run(info, clock)?;
    own::run(clock)?;
    timers::run()?;

    // The partner yields as well: each yield comes back after one of the other side.
    event::send(other)?;
    vcpu::yield_now();
    figure(clock, "yield_round_trip_two_vms_one_core", |_| vcpu::yield_to(YieldHint::Any, 0))?;

    // It takes each event before the next one is sent. It is ready but not on the core, so that it need not be woken.
    event::send(other)?;
    first_event(clock, quiet)?;

    // The partner answers each event with one, and both wait in between.
    event::send(other)?;
    event::wait(other)?;
    figure(clock, "event_round_trip_two_vms_one_core", |_| partner::turn_by_two(other))?;
    figure(clock, "signal_wait_round_trip", |_| partner::turn(other))?;
    event::send(other)?;

    // One of a higher priority waits for deadlines, which come while this one computes.
    urgent::be_preempted(info.port("urgent")?)?;

    // It reads what is sent, then offers what is accepted.
    let peer = info.peer("b")?;
    stream::send(clock, peer, (other, quiet))?;
    shares::accept(clock, info, peer, other)?;
    println!("bench ticks_per_second {}", time::counter_hz());
    println!("bench: ok");
    Ok(())
}

/// Measures yields with 62 vCPUs more in the queue, then `event_send` with a table of handles that is full of ports, of which the two that are used are the first.
fn wide(info: &Info, is_sender: bool, other: PortHandle, quiet: PortHandle) -> Result<(), Failure> {
    let peer = info.peer(if is_sender { "b" } else { "a" })?;
    // As long as neither waits, nobody of a lower priority runs, and all are ready.
    if is_sender {
        figure(Ticks, "yield_round_trip_two_vms_one_core", |_| vcpu::yield_to(YieldHint::Any, 0))?;
        event::send(other)?;
    } else {
        partner::give_way(other);
    }
    while event::offer(peer).is_ok() {}
    if is_sender {
        event::wait(other)?;
        first_event(Ticks, quiet)?;
        event::send(other)?;
    } else {
        event::send(other)?;
        partner::take(other, quiet)?;
    }
    println!("bench: ok");
    Ok(())
}

/// Looks for the longest call and trap; the other VM is the far end of the shares.
fn longest(info: &Info, is_owner: bool, other: PortHandle) -> Result<(), Failure> {
    let meter = meter::Meter::new();
    // Until the console has sent what boot said, whose interrupts would be counted too.
    vcpu::wait(time::deadline_in(100))?;
    if is_owner {
        longest::run(info, &meter)?;
        lending::owner(&meter, info.peer("borrower")?, other)?;
        masked::end_of_vm(&meter, other);
        masked::run(&meter, info.peer("borrower")?)?;
    } else {
        lending::borrower(&meter, info.mem("ram")?.handle, info.peer("owner")?, other)?;
    }
    meter.print();
    println!("bench: ok");
    Ok(())
}

/// Measures raising a port that is not pending and whose vCPU is not woken.
fn first_event(clock: impl Clock, port: PortHandle) -> Result<(), Failure> {
    let mut ticks = 0;
    for _ in 0..PASSES {
        let empty = spans(clock, || Ok(()))?;
        ticks = spans(clock, || event::send(port))?.saturating_sub(empty);
    }
    report(clock, "event_send", ticks);
    Ok(())
}

/// Returns the ticks of [`COUNT`] operations, with the reading of the counter; the partner has its turn after each.
fn spans(clock: impl Clock, operation: impl Fn() -> strato_guest::Result<()>) -> Result<u64, Failure> {
    let mut ticks = 0;
    for _ in 0..COUNT {
        let start = clock.now();
        operation()?;
        ticks += clock.now() - start;
        vcpu::yield_now();
    }
    Ok(ticks)
}

/// Measures `operation` and prints the last result.
fn figure(clock: impl Clock, name: &str, operation: impl Fn(u64) -> strato_guest::Result<()>) -> Result<(), Failure> {
    let mut ticks = 0;
    for _ in 0..PASSES {
        ticks = measure(clock, &operation)?;
    }
    report(clock, name, ticks);
    Ok(())
}

fn report<C: Clock>(_: C, name: &str, ticks: u64) {
    println!("{} {name} {}", C::ROW, ticks.div_ceil(COUNT));
}

/// Returns the ticks of [`COUNT`] operations without the loop around them.
fn measure<E>(clock: impl Clock, operation: impl Fn(u64) -> Result<(), E>) -> Result<u64, E> {
    let empty = timed(clock, |_| Ok(()))?;
    Ok(timed(clock, operation)?.saturating_sub(empty))
}

/// Returns the ticks of a loop of [`COUNT`] operations.
#[inline(always)]
fn timed<E>(clock: impl Clock, operation: impl Fn(u64) -> Result<(), E>) -> Result<u64, E> {
    let start = clock.now();
    for n in 0..COUNT {
        // The black box keeps the empty loop a loop.
        operation(::core::hint::black_box(n))?;
    }
    Ok(clock.now() - start)
}
