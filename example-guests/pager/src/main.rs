//! Maps, writes, protects, reads back and unmaps pages by calls, and proves each step by touching them: what must fault
//! faults and is handled, what must work works.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::{Ipa, MemHandle};
use strato_guest::fault::{self, Action, Fault};
use strato_guest::memory::{self, AccessError, READ, READ_WRITE, Window};
use strato_guest::{Failure, Info, Needs, ensure, ensure_equal, info, println};

strato_guest::entry!(pager, Needs::new().fault_handler());

const PLACE: Ipa = Ipa::new(0x8000_0000).unwrap();
const ALIAS: Ipa = Ipa::new(0x9000_0000).unwrap();
/// Where pages appear when they are touched, and how many.
const ON_DEMAND: Ipa = Ipa::new(0xa000_0000).unwrap();
const PAGES: u64 = 16;

static FAULTS: AtomicU64 = AtomicU64::new(0);

fn pager(info: &'static Info) -> Result<(), Failure> {
    let (ram, free) = free_ram(info)?;
    let place = Window::new(PLACE, PAGE_SIZE).ok_or("no room")?;
    let alias = Window::new(ALIAS, PAGE_SIZE).ok_or("no room")?;

    step("unmapped, a load faults", is_unmapped(&place))?;
    memory::map(ram, free, PLACE, 1, READ_WRITE)?;
    place.store(0, 0x1234)?;
    step("mapped, the page keeps what is written", place.load(0)? == 0x1234)?;
    memory::map(ram, free, ALIAS, 1, READ)?;
    step("mapped again elsewhere, both addresses show it", alias.load(0)? == 0x1234)?;
    step("the read-only address refuses a store", is_read_only(&alias))?;
    memory::protect(PLACE, 1, READ)?;
    step("protected, the first one refuses it too", is_read_only(&place) && place.load(0)? == 0x1234)?;
    memory::protect(PLACE, 1, READ_WRITE)?;
    place.store(0, 0x5678)?;
    step("writable again, it takes a store", alias.load(0)? == 0x5678)?;
    memory::unmap(PLACE, 1)?;
    step("unmapped again, a load faults", is_unmapped(&place))?;
    step("the other address still shows the page", alias.load(0)? == 0x5678)?;

    // From here on the handler maps a page when something touches it.
    fault::set_handler(map_on_demand);
    let demand = Window::new(ON_DEMAND, PAGES * PAGE_SIZE).ok_or("no room")?;
    for page in 0..PAGES {
        demand.store(page * PAGE_SIZE, page)?;
    }
    for page in 0..PAGES {
        ensure_equal("a page on demand", demand.load(page * PAGE_SIZE)?, page)?;
    }
    step("on demand, 16 pages took 16 faults", FAULTS.load(Ordering::Relaxed) == PAGES)?;
    println!("pager: ok");
    Ok(())
}

/// Returns the handle of the VM's own memory and the offset of its first free page.
fn free_ram(info: &Info) -> Result<(MemHandle, u64), Failure> {
    Ok((info.mem("ram")?.handle, memory::free_ram(info).start - info.ram().start))
}

fn is_unmapped(window: &Window) -> bool {
    matches!(window.load(0), Err(AccessError::Fault(fault)) if fault.is_translation() && !fault.is_write())
}

fn is_read_only(window: &Window) -> bool {
    matches!(window.store(0, 1), Err(AccessError::Fault(fault)) if fault.is_permission() && fault.is_write())
}

/// Maps the next free page where it was touched, and lets the access be tried again.
fn map_on_demand(fault: &Fault) -> Action {
    let (Some(address), Ok((ram, free))) = (Ipa::new(fault.address), free_ram(info::get())) else {
        return Action::Panic;
    };
    let number = 1 + FAULTS.fetch_add(1, Ordering::Relaxed);
    match memory::map(ram, free + number * PAGE_SIZE, address.page_base(), 1, READ_WRITE) {
        Ok(()) if fault.is_translation() && address >= ON_DEMAND => Action::Retry,
        Ok(()) | Err(_) => Action::Panic,
    }
}

fn step(what: &'static str, holds: bool) -> Result<(), Failure> {
    ensure(holds, what)?;
    println!("{what}");
    Ok(())
}
