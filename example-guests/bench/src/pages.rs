//! What AS.MAP and AS.UNMAP cost, a page, a batch and a block a call; `demand.rs` has the page that is mapped on a fault.
//!
//! Every figure has the tables it needs: a neighbor stays mapped.

use strato_guest::abi::addr::{IPA_BITS, PAGE_SIZE};
use strato_guest::abi::{AddressSpaceHandle, Ipa, MemHandle};
use strato_guest::memory::{self, READ_WRITE};
use strato_guest::{Failure, Info, Result, address_space, ensure};

use crate::clock::Clock;
use crate::{COUNT, PASSES, demand, measure, report};

/// Where pages are mapped and unmapped.
const PLACE: Ipa = Ipa::new(0x8000_0000).unwrap();
/// The page behind it.
const FIRST: Ipa = Ipa::new(0x8000_1000).unwrap();
/// Where blocks are: one table holds them all.
const BLOCKS: Ipa = Ipa::new(0x8020_0000).unwrap();
const BLOCK_SIZE: u64 = 2 << 20;
/// Pages of a batch: as many as a call does.
const BATCH: u64 = 128;

/// The VM's memory behind its image.
#[derive(Clone, Copy)]
pub(crate) struct Free {
    pub(crate) ram: MemHandle,
    pub(crate) offset: u64,
}

/// Prints every figure of pages.
pub(crate) fn run(info: &Info, clock: impl Clock) -> ::core::result::Result<(), Failure> {
    let (ram, offset) = (info.mem("ram")?.handle, memory::free_ram(info).start - info.ram().start);
    let bytes = info.ram().end - info.ram().start;
    ensure(offset + (COUNT + 1) * PAGE_SIZE <= BLOCK_SIZE && 2 * BLOCK_SIZE <= bytes, "ram is too small")?;
    let free = Free { ram, offset };
    memory::map(ram, offset + COUNT * PAGE_SIZE, PLACE, 1, READ_WRITE)?;
    single(clock, free)?;
    batches(clock, free)?;
    blocks(clock, free)?;
    demand::run(clock, free)
}

/// Returns the `n`th place of `size` bytes behind `from`. In few instructions, as these count: all places are addresses.
fn behind(from: Ipa, n: u64, size: u64) -> Ipa {
    Ipa::new(from.bytes().wrapping_add(n.wrapping_mul(size)) & ((1 << IPA_BITS) - 1)).unwrap_or(from)
}

/// Measures one page a call.
fn single(clock: impl Clock, Free { ram, offset }: Free) -> ::core::result::Result<(), Failure> {
    let place = |n: u64| behind(FIRST, n, PAGE_SIZE);
    let map = |n: u64| {
        let offset = offset.wrapping_add(n.wrapping_mul(PAGE_SIZE));
        address_space::map(AddressSpaceHandle::CURRENT, place(n), ram, offset, 1, READ_WRITE).map(drop)
    };
    let (mut mapped, mut unmapped) = (0, 0);
    for _ in 0..PASSES {
        mapped = measure(clock, map)?;
        unmapped = measure(clock, |n| memory::unmap(place(n), 1))?;
    }
    report(clock, "map_4k", mapped);
    report(clock, "unmap_4k", unmapped);
    Ok(())
}

/// Measures [`BATCH`] pages a call, which lie in one table; a figure is that of a page.
fn batches(clock: impl Clock, Free { ram, offset }: Free) -> ::core::result::Result<(), Failure> {
    let (mut mapped, mut unmapped) = (0, 0);
    for _ in 0..PASSES {
        (mapped, unmapped) = (0, 0);
        for _ in 0..COUNT {
            mapped += span(clock, || memory::map(ram, offset, FIRST, BATCH, READ_WRITE))?;
            unmapped += span(clock, || memory::unmap(FIRST, BATCH))?;
        }
    }
    report(clock, "map_4k_batch", mapped.div_ceil(BATCH));
    report(clock, "unmap_4k_batch", unmapped.div_ceil(BATCH));
    Ok(())
}

/// Measures one block of 2 MiB a call.
fn blocks(clock: impl Clock, Free { ram, .. }: Free) -> ::core::result::Result<(), Failure> {
    const PAGES: u64 = BLOCK_SIZE / PAGE_SIZE;
    let place = |n: u64| behind(BLOCKS, n, BLOCK_SIZE);
    let mut mapped = 0;
    for _ in 0..PASSES {
        mapped = measure(clock, |n| {
            address_space::map(AddressSpaceHandle::CURRENT, place(n), ram, BLOCK_SIZE, PAGES, READ_WRITE).map(drop)
        })?;
        for n in 0..COUNT {
            memory::unmap(place(n), PAGES)?;
        }
    }
    report(clock, "map_2m", mapped);
    Ok(())
}

/// Returns the ticks of `operation` without the reading of the counter.
fn span(clock: impl Clock, operation: impl FnOnce() -> Result<()>) -> Result<u64> {
    let (start, empty) = (clock.now(), clock.now());
    operation()?;
    Ok((clock.now() - empty).saturating_sub(empty - start))
}
