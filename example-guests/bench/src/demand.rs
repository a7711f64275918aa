//! What a page costs that appears when it is touched: the access, the abort, the handler and its AS.MAP, the access again.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::{Handle, Ipa, MemHandle};
use strato_guest::fault::{self, Action, Fault};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::{Failure, ensure_equal};

use crate::clock::Clock;
use crate::pages::Free;
use crate::{COUNT, PASSES, measure, report};

/// Where pages appear; the one behind them stays mapped, so that the tables are there.
const PLACE: Ipa = Ipa::new(0x8010_0000).unwrap();

/// The VM's memory and what is free of it. Relaxed: written once, before the handler is set.
static RAM: AtomicU64 = AtomicU64::new(0);
static OFFSET: AtomicU64 = AtomicU64::new(0);
/// Faults so far. Relaxed: one vCPU counts.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// Maps the page that was touched.
fn map_on_demand(fault: &Fault) -> Action {
    let Some(address) = Ipa::new(fault.address) else { return Action::Panic };
    let page = address.page_base();
    let (ram, free) = (RAM.load(Ordering::Relaxed), OFFSET.load(Ordering::Relaxed));
    let offset = free.wrapping_add(page.bytes()).wrapping_sub(PLACE.bytes());
    FAULTS.fetch_add(1, Ordering::Relaxed);
    let Ok(bits) = u32::try_from(ram) else { return Action::Panic };
    match memory::map(MemHandle(Handle::from_bits(bits)), offset, page, 1, READ_WRITE) {
        Ok(()) => Action::Retry,
        Err(_) => Action::Panic,
    }
}

/// Measures a load from a page that is not there; its tables are.
pub(crate) fn run(clock: impl Clock, free: Free) -> Result<(), Failure> {
    RAM.store(free.ram.0.bits().into(), Ordering::Relaxed);
    OFFSET.store(free.offset, Ordering::Relaxed);
    fault::set_handler(map_on_demand);
    let window = Window::new(PLACE, (COUNT + 1) * PAGE_SIZE).ok_or("no room")?;
    window.load(COUNT * PAGE_SIZE)?;
    let mut ticks = 0;
    for _ in 0..PASSES {
        ticks = measure(clock, |n| window.load(n * PAGE_SIZE).map(drop))?;
        // There now: the loop and the load alone.
        ticks = ticks.saturating_sub(measure(clock, |n| window.load(n * PAGE_SIZE).map(drop))?);
        memory::unmap(PLACE, COUNT)?;
    }
    ensure_equal("a fault for each page", FAULTS.load(Ordering::Relaxed), 1 + PASSES * COUNT)?;
    report(clock, "page_fault_map_return", ticks);
    Ok(())
}
