//! Pages for itself: pages that appear when they are touched, copies that are made when they are written to, and pages instead of
//! borrowed ones that their owner took back. Says what a fault of each kind takes.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod paging;

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::{Ipa, PeerHandle, PortHandle};
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::{Borrowed, Error, Failure, Info, Needs, Owned, ensure_equal, event, println, time};

strato_guest::entry!(demand_paging, Needs::new().port("news").port("steps").fault_handler());

/// Pages of each region, how far apart regions are, and which are shown until their owner takes them back.
const PAGES: u64 = 16;
const REGION: u64 = 1 << 28;
const LENT: Ipa = Ipa::new(12 * REGION).unwrap();

fn demand_paging(info: &'static Info) -> Result<(), Failure> {
    let (news, steps) = (info.port("news")?, info.port("steps")?);
    match info.option("role") {
        Some("owner") => owner(info.peer("pager")?, news)?,
        _ => pager(info.peer("owner")?, news, steps)?,
    }
    println!("demand_paging: ok");
    Ok(())
}

fn pager(owner: PeerHandle, news: PortHandle, steps: PortHandle) -> Result<(), Failure> {
    let (zero, parent, child, lent) = (region(9)?, region(10)?, region(11)?, region(12)?);
    let (frames, original) = (Owned::new(4 * PAGES)?, Owned::new(PAGES)?);
    paging::start(&frames)?;

    touch("zeroed on demand", |at| ensure_equal("a new page", zero.load(at)?, 0))?;
    fill(&zero, 1)?;

    // As after a fork: both show the original, and neither may write to it.
    memory::map(original.handle(), 0, parent.base(), PAGES, READ_WRITE)?;
    fill(&parent, 2)?;
    memory::protect(parent.base(), PAGES, READ)?;
    memory::map(original.handle(), 0, child.base(), PAGES, READ)?;
    touch("copied on write", |at| Ok(child.store(at, at + 3)?))?;
    check(&child, [3, 2])?;
    check(&parent, [2, 2])?;
    touch("written in place, since nobody else has it any more", |at| Ok(parent.store(at, at + 4)?))?;
    check(&parent, [4, 2])?;
    check(&child, [3, 2])?;

    let borrowed = Borrowed::wait(owner, steps)?;
    memory::map(borrowed.handle(), 0, lent.base(), PAGES, READ)?;
    check(&lent, [5, 5])?;
    event::send(news)?;
    event::wait(news)?;
    touch("taken back by its owner, so another one", |at| ensure_equal("a new page", lent.load(at)?, 0))?;
    ensure_equal("pages that AS.QUERY calls revoked", paging::revoked(), PAGES)?;
    check(&zero, [1, 1])
}

/// The other VM lends pages, and takes them back when they have been read.
fn owner(pager: PeerHandle, news: PortHandle) -> Result<(), Failure> {
    let pages = Owned::new(PAGES)?.map(LENT, READ_WRITE).map_err(without)?;
    fill(&region(12)?, 5)?;
    let shared = pages.share(pager, READ, 0).map_err(without)?;
    event::wait(news)?;
    drop(shared.end().map_err(without)?);
    println!("I took {PAGES} pages back");
    Ok(event::send(news)?)
}

fn region(number: u64) -> Result<Window, Failure> {
    Ok(Ipa::new(number * REGION).and_then(|base| Window::new(base, PAGES * PAGE_SIZE)).ok_or("no room")?)
}

fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

/// Touches each page of a region, which has a fault each, and says what one took.
fn touch(what: &str, access: impl Fn(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    let (before, start) = (paging::faults(), time::counter());
    (0..PAGES).try_for_each(|page| access(page * PAGE_SIZE))?;
    let (ticks, faults) = (time::counter() - start, paging::faults() - before);
    ensure_equal("faults", faults, PAGES)?;
    println!("{what}: {PAGES} pages, {} ticks each", ticks.div_ceil(PAGES));
    Ok(())
}

/// Writes `value` and where it is to the first and the last word of each page.
fn fill(window: &Window, value: u64) -> Result<(), Failure> {
    let mut pages = (0..PAGES).map(|page| page * PAGE_SIZE);
    pages.try_for_each(|at| Ok(window.store(at, at + value).and(window.store(at + PAGE_SIZE - 8, at + value))?))
}

/// Holds the first and the last word of each page against what was written there.
fn check(window: &Window, [first, last]: [u64; 2]) -> Result<(), Failure> {
    (0..PAGES).map(|page| page * PAGE_SIZE).try_for_each(|at| {
        ensure_equal("the first word", window.load(at)?, at + first)?;
        ensure_equal("the last word", window.load(at + PAGE_SIZE - 8)?, at + last)
    })
}
