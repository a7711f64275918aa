//! Pages for instructions that a case writes, and the fault handler that lets it go on behind what is refused.
//! Owns the record of faults. Every case uses it; decides nothing about them.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::address_space::Attributes;
use strato_guest::abi::{Ipa, MemHandle};
use strato_guest::fault::{self, Action, Fault};
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::{Failure, Info, vcpu};

use crate::arch::{self, Registers};
use crate::words::{RET, pair};

/// Where the code page can be executed; it is written at its place in RAM.
pub(crate) const CODE: u64 = 0x6000_0000;
/// Words in the code page.
pub(crate) const WORDS: u64 = 1024;
const PAGE: u64 = 4096;
/// Readable and executable.
pub(crate) const READ_EXECUTE: Attributes = Attributes::READ.union(Attributes::EXECUTE);

static COUNT: AtomicU64 = AtomicU64::new(0);
static SYNDROME: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static PLACE: AtomicU64 = AtomicU64::new(0);
static GIVE_UP: AtomicBool = AtomicBool::new(false);
static RETRIES: AtomicU64 = AtomicU64::new(0);
/// A bit for each word of the code page: the instruction there caused an exception.
static MARKS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
/// The handle of `ram` and the offset of a page of RET, while a case jumps to places where nothing is.
static LANDING: AtomicU64 = AtomicU64::new(0);
static LANDING_MEM: AtomicU64 = AtomicU64::new(0);
/// The page from which no fetch goes on while it is held, or 1; and how many fetches have waited.
static HELD: AtomicU64 = AtomicU64::new(1);
static WAITING: AtomicU64 = AtomicU64::new(0);

/// What the last exceptions of the code were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// How many there were.
    pub(crate) count: u64,
    /// ESR_EL1 of the last.
    pub(crate) syndrome: u64,
    /// FAR_EL1 of the last.
    pub(crate) address: u64,
    /// ELR_EL1 of the last.
    pub(crate) pc: u64,
}

/// A code page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scratch {
    page: Window,
    /// RAM of this VM.
    pub(crate) ram: MemHandle,
    /// First address of RAM that no part of the program or of this page uses.
    pub(crate) free: u64,
}

impl Scratch {
    /// Returns the code page, mapped writable at one address and executable at another.
    pub(crate) fn new(info: &Info) -> Result<Self, Failure> {
        let ram = info.mem("ram")?.handle;
        let base = memory::free_ram(info).start;
        let place = ipa(base)?;
        memory::map_ram(ram, place, 1, READ_WRITE)?;
        memory::map(ram, base.saturating_sub(info.ram().start), ipa(CODE)?, 1, READ_EXECUTE)?;
        fault::set_handler(handle);
        let page = Window::new(place, PAGE).ok_or("the code page lies in the image")?;
        Ok(Self { page, ram, free: base.saturating_add(PAGE) })
    }

    /// Writes `words` from the first word of the page on, and RET behind them.
    pub(crate) fn write(&self, words: impl Iterator<Item = u32>) -> Result<(), Failure> {
        let mut words = words.chain([RET, RET]);
        let mut offset = 0;
        while let Some(low) = words.next() {
            self.page.store(offset, pair(low, words.next().unwrap_or(RET)))?;
            offset += 8;
        }
        arch::synchronize_code(self.page.base().bytes(), offset);
        arch::synchronize_code(CODE, offset);
        Ok(())
    }

    /// Runs the page as it is and returns the exceptions that came meanwhile.
    pub(crate) fn run(registers: &mut Registers) -> Seen {
        COUNT.store(0, Ordering::Relaxed);
        for word in &MARKS {
            word.store(0, Ordering::Relaxed);
        }
        arch::run(CODE, registers);
        seen()
    }

    /// Writes and runs one instruction.
    pub(crate) fn execute(&self, word: u32, registers: &mut Registers) -> Result<Seen, Failure> {
        self.write([word].into_iter())?;
        Ok(Self::run(registers))
    }
}

/// Returns the exceptions since the last run.
pub(crate) fn seen() -> Seen {
    Seen {
        count: COUNT.load(Ordering::Relaxed),
        syndrome: SYNDROME.load(Ordering::Relaxed),
        address: ADDRESS.load(Ordering::Relaxed),
        pc: PLACE.load(Ordering::Relaxed),
    }
}

/// Returns whether word `index` of the page caused an exception in the last run.
pub(crate) fn is_marked(index: u64) -> bool {
    let word = usize::try_from(index / 64).ok().and_then(|at| MARKS.get(at));
    word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (index % 64) != 0)
}

/// Ends the VM at the next illegal execution state, which no skipping leaves.
pub(crate) fn give_up_on_illegal_state() {
    GIVE_UP.store(true, Ordering::Relaxed);
}

/// Lets the next `count` exceptions of the code page be tried again before one is skipped.
pub(crate) fn retry(count: u64) {
    RETRIES.store(count, Ordering::Relaxed);
}

/// Makes fetches from unmapped pages land on the RET at `offset` of `mem`.
pub(crate) fn land_on(mem: MemHandle, offset: u64) {
    LANDING_MEM.store(u64::from(mem.0.bits()), Ordering::Relaxed);
    LANDING.store(offset, Ordering::Relaxed);
}

/// Lets fetches from this page that fault wait until [`release`], and be tried again then.
pub(crate) fn hold(page: u64) {
    HELD.store(page, Ordering::Release);
}

/// Lets them go.
pub(crate) fn release() {
    HELD.store(1, Ordering::Release);
}

/// Returns how many fetches have faulted in held pages.
pub(crate) fn waiting() -> u64 {
    WAITING.load(Ordering::Acquire)
}

/// Returns the address, or why it is none.
pub(crate) fn ipa(address: u64) -> Result<Ipa, Failure> {
    Ipa::new(address).ok_or(Failure::Because("an address beyond the address space"))
}

fn handle(fault: &Fault) -> Action {
    const INSTRUCTION_ABORT: u64 = 0x21;
    const ILLEGAL_STATE: u64 = 0x0e;
    COUNT.fetch_add(1, Ordering::Relaxed);
    SYNDROME.store(fault.syndrome, Ordering::Relaxed);
    ADDRESS.store(fault.address, Ordering::Relaxed);
    PLACE.store(fault.pc, Ordering::Relaxed);
    if fault.class() == INSTRUCTION_ABORT {
        let page = fault.address & !(PAGE - 1);
        if HELD.load(Ordering::Acquire) == page {
            WAITING.fetch_add(1, Ordering::AcqRel);
            while HELD.load(Ordering::Acquire) == page {
                vcpu::yield_now();
            }
            return Action::Retry;
        }
        return land(fault.address);
    }
    if fault.class() == ILLEGAL_STATE && GIVE_UP.load(Ordering::Relaxed) {
        return Action::Panic;
    }
    if RETRIES.load(Ordering::Relaxed) > 0 {
        RETRIES.fetch_sub(1, Ordering::Relaxed);
        return Action::Retry;
    }
    let index = fault.pc.wrapping_sub(CODE) / 4;
    if index < WORDS {
        if let Some(word) = usize::try_from(index / 64).ok().and_then(|at| MARKS.get(at)) {
            word.fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
        return Action::Skip;
    }
    // A word that a window loads or stores, which answers with the fault. Anything else is a mistake of this program.
    let is_window = fault.is_abort() && !arch::image().contains(&fault.address);
    if is_window { Action::Skip } else { Action::Panic }
}

fn land(address: u64) -> Action {
    use strato_guest::abi::Handle;
    let offset = LANDING.load(Ordering::Relaxed);
    let bits = u32::try_from(LANDING_MEM.load(Ordering::Relaxed)).unwrap_or(0);
    let place = Ipa::new(address & !(PAGE - 1)).filter(|_| offset != 0);
    match place.map(|place| memory::map(MemHandle(Handle::from_bits(bits)), offset, place, 1, READ_EXECUTE)) {
        Some(Ok(())) => Action::Retry,
        Some(Err(_)) | None => Action::Panic,
    }
}

/// Maps `pages` pages of RAM from the first free one on at `address`, readable and writable.
pub(crate) fn map_free(scratch: &Scratch, info: &Info, address: u64, pages: u64) -> Result<Window, Failure> {
    let offset = scratch.free.saturating_sub(info.ram().start);
    memory::map(scratch.ram, offset, ipa(address)?, pages, READ_WRITE)?;
    Window::new(ipa(address)?, pages.saturating_mul(PAGE)).ok_or(Failure::Because("a window in the image"))
}

/// Returns what a load at `address` takes: its value, or the syndrome of its fault.
pub(crate) fn peek(address: u64) -> Result<u64, u64> {
    let _ = READ;
    let window = Ipa::new(address & !7).and_then(|base| Window::new(base, 8)).ok_or(0_u64)?;
    window.load(0).map_err(|_| SYNDROME.load(Ordering::Relaxed))
}
