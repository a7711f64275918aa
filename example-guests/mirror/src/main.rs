//! One image in two VMs: both see the same addresses, and what one writes there the other never sees.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU32, Ordering};

use strato_guest::{Failure, Info, Needs, ensure_equal, event, println};

strato_guest::entry!(mirror, Needs::new().port("to_other"));

/// The word that both VMs write, at the same address, each in its own memory.
static WORD: AtomicU32 = AtomicU32::new(0);

fn mirror(info: &'static Info) -> Result<(), Failure> {
    let other = info.port("to_other")?;
    println!("ram: {:#x} to {:#x}, word: {:p}", info.ram().start, info.ram().end, &WORD);

    // Each VM writes a number of its own into "the same" word, then waits until the other has done so too.
    let mine = 100 + info.header().vm;
    WORD.store(mine, Ordering::Release);
    event::send(other)?;
    event::wait(other)?;

    let found = WORD.load(Ordering::Acquire);
    println!("I wrote {mine}, the other VM wrote its own number, I read {found}");
    ensure_equal("the word", found.into(), mine.into())?;
    println!("mirror: ok");
    Ok(())
}
