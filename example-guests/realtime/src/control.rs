//! The guest with the share of time, which looks at how late it is.

use strato_guest::{Failure, Info, println, time, vcpu};

/// Works for a quarter of the budget in each period, and prints how that went.
pub(crate) fn control(info: &'static Info) -> Result<(), Failure> {
    let share = info.sched("control")?;
    let (work, period) = (share.budget_ticks / 4, share.period_ticks);
    let periods: u64 = info.option("periods").and_then(|text| text.parse().ok()).unwrap_or(1000);
    let (mut due, mut misses, mut worst, mut least) = (time::counter() + period, 0, 0, period);
    for _ in 0..periods {
        vcpu::wait(due)?;
        let begun = time::counter();
        (worst, least) = (worst.max(begun - due), least.min(begun - due));
        while time::counter() < begun + work {}
        due += period;
        if time::counter() > due {
            misses += 1;
            due = time::counter() + period; // what was missed is not made up for
        }
    }
    let period_us = period * 1_000_000 / time::counter_hz();
    println!("{periods} periods of {period_us} us: {misses} missed, at worst {worst} ticks late");
    // What a switch takes when it waits for nothing is the least.
    println!("longest {} trap: a turn of a core on which much is due, by how late a share is", worst - least);
    Ok(())
}
