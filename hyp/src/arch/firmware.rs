//! Firmware: PSCI by SMC (Arm DEN 0022), and what stands in for it on a Raspberry Pi: the spin table, and the power manager.
//! Where the device tree names no PSCI with method `smc`, no SMC is ever executed:
//! on a board without such firmware it hangs the core or is undefined (platforms, "Boot").

use smccc::psci::error::Error;
use smccc::{Call, arch, psci};

use super::core_base::{CoreIndex, MAX_CORES};
use super::install::Cores;
use super::mmio::Device;
use super::{entry, maintenance, workarounds};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// SMC with everything that a call may change: firmware of the convention's version 1.0 need not preserve x4 to x17 (Arm DEN 0028, which the
/// crate's SMC32 takes to be of a later one).
#[derive(Debug)]
struct Smc;

impl Call for Smc {
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation, reason = "such a call answers in w0 to w7")]
    fn call32(function: u32, args: [u32; 7]) -> [u32; 8] {
        let mut words = [0; 17];
        words.iter_mut().zip(args).for_each(|(word, arg)| *word = arg.into());
        let [a, b, c, d, e, f, g, h, ..] = Self::call64(function, words);
        [a, b, c, d, e, f, g, h].map(|word| word as u32)
    }

    fn call64(function: u32, args: [u64; 17]) -> [u64; 18] {
        smccc::Smc::call64(function, args)
    }
}

/// Why a core did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The core has no stacks: it booted, or there are more cores than Strato uses.
    NoSuchCore,
    /// There is no firmware that could start it.
    NoFirmware,
    /// It runs already.
    AlreadyOn,
    /// The firmware refused.
    Refused,
}

/// Registers of the power manager of a BCM2835, or 0. Offsets and password are those that its watchdog has in Linux
/// (`bcm2835_wdt.c`); Broadcom's manuals leave them out.
static POWER: AtomicUsize = AtomicUsize::new(0);
const RSTC: usize = 0x1c;
const RSTS: usize = 0x20;
const WDOG: usize = 0x24;
const PASSWORD: u32 = 0x5a00_0000;
/// WDOG: log2 of its ticks in a second.
const WDOG_SECOND: u32 = 16;
/// RSTC: what happens when the watchdog runs out, two bits, of which this is a full reset; and the bits beside them and the password, which
/// stay as they are.
const FULL_RESET: u32 = 0x20;
const RSTC_KEPT: u32 = 0x00ff_ffcf;
/// RSTS: the boot ROM is to halt: bits 0, 2, 4, 6, 8, 10 are the partition, 63 of which means that.
const HALT: u32 = 0x555;

/// Lets the power manager with these registers reset the machine and power it off.
pub fn allow_power_manager(registers: Device) {
    POWER.store(registers.address(), Ordering::Relaxed);
}

/// Has the power manager, if there is one, reset the machine in so many `ticks` of its watchdog; with a `status`, that is written to RSTS first.
fn start_watchdog(status: Option<u32>, ticks: u32) {
    let base = POWER.load(Ordering::Relaxed);
    if base == 0 {
        return;
    }
    let register = |at: usize| core::ptr::with_exposed_provenance_mut::<u32>(base + at);
    let write = |at, value: u32| {
        // SAFETY: a register of the power manager, which the map covers as a device and which nobody else has.
        unsafe { register(at).write_volatile(PASSWORD | value) };
    };
    // SAFETY: as above; reading it changes nothing.
    let control = unsafe { register(RSTC).read_volatile() };
    if let Some(status) = status {
        write(RSTS, status);
    }
    write(WDOG, ticks);
    write(RSTC, control & RSTC_KEPT | FULL_RESET);
    maintenance::dsb_sy();
}

/// Lets the power manager reset the machine, which is then halted or started again.
fn reset_by_power_manager(status: u32) {
    start_watchdog(Some(status), 10);
}

/// Seconds for which the watchdog was last fed, 0 when it does not run. Relaxed: it is the same each time.
static FED: AtomicU32 = AtomicU32::new(0);

/// Has the board's watchdog reset the machine in `seconds`, at most 15, unless it is fed again. Does nothing on a board without one.
pub fn feed_watchdog(seconds: u32) {
    FED.store(seconds, Ordering::Relaxed);
    start_watchdog(None, seconds << WDOG_SECOND);
}

/// Feeds the watchdog for the last time, if it runs. Returns whether it does: a reset will come by itself.
pub fn feed_for_the_last_time() -> bool {
    let seconds = FED.load(Ordering::Relaxed);
    let is_running = seconds != 0 && POWER.load(Ordering::Relaxed) != 0;
    if is_running {
        feed_watchdog(seconds);
    }
    is_running
}

/// Releases a core from the spin table in `page`: writes where it is to go to `offset` there, and wakes it.
///
/// # Errors
/// [`StartError::NoSuchCore`].
pub fn release_core(cores: &Cores, core: CoreIndex, page: &Device, offset: u16) -> Result<(), StartError> {
    cores.record(core).ok_or(StartError::NoSuchCore)?;
    let entry = entry::spin_entry(core.index());
    let pointer = core::ptr::with_exposed_provenance_mut::<u64>(page.address() + usize::from(offset));
    // SAFETY: the word is aligned and in the page, which the map covers as a device: the store reaches the memory that the
    // core reads with its caches off. Nobody but the core reads it.
    unsafe { pointer.write_volatile(entry) };
    // The boot map had the page as Normal memory, as part of a block: a line that a core took from it by speculation would be
    // what the core finds. It was never written, so nothing goes back over the word.
    maintenance::clean_and_invalidate_to_poc(pointer.addr(), size_of::<u64>());
    maintenance::dsb_sy(); // the word is there before the core looks
    maintenance::sev();
    Ok(())
}

/// Set by boot when the device tree says so. Relaxed is enough: it is written before any other core runs.
static PSCI: AtomicBool = AtomicBool::new(false);

/// Allows SMC from here on, because the device tree has PSCI with method `smc`.
pub fn allow_psci() {
    PSCI.store(true, Ordering::Relaxed);
}

/// Returns the version of PSCI as major and minor, or `None` without PSCI.
pub fn version() -> Option<(u16, u16)> {
    if !PSCI.load(Ordering::Relaxed) {
        return None;
    }
    psci::version::<Smc>().ok().map(|version| (version.major, version.minor))
}

/// The call by which a core has its predictors cleared, 0 where it needs none. Relaxed: a core writes its own before boot lets any guest run.
static CLEARS: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(0) }; MAX_CORES];

/// Asks the firmware, if it has PSCI, what it does against speculation on the calling core, and has done what is done once. Called on each
/// core before a guest runs anywhere.
pub fn settle_speculation(core: CoreIndex) {
    #[allow(clippy::cast_possible_wrap, reason = "refusals are negative")]
    let ask = |function, argument| Smc::call32(function, [argument, 0, 0, 0, 0, 0, 0])[0] as i32;
    let found = workarounds::of(version(), &ask);
    if found.orders_stores {
        // It has no refusal where it is needed.
        let _ = arch::arch_workaround_2::<Smc>(true);
    }
    if let Some(place) = CLEARS.get(core.index()) {
        place.store(found.clears.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Returns whether a core needs that [`clear_predictors`] is called between two VMs.
#[must_use]
#[inline(never)]
pub fn has_to_clear() -> bool {
    CLEARS.iter().any(|call| call.load(Ordering::Relaxed) != 0)
}

/// Has the firmware clear what the calling core's branch predictors hold, if it needs that.
pub fn clear_predictors() {
    let call = CLEARS.get(super::this_core().index()).map_or(0, |call| call.load(Ordering::Relaxed));
    if call != 0 {
        // No result: it is there, or would not be in the table.
        let _ = Smc::call32(call, [0; 7]);
    }
}

/// Starts the core with the given affinity fields of MPIDR_EL1; it enters `strato_secondary` with its own record.
///
/// # Errors
/// See [`StartError`]. A core that starts and is never heard of again is the caller's to notice.
pub fn start_core(cores: &Cores, core: CoreIndex, affinity: u64) -> Result<(), StartError> {
    let record = cores.record(core).ok_or(StartError::NoSuchCore)?;
    if !PSCI.load(Ordering::Relaxed) {
        return Err(StartError::NoFirmware);
    }
    psci::cpu_on::<Smc>(affinity, entry::secondary_entry(), record).map_err(|error| match error {
        Error::AlreadyOn | Error::OnPending => StartError::AlreadyOn,
        Error::NotSupported
        | Error::InvalidParameters
        | Error::Denied
        | Error::InternalFailure
        | Error::NotPresent
        | Error::Disabled
        | Error::InvalidAddress
        | Error::Unknown(_) => StartError::Refused,
    })
}

/// Powers the machine off; returns only when that is not possible.
pub fn system_off() {
    if PSCI.load(Ordering::Relaxed) {
        // The error says that nothing happened, which the return says too.
        let _ = psci::system_off::<Smc>();
    }
    reset_by_power_manager(HALT);
}

/// Resets the machine; returns only when that is not possible.
pub fn system_reset() {
    if PSCI.load(Ordering::Relaxed) {
        // As above.
        let _ = psci::system_reset::<Smc>();
    }
    reset_by_power_manager(0);
}
