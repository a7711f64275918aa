//! The longest memory call: each with the worst arguments that reading the hypervisor gave. A call is measured from before its HVC to
//! behind it; its interrupts are masked for as long.

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::UnmapFlags;
use strato_guest::abi::mem::MemoryType;
use strato_guest::abi::{AddressSpaceHandle, Ipa, MemHandle};
use strato_guest::address_space::via as space;
use strato_guest::mem::via as mem;
use strato_guest::memory::{READ, READ_WRITE, map_on, protect_on, unmap_on};
use strato_guest::{Failure, Info, Result, core};

use crate::meter::Meter;

/// Pages of a call.
pub(crate) const UNITS: u64 = 128;
const BLOCK: u64 = 2 << 20;
/// A boundary between two tables of level 2, and of level 3; what lies around it uses two tables of each.
pub(crate) const EDGE: u64 = 0xc000_0000;
const HERE: AddressSpaceHandle = AddressSpaceHandle::CURRENT;

pub(crate) fn at(bytes: u64) -> Ipa {
    Ipa::new(bytes).unwrap_or(Ipa::new(0).unwrap_or_else(|| unreachable!("zero is an address")))
}

/// Returns the first address of [`UNITS`] pages, half of them on each side of the edge.
fn around() -> Ipa {
    at(EDGE - UNITS / 2 * PAGE_SIZE)
}

/// Returns a new object.
pub(crate) fn object(meter: &Meter, pages: u64) -> Result<MemHandle> {
    loop {
        if let Some(object) = mem::alloc(meter, pages, MemoryType::Normal)?.mem {
            return Ok(object);
        }
    }
}

/// Gives an object back.
pub(crate) fn free(meter: &Meter, object: MemHandle) -> Result<()> {
    while mem::free(meter, object)?.left != 0 {}
    Ok(())
}

/// What [`UNITS`] neighboring pages show: an object, and bytes into it.
pub(crate) type Shown = [(MemHandle, u64); 128];

/// Makes every call of groups MEM and AS.
pub(crate) fn run(info: &Info, meter: &Meter) -> ::core::result::Result<(), Failure> {
    let ram = info.mem("ram")?.handle;
    meter.case("objects of a page each");
    let mut objects: Shown = [(ram, 0); 128];
    for (place, _) in &mut objects {
        *place = object(meter, 1)?;
    }
    meter.case("128 pages of 128 objects, one after the other in memory");
    neighbors(meter, &objects)?;
    // One after the other in memory would be one piece to the tables: now each neighbor is another one's.
    objects.chunks_exact_mut(4).for_each(|four| four.reverse());

    contiguous(meter, ram)?;
    meter.case("128 pages of 128 objects, four tables");
    scattered(meter, &objects)?;
    meter.case("128 pages of two objects by turns, four tables");
    // Far from their starts, by which the ledger finds them.
    let large = object(meter, 8192)?;
    let turn = |n: u64| if n.is_multiple_of(2) { ram } else { large };
    let place = |n: u64| (turn(n), 4 * BLOCK - (2 * n + 1) * PAGE_SIZE);
    let by_turns: Shown = ::core::array::from_fn(|n| place(n as u64));
    scattered(meter, &by_turns)?;
    blocks(meter, ram)?;
    late(meter, ram, &by_turns)?;
    spaces(meter, ram, &by_turns)?;
    meter.case("an object of up to 32 MiB");
    free(meter, large)?;
    looked_up(meter, &objects)?;
    sizes(meter)?;
    meter.case("handles of a table of 1,024");
    for (object, _) in objects {
        core::via::handle_info(meter, object.0)?;
        free(meter, object)?;
    }
    Ok(())
}

/// Pages in two tables of level 3 and two of level 2, which the call makes and ends.
fn contiguous(meter: &Meter, ram: MemHandle) -> Result<()> {
    meter.case("128 pages, four tables");
    map_on(meter, ram, BLOCK, around(), UNITS, READ_WRITE)?;
    protect_on(meter, around(), UNITS, READ)?;
    unmap_on(meter, around(), UNITS)?;
    meter.case("128 pages with rights by turns, four tables");
    map_on(meter, ram, BLOCK, around(), UNITS, READ_WRITE)?;
    for n in 0..UNITS / 2 {
        protect_on(meter, at(around().bytes() + 2 * n * PAGE_SIZE), 1, READ)?;
    }
    unmap_on(meter, around(), UNITS)
}

/// Shows them at neighboring pages of a space.
pub(crate) fn show(meter: &Meter, in_space: AddressSpaceHandle, from: Ipa, shown: &Shown) -> Result<()> {
    for (n, (object, offset)) in (0..).zip(shown) {
        space::map(meter, in_space, at(from.bytes() + n * PAGE_SIZE), *object, *offset, 1, READ_WRITE)?;
    }
    Ok(())
}

/// Unmaps [`UNITS`] pages, in as many calls as that takes: after a call with NO_SYNC the next one has what that left.
pub(crate) fn unmap_all(meter: &Meter, in_space: AddressSpaceHandle, from: Ipa, flags: UnmapFlags) -> Result<()> {
    let mut done = 0;
    while done < UNITS {
        done += space::unmap(meter, in_space, at(from.bytes() + done * PAGE_SIZE), UNITS - done, flags)?;
    }
    Ok(())
}

fn protect_all(meter: &Meter, from: Ipa, flags: UnmapFlags) -> Result<()> {
    let mut done = 0;
    while done < UNITS {
        done += space::protect(meter, HERE, at(from.bytes() + done * PAGE_SIZE), UNITS - done, READ, flags)?;
    }
    Ok(())
}

/// Pages that are no neighbors in memory.
fn scattered(meter: &Meter, objects: &Shown) -> Result<()> {
    for flags in [UnmapFlags::empty(), UnmapFlags::NO_SYNC] {
        show(meter, HERE, around(), objects)?;
        protect_all(meter, around(), flags)?;
        unmap_all(meter, HERE, around(), flags)?;
    }
    space::sync(meter, HERE)
}

/// Pages that are neighbors in memory, each of an object of its own: one piece to the tables, and as many to the ledger.
fn neighbors(meter: &Meter, objects: &Shown) -> Result<()> {
    scattered(meter, objects)?;
    // In one table that keeps another page.
    let (here, left) = (at(EDGE + PAGE_SIZE), at(EDGE + 2 * UNITS * PAGE_SIZE));
    show(meter, HERE, left, objects)?;
    show(meter, HERE, here, objects)?;
    unmap_on(meter, here, UNITS)?;
    show(meter, HERE, here, objects)?;
    let done = space::unmap(meter, HERE, left, UNITS, UnmapFlags::NO_SYNC)?;
    unmap_on(meter, here, UNITS)?;
    unmap_on(meter, at(left.bytes() + done * PAGE_SIZE), UNITS - done)
}

/// Two blocks, of which the call cuts 64 pages each off.
fn cut(meter: &Meter, ram: MemHandle) -> Result<()> {
    // Not in the order in which they are mapped, so that they are two pieces.
    map_on(meter, ram, 4 * BLOCK, at(EDGE - BLOCK), 512, READ_WRITE)?;
    map_on(meter, ram, 2 * BLOCK, at(EDGE), 512, READ_WRITE)
}

fn uncut(meter: &Meter) -> Result<()> {
    unmap_on(meter, at(EDGE - BLOCK), 512 - UNITS / 2)?;
    unmap_on(meter, at(EDGE + UNITS / 2 * PAGE_SIZE), 512 - UNITS / 2)
}

fn blocks(meter: &Meter, ram: MemHandle) -> Result<()> {
    meter.case("128 pages out of two blocks");
    for flags in [UnmapFlags::empty(), UnmapFlags::NO_SYNC] {
        cut(meter, ram)?;
        unmap_all(meter, HERE, around(), flags)?;
        uncut(meter)?;
        cut(meter, ram)?;
        protect_all(meter, around(), flags)?;
        unmap_on(meter, around(), UNITS)?;
        uncut(meter)?;
    }
    meter.case("64 pages, 29 blocks and 34 pages");
    map_on(meter, ram, 2 * BLOCK - 64 * PAGE_SIZE, at(EDGE - 64 * PAGE_SIZE), 64 + 29 * 512 + 34, READ_WRITE)?;
    protect_on(meter, at(EDGE - 64 * PAGE_SIZE), 64 + 29 * 512 + 34, READ)?;
    unmap_on(meter, at(EDGE - 64 * PAGE_SIZE), 64 + 29 * 512 + 34)
}

/// What a call before left to it: 128 pages of two objects by turns, to be invalidated and told to the ledger.
fn late(meter: &Meter, ram: MemHandle, objects: &Shown) -> ::core::result::Result<(), Failure> {
    let elsewhere = at(0x8010_0000 - 64 * PAGE_SIZE);
    let leave = || {
        show(meter, HERE, elsewhere, objects)?;
        unmap_all(meter, HERE, elsewhere, UnmapFlags::NO_SYNC)
    };
    meter.case("after NO_SYNC of 128 pages by turns");
    leave()?;
    space::sync(meter, HERE)?;
    leave()?;
    map_on(meter, ram, BLOCK, around(), UNITS, READ_WRITE)?;
    leave()?;
    unmap_on(meter, around(), UNITS)?;
    meter.case("128 pages out of two blocks, after NO_SYNC of 128 pages by turns");
    for flags in [UnmapFlags::empty(), UnmapFlags::NO_SYNC] {
        cut(meter, ram)?;
        leave()?;
        unmap_all(meter, HERE, around(), flags)?;
        uncut(meter)?;
        cut(meter, ram)?;
        leave()?;
        protect_all(meter, around(), flags)?;
        unmap_on(meter, around(), UNITS)?;
        uncut(meter)?;
    }
    meter.case("half of 16 MiB, after NO_SYNC of 128 pages by turns");
    let large = object(meter, 4096)?;
    leave()?;
    let second = mem::split(meter, large, 2048 * PAGE_SIZE)?;
    leave()?;
    free(meter, second)?;
    leave()?;
    Ok(free(meter, large)?)
}

/// The same in another space, and the steps of its end.
fn spaces(meter: &Meter, ram: MemHandle, objects: &Shown) -> Result<()> {
    meter.case("in another space, after NO_SYNC of 128 pages by turns in the first");
    let other = space::create(meter)?;
    show(meter, HERE, around(), objects)?;
    unmap_all(meter, HERE, around(), UnmapFlags::NO_SYNC)?;
    show(meter, other, around(), objects)?;
    show(meter, HERE, around(), objects)?;
    unmap_all(meter, HERE, around(), UnmapFlags::NO_SYNC)?;
    unmap_all(meter, other, around(), UnmapFlags::NO_SYNC)?;
    show(meter, other, around(), objects)?;

    meter.case("a space of many tables, with 128 pages by turns");
    for n in 0..100 {
        space::map(meter, other, at(0x1_0000_0000 + n * BLOCK), ram, BLOCK + n * PAGE_SIZE, 1, READ)?;
    }
    for n in 0..32 {
        space::map(meter, other, at(0x10_0000_0000 + (n << 30)), ram, BLOCK + n * PAGE_SIZE, 1, READ)?;
    }
    while space::destroy(meter, other)?.left != 0 {}

    meter.case("a space of 64 MiB of pages and many tables");
    let other = space::create(meter)?;
    for n in 0..120 {
        // Not where a block would fit.
        let step = space::map(
            meter,
            other,
            at(EDGE + PAGE_SIZE + n * UNITS * PAGE_SIZE),
            ram,
            n * UNITS * PAGE_SIZE,
            UNITS,
            READ,
        )?;
        let _ = step.done;
    }
    while space::destroy(meter, other)?.left != 0 {}
    Ok(())
}

/// Looking an address up, among many handles.
fn looked_up(meter: &Meter, objects: &Shown) -> Result<()> {
    meter.case("the last of many objects");
    show(meter, HERE, around(), objects)?;
    for n in 0..UNITS {
        space::query(meter, HERE, at(around().bytes() + n * PAGE_SIZE))?;
    }
    unmap_on(meter, around(), UNITS)?;
    meter.case("nothing mapped");
    let _ = space::query(meter, HERE, around());
    Ok(())
}

/// Objects of every size, cut down to a page and given back.
fn sizes(meter: &Meter) -> Result<()> {
    for pages in [1, 2, 16, 32, 512, 4096, 8192] {
        meter.case("an object of up to 32 MiB");
        let object = object(meter, pages)?;
        mem::info(meter, object)?;
        free(meter, object)?;
    }
    meter.case("halves down to a page, and back");
    let whole = object(meter, 8192)?;
    let (mut pages, mut halves, mut count) = (8192, [whole; 16], 0);
    while pages > 1 {
        pages /= 2;
        if let Some(place) = halves.get_mut(count) {
            *place = mem::split(meter, whole, pages * PAGE_SIZE)?;
        }
        count += 1;
    }
    for half in halves.iter().take(count).rev() {
        free(meter, *half)?;
    }
    free(meter, whole)
}
