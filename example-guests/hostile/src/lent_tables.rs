//! TL14 with memory of another VM: a table of stage 1 stands in a page that its owner takes back.

use strato_guest::abi::address_space::LastFault;
use strato_guest::memory::{self, READ_WRITE};
use strato_guest::{Borrowed, Error, Failure, Info, Owned, ensure, ensure_equal, vcpu};

use crate::native::{DATA, DATA_ABORT, HIGH, HIGH_39, LEAF, PAGE, TABLES, VALUE, high, open, set_control, tables};
use crate::raw::call;
use crate::scratch::{Scratch, ipa};
use crate::words::LOAD_X0;
use strato_guest::abi::Call;

/// Where both map the page, and the word in it by which the borrower says that it has walked through.
const LENT: u64 = 0x8010_0000;
const WALKED: u64 = 8;

fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

/// Shares a page, and takes it back by force when the borrower has used it.
pub(crate) fn tl14l_a_lender_takes_a_table_back(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let page = Owned::new(1)?.map(ipa(LENT)?, READ_WRITE).map_err(without)?;
    let window = page.window().ok_or("the place is the image's")?;
    let shared = page.share(info.peer("borrower")?, READ_WRITE, 0).map_err(without)?;
    while window.load(WALKED)? == 0 {
        vcpu::yield_now();
    }
    drop(shared.end().map_err(without)?);
    Ok(())
}

/// Walks through a borrowed table until it is taken back: from then on each walk is refused, and AS.QUERY says why.
pub(crate) fn tl14b_a_table_that_is_taken_back_is_none(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let own = tables(info, scratch)?;
    let lent =
        Borrowed::wait(info.peer("lender")?, info.port("steps")?)?.map(ipa(LENT)?, READ_WRITE).map_err(without)?;
    lent.window().ok_or("the place is the image's")?.store(0, DATA | LEAF)?;
    own.store(PAGE, LENT | 3)?;
    let before = open(scratch, TABLES, HIGH_39)?;
    let (seen, value) = high(scratch, LOAD_X0, 0)?;
    ensure_equal("faults of a load", seen.count, 0)?;
    ensure_equal("what it loads", value, VALUE)?;
    lent.window().ok_or("the place is the image's")?.store(WALKED, 1)?;
    let fault = loop {
        let (seen, value) = high(scratch, LOAD_X0, 0)?;
        if seen.count != 0 {
            break seen;
        }
        ensure_equal("what a load takes meanwhile", value, VALUE)?;
        vcpu::yield_now();
    };
    ensure_equal("faults of a load", fault.count, 1)?;
    ensure_equal("its class and cause", fault.syndrome, DATA_ABORT | 0x17)?;
    ensure_equal("its address", fault.address, HIGH)?;
    let (status, results) = call(Call::AsQuery, &[0, LENT]);
    ensure(status < 0, "what was taken back is still mapped")?;
    // The detail word: the quantity stands from bit 16 on.
    ensure_equal("why", results.first().copied().unwrap_or(0) >> 16, LastFault::Revoked as u64)?;
    set_control(scratch, before)?;
    memory::unmap(ipa(TABLES)?, 4).map_err(Into::into)
}
