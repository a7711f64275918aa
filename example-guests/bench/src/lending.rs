//! The longest calls of group SHARE: `longest.rs` with two ends, which take turns by events.

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::UnmapFlags;
use strato_guest::abi::share::{BORROWED_OBJECTS, RevokePolicy, ShareState, Terms, Verb};
use strato_guest::abi::{AddressSpaceHandle, MemHandle, PeerHandle, PortHandle, ShareHandle};
use strato_guest::address_space::via as space;
use strato_guest::memory::{READ, READ_WRITE, map_on};
use strato_guest::share::via as share;
use strato_guest::{Result, core, event};

use crate::longest::{EDGE, Shown, UNITS, at, free, object, show, unmap_all};
use crate::meter::Meter;

const TERMS: Terms = Terms { verb: Verb::Share, rights: READ_WRITE };
/// Pages of an object of several blocks.
const BLOCKS: u64 = 8 * 512;

fn turn(news: PortHandle) -> Result<()> {
    event::send(news)?;
    event::wait(news)
}

fn revoke(meter: &Meter, lent: ShareHandle) -> Result<()> {
    while share::revoke(meter, lent, RevokePolicy::Force)?.state != Some(ShareState::Revoked) {}
    Ok(())
}

/// Offers, and takes back or is given back.
pub(crate) fn owner(meter: &Meter, peer: PeerHandle, news: PortHandle) -> Result<()> {
    let there = at(0x8010_0000 - 64 * PAGE_SIZE);
    for (pages, is_forced) in [(UNITS, true), (UNITS, false), (BLOCKS, true), (BLOCKS, false)] {
        meter.case(if pages == UNITS { "128 pages in 4 ranges" } else { "16 MiB in 4 ranges" });
        let whole = object(meter, pages)?;
        let lent = share::offer(meter, peer, whole, 0, pages, TERMS, 0)?.share;
        turn(news)?;
        share::info(meter, lent)?;
        if is_forced {
            revoke(meter, lent)?;
        }
        turn(news)?;
        core::via::handle_drop(meter, lent.0)?;
        free(meter, whole)?;
    }
    meter.case("one of 128 shares");
    let whole = object(meter, UNITS)?;
    let mut lent = [ShareHandle(whole.0); 128];
    for (n, place) in (0..).zip(&mut lent) {
        *place = share::offer(meter, peer, whole, n * PAGE_SIZE, 1, TERMS, n)?.share;
    }
    turn(news)?;
    for one in lent {
        revoke(meter, one)?;
    }
    turn(news)?;
    for one in lent {
        core::via::handle_drop(meter, one.0)?;
    }
    free(meter, whole)?;
    meter.case("after NO_SYNC of 128 objects");
    let mut objects: Shown = [(whole, 0); 128];
    for (place, _) in &mut objects {
        *place = object(meter, 1)?;
    }
    show(meter, AddressSpaceHandle::CURRENT, there, &objects)?;
    let whole = object(meter, UNITS)?;
    unmap_all(meter, AddressSpaceHandle::CURRENT, there, UnmapFlags::NO_SYNC)?;
    let lent = share::offer(meter, peer, whole, 0, UNITS, Terms { verb: Verb::Lend, ..TERMS }, 0)?.share;
    share::revoke(meter, lent, RevokePolicy::Ask)?;
    core::via::handle_drop(meter, lent.0)?;
    event::send(news)
}

/// Maps a quarter of what was accepted at each of four places, across tables where it can.
fn map_quarters(meter: &Meter, mem: MemHandle, pages: u64) -> Result<()> {
    let quarter = pages / 4;
    for n in 0..4 {
        let first = EDGE + (n << 30) - quarter / 2 * PAGE_SIZE;
        // Backward, so that neighbors in memory are none in the space.
        map_on(meter, mem, (3 - n) * quarter * PAGE_SIZE, at(first), quarter, READ)?;
    }
    Ok(())
}

/// Leaves [`UNITS`] pages of four tables to be invalidated by the next call that needs it, at whichever end.
fn leave(meter: &Meter, ram: MemHandle) -> Result<()> {
    let there = at(0x80_0000_0000 / 2 - UNITS / 2 * PAGE_SIZE);
    map_on(meter, ram, 0, there, UNITS, READ)?;
    unmap_all(meter, AddressSpaceHandle::CURRENT, there, UnmapFlags::NO_SYNC)
}

/// Accepts, maps, and gives back what was not taken back.
pub(crate) fn borrower(meter: &Meter, ram: MemHandle, peer: PeerHandle, news: PortHandle) -> Result<()> {
    event::wait(news)?;
    for pages in [UNITS, UNITS, BLOCKS, BLOCKS] {
        meter.case(if pages == UNITS { "128 pages in 4 ranges" } else { "16 MiB in 4 ranges" });
        let mem = share::accept(meter, peer, 0, READ)?.mem;
        map_quarters(meter, mem, pages)?;
        leave(meter, ram)?;
        turn(news)?;
        leave(meter, ram)?;
        while share::relinquish(meter, mem)?.left != 0 {}
        turn(news)?;
    }
    meter.case("one of 128 shares");
    let mut borrowed = [MemHandle(peer.0); 128];
    for (n, place) in (0..).zip(&mut borrowed) {
        *place = share::accept(meter, peer, 0, READ)?.mem;
        // As many as may be mapped at once.
        if n < BORROWED_OBJECTS {
            map_on(meter, *place, 0, at(EDGE + n * 2 * PAGE_SIZE), 1, READ)?;
        }
    }
    for n in 0..BORROWED_OBJECTS {
        space::query(meter, AddressSpaceHandle::CURRENT, at(EDGE + n * 2 * PAGE_SIZE))?;
    }
    turn(news)?;
    meter.case("nothing mapped, 64 objects taken back");
    let _ = space::query(meter, AddressSpaceHandle::CURRENT, at(EDGE + PAGE_SIZE));
    for one in borrowed {
        share::relinquish(meter, one)?;
    }
    turn(news)
}
