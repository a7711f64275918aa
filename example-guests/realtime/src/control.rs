//! The guests with a share of time: one looks at how late it is, one at how much it has.

use ::core::str::FromStr;

use strato_guest::{Failure, Info, println, time, vcpu, vcpu_area};

/// Periods in a row in which a share may be looked at.
const SPAN: usize = 100;
/// Ticks between two looks at the counter that the guest does not take itself.
const NOTICED: u64 = 100;

fn option<N: FromStr>(info: &Info, name: &str) -> Option<N> {
    info.option(name)?.parse().ok()
}

/// Works for a quarter of the budget in each period, and prints how that went.
pub(crate) fn control(info: &'static Info) -> Result<(), Failure> {
    let share = info.sched("control")?;
    let (work, period) = (share.budget_ticks / 4, share.period_ticks);
    let periods = option(info, "periods").unwrap_or(1000);
    let (mut due, mut misses, mut worst, mut least) = (time::counter() + period, 0, 0, period);
    let (bar, mut above, mut longest) = (option(info, "bar"), 0, 0);
    let interrupts = || vcpu_area::record(0).map(|record| record.exits[1]);
    for _ in 0..periods {
        let before = interrupts();
        vcpu::wait(due)?;
        let begun = time::counter();
        (worst, least) = (worst.max(begun - due), least.min(begun - due));
        if interrupts() == before {
            longest = longest.max(begun - due); // else it had the core before, for no instruction
        }
        above += u64::from(bar.is_some_and(|bar| begun - due > bar));
        while time::counter() < begun + work {}
        due += period;
        if time::counter() > due {
            misses += 1;
            due = time::counter() + period; // what was missed is not made up for
        }
    }
    let period_us = period * 1_000_000 / time::counter_hz();
    println!("{periods} periods of {period_us} us: {misses} missed, at worst {worst} ticks late");
    if let Some(bar) = bar {
        println!("more than {bar} ticks late: {above}");
    }
    // What a switch takes when it waits for nothing is the least.
    let longest = longest.saturating_sub(least);
    println!("longest {longest} trap: a turn of a core on which much is due, by how late a share is");
    Ok(())
}

/// Takes all of the share in each period, and prints how far it was from what is promised in any [`SPAN`] periods in a row.
pub(crate) fn share(info: &'static Info) -> Result<(), Failure> {
    let share = info.sched("share")?;
    let (budget, period) = (share.budget_ticks, share.period_ticks);
    let mut had = [(0, 0); SPAN];
    let (mut now, mut own, mut most) = (time::counter(), 0, 0);
    for count in 0..option(info, "periods").unwrap_or(2 * SPAN) {
        // When it has nothing left it does not go on before the next period. What is shorter is the hypervisor's, or who comes first has the core.
        loop {
            let before = core::mem::replace(&mut now, time::counter());
            match now - before {
                ticks if ticks > period / 4 => break,
                ticks if ticks < NOTICED => own += ticks,
                _ => {}
            }
        }
        let Some(place) = had.get_mut(count % SPAN) else { continue };
        let (since, before) = core::mem::replace(place, (now, own));
        if count >= SPAN {
            let promised = (now - since + period / 2) / period * budget;
            most = most.max((own - before).abs_diff(promised) * 100 / promised);
        }
    }
    println!("less than {} % off in any {SPAN} periods", most + 1);
    Ok(())
}
