//! The fault handler, and the frames that it gives out, one after the other.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::address_space::LastFault;
use strato_guest::abi::{Handle, Ipa, MemHandle};
use strato_guest::fault::{self, Action, Fault};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::{Failure, Owned};

use crate::{LENT, REGION};

/// The memory of the frames, and where all of them are mapped, to be copied to.
static FRAMES: AtomicU32 = AtomicU32::new(0);
const COPIES: Ipa = Ipa::new(0x8000_0000).unwrap();
/// How many addresses show each page of the original. Relaxed, as all here: one vCPU faults.
static SHOWN: [AtomicU64; 16] = [const { AtomicU64::new(2) }; 16];
/// Frames given out; faults; faults where memory was taken back.
static USED: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static REVOKED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn faults() -> u64 {
    FAULTS.load(Relaxed)
}

pub(crate) fn revoked() -> u64 {
    REVOKED.load(Relaxed)
}

/// From here on what is touched is there.
pub(crate) fn start(frames: &Owned) -> Result<(), Failure> {
    memory::map(frames.handle(), 0, COPIES, frames.pages(), READ_WRITE)?;
    FRAMES.store(frames.handle().0.bits(), Relaxed);
    fault::set_handler(|fault| if resolve(fault).is_ok() { Action::Retry } else { Action::Panic });
    Ok(())
}

fn resolve(fault: &Fault) -> Result<(), Failure> {
    FAULTS.fetch_add(1, Relaxed);
    let page = fault.page().ok_or("no page")?;
    if fault.is_permission() {
        return write(page);
    }
    if page >= LENT && fault.reason()? == Some(LastFault::Revoked) {
        REVOKED.fetch_add(1, Relaxed);
    }
    Ok(memory::map(mem(), frame(), page, 1, READ_WRITE)?)
}

/// Lets `page` be written to: a copy of what it shows, or that itself when no other address shows it any more.
fn write(page: Ipa) -> Result<(), Failure> {
    let number = usize::try_from(page.bytes() % REGION / PAGE_SIZE);
    let users = number.ok().and_then(|number| SHOWN.get(number)).ok_or("no page of the original")?;
    if users.fetch_sub(1, Relaxed) == 1 {
        return Ok(memory::protect(page, 1, READ_WRITE)?);
    }
    let offset = frame();
    let from = Window::new(page, PAGE_SIZE).ok_or("no room")?;
    let to = Window::new(COPIES, offset + PAGE_SIZE).ok_or("no room")?;
    to.copy_from(offset, &from, 0, 512)?;
    memory::unmap(page, 1)?;
    Ok(memory::map(mem(), offset, page, 1, READ_WRITE)?)
}

fn frame() -> u64 {
    USED.fetch_add(1, Relaxed) * PAGE_SIZE
}

fn mem() -> MemHandle {
    MemHandle(Handle::from_bits(FRAMES.load(Relaxed)))
}
