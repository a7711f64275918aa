//! Grows by memory of the machine's pool and shrinks again; what it filled and gave back comes back as zeros.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::{Code, Ipa};
use strato_guest::memory::READ_WRITE;
use strato_guest::{Error, Failure, Info, Mapped, Needs, Owned, ensure, ensure_equal, println};

strato_guest::entry!(balloon, Needs::new());

/// Where the memory is mapped; each of two places takes up to 128 pages.
const PLACES: [u64; 2] = [0x6000_0000, 0x6010_0000];
const PATTERN: u64 = 0x5eed_5eed_5eed_5eed;

fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

/// Takes `pages` pages, checks that every word of them is zero, and fills them.
fn grow(place: u64, pages: u64) -> Result<Mapped<'static>, Failure> {
    let address = Ipa::new(place).ok_or("the place is no address")?;
    let mapped = Owned::new(pages)?.map(address, READ_WRITE).map_err(without)?;
    let window = mapped.window().ok_or("the place is the image's")?;
    for offset in (0..pages * 4096).step_by(8) {
        ensure_equal("a fresh word", window.load(offset)?, 0)?;
        window.store(offset, PATTERN ^ offset)?;
    }
    println!("grew by {pages} pages, all zero, and filled them");
    Ok(mapped)
}

fn balloon(_: &'static Info) -> Result<(), Failure> {
    let [low, high] = PLACES;
    // Unmapped and given back, to the end.
    grow(low, 128)?.unmap().map_err(without)?.free().map_err(without)?;
    println!("shrank by 128 pages");

    // The pool gives out clean frames first, so these are the same: nothing of the pattern is left in them.
    let (first, second) = grow(low, 128)?.unmap().map_err(without)?.split().map_err(without)?;
    println!("halved: {} pages stay mine, {} go back", first.pages(), second.pages());
    drop(second);
    drop(grow(high, 64)?);

    // What the manifest allows is all there is.
    let refusal = Owned::new(1024).err().ok_or("more than the quota was given")?;
    ensure(refusal.code() == Code::Quota, "another refusal than QUOTA")?;
    println!("the quota ends it: {refusal}");
    println!("balloon: ok");
    Ok(())
}
