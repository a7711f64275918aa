//! Firmware: PSCI by SMC (Arm DEN 0022). Where the device tree names no PSCI with method `smc`, no SMC is ever executed:
//! on a board without such firmware it hangs the core or is undefined (platforms, "Boot").

use smccc::psci::error::Error;
use smccc::{Smc, psci};

use super::core_base::CoreIndex;
use super::entry;
use super::install::Cores;
use crate::sync::{AtomicBool, Ordering};

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
}

/// Resets the machine; returns only when that is not possible.
pub fn system_reset() {
    if PSCI.load(Ordering::Relaxed) {
        // As above.
        let _ = psci::system_reset::<Smc>();
    }
}
