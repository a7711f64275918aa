//! Secondary: brings up the other cores and notices those that do not come. Called by boot once the EL2 map is final; a
//! core that stays away is reported and left out, the rest run.
//!
//! Keeps (platforms, "Boot"): a core reads its own record with caches off, so `install` cleaned it to the point of
//! coherency; cores are started by PSCI only when the device tree says so.

use log::Level;

use crate::arch::core_base::MAX_CORES;
use crate::arch::firmware::{self, StartError};
use crate::arch::install::Cores;
use crate::arch::mmio::Device;
use crate::arch::{self, CoreIndex, entry, errata, maintenance, timer};
use crate::board::{BoardInfo, CoreMethod, SpinTable};
use crate::console::say;
use crate::sync::{AtomicU8, AtomicU64, Ordering};

/// How many seconds a core may take from CPU_ON to Rust: long enough for an emulator on a busy host.
const PATIENCE: u64 = 2;

/// A bit for each core that runs Rust. Release by the core, Acquire by the one that waits: what the core did before is
/// seen. The booted core is there from the start.
static ARRIVED: AtomicU8 = AtomicU8::new(1);

/// MIDR_EL1 and REVIDR_EL1 of each core, above and below: each has 32 bits. Relaxed: [`ARRIVED`] orders them.
static IDENTITIES: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0) }; MAX_CORES];

const _: () = assert!(MAX_CORES <= 8, "ARRIVED has a bit for each core");

/// Says that the calling core runs; the first thing that a started core does. An SError that the firmware left would
/// otherwise be blamed on its first guest.
pub fn arrive(core: CoreIndex) {
    arch::panic::count_core();
    identify(core);
    errata::note(arch::midr());
    firmware::settle_speculation(core);
    if entry::drain_serror() {
        say(
            Level::Warn,
            format_args!("the firmware left an SError behind on core {}; it is taken and forgotten", core.index()),
        );
    }
    ARRIVED.fetch_or(1 << core.index(), Ordering::Release);
}

/// Notes what the calling core says of itself.
pub(super) fn identify(core: CoreIndex) {
    if let Some(place) = IDENTITIES.get(core.index()) {
        place.store(arch::midr() << 32 | arch::revidr(), Ordering::Relaxed);
    }
}

/// Returns MIDR_EL1 and REVIDR_EL1 of a core that came.
pub(super) fn identity(core: usize) -> (u64, u64) {
    let identity = IDENTITIES.get(core).map_or(0, |place| place.load(Ordering::Relaxed));
    (identity >> 32, identity & 0xffff_ffff)
}

/// Starts every core but the calling one and returns at once, with a bit for each core that is to come; [`wait_all`] tells which did.
pub fn start_all(board: &BoardInfo, cores: &Cores, spin_page: Option<&Device>) -> u8 {
    match board.method {
        CoreMethod::PsciSmc => start_by_psci(board, cores),
        CoreMethod::SpinTable(table) => release_all(cores, table, spin_page),
        CoreMethod::None => 1,
    }
}

fn release_all(cores: &Cores, table: SpinTable, page: Option<&Device>) -> u8 {
    let mut expected = 1;
    for (index, offset) in table.offsets.iter().enumerate().take(cores.count()).skip(1) {
        let released = match (CoreIndex::new(index), page, offset) {
            (Some(core), Some(page), Some(offset)) => firmware::release_core(cores, core, page, *offset).is_ok(),
            _ => false,
        };
        if released {
            expected |= 1 << index;
        } else {
            say(Level::Warn, format_args!("core {index} waits where it cannot be released"));
        }
    }
    expected
}

fn start_by_psci(board: &BoardInfo, cores: &Cores) -> u8 {
    let mut expected = 1;
    for (index, affinity) in board.cores.iter().enumerate().skip(1) {
        let Some(core) = CoreIndex::new(index) else { break };
        match firmware::start_core(cores, core, *affinity) {
            Ok(()) => expected |= 1 << index,
            Err(StartError::AlreadyOn) => {
                say(Level::Warn, format_args!("core {index} runs already and cannot be used"))
            }
            Err(StartError::NoSuchCore) => {
                say(
                    Level::Warn,
                    format_args!("core {index} has no interface of the interrupt controller, and stays off"),
                );
            }
            Err(_) => say(Level::Warn, format_args!("the firmware does not start core {index}")),
        }
    }
    expected
}

/// Waits until every core of `expected` came, a bit each, or long enough, and warns about those that did not. Returns a bit for each
/// core that runs.
pub fn wait_all(expected: u8) -> u8 {
    let deadline = timer::now().saturating_add(timer::frequency().saturating_mul(PATIENCE));
    loop {
        let arrived = ARRIVED.load(Ordering::Acquire);
        if arrived & expected == expected {
            return arrived;
        }
        if timer::now() > deadline {
            for core in (0..MAX_CORES).filter(|core| (expected & !arrived) >> core & 1 != 0) {
                say(Level::Warn, format_args!("core {core} was started and never came"));
            }
            return arrived;
        }
        arch::relax();
    }
}

/// Waits on a started core until `published` returns something: what boot publishes when all is ready, followed by
/// [`announce`].
pub fn await_published<T>(mut published: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = published() {
            return value;
        }
        if arch::panic::panicked() {
            arch::panic::stop();
        }
        arch::wait_for_event();
    }
}

/// Wakes the cores in [`await_published`]: what was stored is complete first (platforms, "Order": DSB before SEV).
pub fn announce() {
    maintenance::dsb_sy();
    maintenance::sev();
}
