//! Goes from one address space to another, each with memory of its own at the same address, unmaps lazily, and makes and ends
//! a thousand more: as many as use the machine's 255 VMIDs up several times.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::UnmapFlags;
use strato_guest::abi::{AddressSpaceHandle, Ipa, MemHandle};
use strato_guest::memory::{self, AccessError, READ, READ_WRITE, Window};
use strato_guest::{Failure, Info, Needs, Space, address_space, ensure, ensure_equal, println};

strato_guest::entry!(address_spaces, Needs::new().fault_handler());

/// The address that shows another page in each address space.
const PLACE: Ipa = Ipa::new(0x8000_0000).unwrap();
const ROUNDS: u64 = 1000;

fn address_spaces(info: &'static Info) -> Result<(), Failure> {
    let ram = info.mem("ram")?.handle;
    let free = memory::free_ram(info).start - info.ram().start;
    let place = Window::new(PLACE, 2 * PAGE_SIZE).ok_or("no room")?;

    // Three, and a page of its own in each.
    let spaces = [make(ram, free)?, make(ram, free + PAGE_SIZE)?, make(ram, free + 2 * PAGE_SIZE)?];
    for (number, space) in (1..).zip(&spaces) {
        space.within(|| place.store(0, number))??;
    }
    for (number, space) in (1..).zip(&spaces) {
        ensure_equal("the page of a space", space.within(|| place.load(0))??, number)?;
    }
    ensure(is_unmapped(&place), "the first space has none of the pages")?;
    println!("three spaces show three pages at one address");

    // A page of one of them in the first too: what is written here is read there.
    memory::map(ram, free, PLACE, 1, READ_WRITE)?;
    place.store(0, 77)?;
    ensure_equal("the shared page", spaces[0].within(|| place.load(0))??, 77)?;
    println!("a page in two spaces is one page");

    // Many pages unmapped, and one invalidation for all of them.
    memory::map(ram, free, page(1), 1, READ)?;
    for number in 0..2 {
        address_space::unmap(AddressSpaceHandle::CURRENT, page(number), 1, UnmapFlags::NO_SYNC)?;
    }
    address_space::sync(AddressSpaceHandle::CURRENT)?;
    ensure(is_unmapped(&place), "a page that was unmapped")?;
    println!("two pages unmapped with one invalidation");

    // Each has its turn under a number that another one had before: nobody sees the page of an earlier one.
    for round in 0..ROUNDS {
        let offset = free + round % 2 * PAGE_SIZE;
        let space = make(ram, offset)?;
        let (seen, stored) = space.within(|| (place.load(0), place.store(0, 1000 + round)))?;
        stored?;
        // It is one of two pages by turns, and each holds what was stored two rounds before.
        let expected = match round {
            0 => 77,
            1 => 2,
            _ => 998 + round,
        };
        ensure_equal("the page of this round", seen?, expected)?;
    }
    println!("{ROUNDS} spaces made, entered and ended");
    for (expected, space) in [1998, 1999, 3].into_iter().zip(&spaces) {
        ensure_equal("the page of an old space", space.within(|| place.load(0))??, expected)?;
    }
    println!("the three old ones are as they were");
    println!("address_spaces: ok");
    Ok(())
}

/// Returns a space with the program and the page at `offset` in it.
fn make(ram: MemHandle, offset: u64) -> Result<Space<'static>, Failure> {
    let space = Space::new()?;
    space.map_image()?;
    space.map(ram, offset, PLACE, 1, READ_WRITE)?;
    Ok(space)
}

fn page(number: u64) -> Ipa {
    PLACE.checked_add(number * PAGE_SIZE).unwrap_or(PLACE)
}

fn is_unmapped(window: &Window) -> bool {
    matches!(window.load(0), Err(AccessError::Fault(fault)) if fault.is_translation())
}
