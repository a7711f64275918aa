//! Cases of two VMs: one shares, lends and donates a page, takes one back by force, and the other one uses them.

use strato_guest::abi::{Ipa, PeerHandle};
use strato_guest::memory::{AccessError, READ_WRITE, Window};
use strato_guest::ring::{Consumer, Producer, Receiver, RingError, Sender};
use strato_guest::{Borrowed, Error, Failure, Info, Owned, ensure, ensure_equal, event};

const PLACE: Ipa = Ipa::new(0x9000_0000).unwrap();
const PAGE: u64 = 4096;
const WORD: u64 = 0x1234_5678_9abc_def0;

fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

fn window(place: Option<Window>) -> Result<Window, Failure> {
    place.ok_or(Failure::Because("the place is the image's"))
}

/// Copies words in and out by any count, and into a page that is not there.
pub(crate) fn copies() -> Result<(), Failure> {
    let page = Owned::new(1)?.map(PLACE, READ_WRITE).map_err(without)?;
    let words = window(Window::new(PLACE, 2 * PAGE))?;
    let from: [u64; 40] = ::core::array::from_fn(|n| WORD ^ n as u64);
    for count in 0..=from.len() {
        let (mut into, at) = ([0; 40], 8 * count as u64);
        words.write(at, from.split_at(count).0)?;
        words.read(at, into.split_at_mut(count).0)?;
        ensure(into.split_at(count).0 == from.split_at(count).0, "a copy differs")?;
        ensure(into.split_at(count).1.iter().all(|&word| word == 0), "a copy went too far")?;
    }
    let end = PAGE - 24 * 8;
    let Err(AccessError::Fault(fault)) = words.write(end, &from) else {
        return Err("a copy into nothing went through".into());
    };
    ensure_equal("the address of the fault", fault.address, PLACE.bytes() + PAGE)?;
    ensure(fault.is_write() && fault.is_translation(), "another fault")?;
    ensure_equal("the last word before it", words.load_relaxed(PAGE - 8)?, WORD ^ 23)?;
    ensure(matches!(words.read(2 * PAGE - 8, &mut [0; 2]), Err(AccessError::Outside)), "the window has no end")?;
    drop(page);
    ensure(words.load(0).is_err(), "the page is still mapped")
}

/// Shares a ring and takes it back by force; lends a page; donates it.
pub(crate) fn lend(info: &Info) -> Result<(), Failure> {
    let (peer, port, steps) = (info.peer("borrower")?, info.port("peer")?, info.port("steps")?);
    let page = Owned::new(1)?.map(PLACE, READ_WRITE).map_err(without)?;
    let mut to = Sender::<3>::new(Producer::create(window(page.window())?)?, port);
    let shared = page.share(peer, READ_WRITE, 1).map_err(without)?;
    to.send(&[[WORD; 3]; 5])?;
    event::wait(steps)?;
    let page = shared.end().map_err(without)?;
    event::send(steps)?;
    ensure(window(page.window())?.load(512)? == WORD, "the owner has lost its page")?;

    let lent = page.unmap().map_err(without)?.lend(peer, READ_WRITE, 2).map_err(without)?;
    lent.wait_returned(steps)?;
    let page = lent.end().map_err(without)?.map(PLACE, READ_WRITE).map_err(without)?;
    ensure_equal("what the borrower left", window(page.window())?.load(8)?, WORD)?;

    let donation = page.unmap().map_err(without)?.donate(peer, 3).map_err(without)?;
    donation.wait_accepted(steps)?;
    ensure(donation.withdraw()?.is_none(), "a donation came back")
}

/// Accepts what the other case offers.
pub(crate) fn borrow(info: &Info) -> Result<(), Failure> {
    let (peer, port, steps) = (info.peer("lender")?, info.port("peer")?, info.port("steps")?);
    let page = accept(info, peer, 1)?.map(PLACE, READ_WRITE).map_err(without)?;
    let ring = Consumer::attach(window(page.window())?)?;
    let (mut from, mut seen, mut into) = (Receiver::<3>::new(ring, port), 0, [[0; 3]; 2]);
    while seen < 5 {
        seen += from.receive(&mut into)?;
    }
    ensure(into.iter().flatten().all(|&word| word == WORD), "another message")?;
    event::send(steps)?;
    event::wait(steps)?;
    ensure(matches!(from.receive(&mut into), Err(RingError::Access(AccessError::Fault(_)))), "the page is still here")?;
    drop(page);

    let page = accept(info, peer, 2)?.map(PLACE, READ_WRITE).map_err(without)?;
    window(page.window())?.store(8, WORD)?;
    drop(page);

    let page = loop {
        match Owned::accept(peer, 0) {
            Ok(page) => break page,
            Err(error) if error.code() == strato_guest::abi::Code::Empty => event::wait(info.port("offers")?)?,
            Err(error) => return Err(error.into()),
        }
    };
    let page = page.map(PLACE, READ_WRITE).map_err(without)?;
    ensure_equal("what was donated", window(page.window())?.load(8)?, WORD)
}

/// Waits for the offer of this tag.
fn accept(info: &Info, peer: PeerHandle, tag: u64) -> Result<Borrowed<'static>, Failure> {
    let borrowed = Borrowed::wait(peer, info.port("offers")?)?;
    ensure_equal("the tag", borrowed.tag(), tag)?;
    Ok(borrowed)
}
