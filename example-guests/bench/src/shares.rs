//! A page that `b` shares again and again, and `a` accepts, maps and gives back.

use strato_guest::abi::{Ipa, PeerHandle, PortHandle};
use strato_guest::memory::{READ_WRITE, Window};
use strato_guest::{Borrowed, Failure, Info, Owned, event};

use crate::clock::Clock;
use crate::stream::without;
use crate::{COUNT, PASSES, report};

/// Where the page is mapped; the tables are there.
const PLACE: Ipa = Ipa::new(0x8000_1000).unwrap();

/// Returns the page in which one VM tells another a word: `b` the key of its offer.
pub(crate) fn keys(info: &Info) -> Result<Window, Failure> {
    let keys = info.mem("keys")?;
    let address = keys.address.ok_or("the manifest maps \"keys\" nowhere")?;
    Ok(Window::new(address, keys.size).ok_or("\"keys\" lies in the image")?)
}

/// Measures accepting and mapping the page, and giving it back to the end, in `a`.
pub(crate) fn accept<C: Clock>(clock: C, info: &Info, peer: PeerHandle, other: PortHandle) -> Result<(), Failure> {
    let keys = keys(info)?;
    let (mut accepted, mut relinquished) = (0, 0);
    for _ in 0..PASSES {
        (accepted, relinquished) = (0, 0);
        for _ in 0..COUNT {
            event::wait(other)?;
            let key = keys.load(0)?;
            let start = clock.now();
            let empty = (clock.now() - start).min(C::READ_MAX);
            let start = clock.now();
            let page = Borrowed::accept(peer, key)?.map(PLACE, READ_WRITE).map_err(without)?;
            accepted += (clock.now() - start).saturating_sub(empty);
            let start = clock.now();
            drop(page);
            relinquished += (clock.now() - start).saturating_sub(empty);
            event::send(other)?;
        }
    }
    report(clock, "share_accept_map", accepted);
    report(clock, "share_relinquish", relinquished);
    Ok(())
}

/// Shares the page each time that it is back, in `b`.
pub(crate) fn offer(info: &Info, peer: PeerHandle, other: PortHandle) -> Result<(), Failure> {
    let keys = keys(info)?;
    let mut page = Owned::new(1)?;
    for _ in 0..PASSES * COUNT {
        let shared = page.share(peer, READ_WRITE, 0).map_err(without)?;
        keys.store(0, shared.key())?;
        event::send(other)?;
        event::wait(other)?;
        page = shared.end().map_err(without)?;
    }
    Ok(())
}
