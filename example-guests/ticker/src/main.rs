//! A periodic timer: waits for each of its events, and shows how late they came as a histogram.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::time::Duration;

use strato_guest::abi::time::ClockKind;
use strato_guest::time::{self, Instant};
use strato_guest::{Failure, Info, LocalTimer, Timer, ensure, println};

strato_guest::entry!(ticker);

const TICKS: u32 = 100;
const PERIOD: Duration = Duration::from_millis(1);
/// Upper ends of the histogram's rows, in microseconds; the last row has none.
const ROWS: [u128; 5] = [1, 10, 100, 1000, u128::MAX];

fn ticker(_: &'static Info) -> Result<(), Failure> {
    let start = Instant::now();
    let first = start.after(PERIOD);
    let timer = Timer::new()?;
    timer.periodic(first, PERIOD)?;
    let (mut rows, mut due, mut events) = ([0u32; ROWS.len()], first, 0u32);
    while due < first.after(PERIOD * TICKS) {
        timer.wait()?;
        let now = Instant::now();
        ensure(now.after(PERIOD) >= due, "a timer is never early")?;
        if now < due {
            continue; // for a moment that came between the event before and the look at the clock, and was counted there
        }
        // Events that were not taken in time are one: the grid tells which moment this one is for.
        while due.after(PERIOD) <= now {
            due = due.after(PERIOD);
        }
        events += 1;
        let late = now.since(due).as_micros();
        if let Some((_, count)) = ROWS.iter().zip(&mut rows).find(|(end, _)| late < **end) {
            *count += 1;
        }
        due = due.after(PERIOD);
    }
    ensure(timer.cancel()?, "a periodic timer goes on until it is canceled")?;
    ensure(start.elapsed() >= PERIOD * TICKS, "so many periods have passed")?;
    show(&rows, events);

    // The vCPU's own timer does the same without a call; its event comes by the same way.
    let own = LocalTimer::new()?;
    let deadline = Instant::now().after(PERIOD);
    own.arm(deadline);
    own.wait()?;
    ensure(Instant::now() >= deadline, "a timer is never early")?;
    println!("the vCPU's own timer came once");

    let (run, all) = (time::clock(ClockKind::Run)?, time::clock(ClockKind::Monotonic)?);
    ensure(run.ns < all.ns, "a vCPU that waits does not run")?;
    println!("ticker: ok");
    Ok(())
}

/// Prints how many events came how late.
fn show(rows: &[u32], events: u32) {
    println!("{events} events of {TICKS} periods of {} us", PERIOD.as_micros());
    for (end, count) in ROWS.iter().zip(rows) {
        if *end == u128::MAX {
            println!("later        {count:>4}");
        } else {
            println!("below {end:>4} us {count:>3}");
        }
    }
}
