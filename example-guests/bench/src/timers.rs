//! What a timer takes from its deadline to the first instruction of the vector that takes the upcall.

use strato_guest::time::Instant;
use strato_guest::{Failure, LocalTimer, Timer, time, upcall, vcpu};

use crate::clock::Ticks;
use crate::{COUNT, PASSES, arch, report};

/// Ticks ahead: more than setting a timer takes.
const AHEAD: u64 = 5000;

/// Measures both timers.
pub(crate) fn run() -> Result<(), Failure> {
    let (timer, local) = (Timer::new()?, LocalTimer::new()?);
    upcall::set_handler(|_| {});
    arch::watch_line();
    upcall::enable()?;
    // Until the console has sent what was printed, whose interrupts would be counted too.
    vcpu::wait(time::deadline_in(50_000))?;
    figure("timer_to_handler", |deadline| timer.once(deadline))?;
    figure("local_timer_to_handler", |deadline| {
        local.arm(deadline);
        Ok(())
    })?;
    upcall::disable()?;
    Ok(())
}

fn figure(name: &str, set: impl Fn(Instant) -> strato_guest::Result<()>) -> Result<(), Failure> {
    let mut ticks = 0;
    for _ in 0..PASSES {
        ticks = 0;
        for _ in 0..COUNT {
            arch::forget_line();
            let deadline = time::counter() + AHEAD;
            set(Instant::from_ticks(deadline))?;
            while arch::line_taken() == 0 {}
            // The vector reads the counter with its second instruction.
            ticks += arch::line_taken().saturating_sub(deadline + 1);
        }
    }
    report(Ticks, name, ticks);
    Ok(())
}
