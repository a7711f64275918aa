//! Firmware on a PC: there is none.

use crate::arch::core_base::CoreIndex;
use crate::arch::install::Cores;
use crate::arch::mmio::Device;

impl Cores {
    /// Returns the records of a PC: the booted core needs none, and there is no other.
    #[must_use]
    pub fn simulated() -> Self {
        Self { records: 0, count: 1, left_out: 0 }
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

/// Does nothing on a PC.
pub fn allow_psci() {}

/// Returns `None`: there is no PSCI.
pub fn version() -> Option<(u16, u16)> {
    None
}

/// Does nothing on a PC.
pub fn settle_speculation(_core: CoreIndex) {}

std::thread_local! {
    static CLEARED: core::cell::Cell<Option<u32>> = const { core::cell::Cell::new(None) };
}

/// Makes the cores of this thread's machine need that predictors are cleared.
pub fn need_to_clear() {
    CLEARED.set(Some(0));
}

/// Returns whether [`need_to_clear`] was called.
#[must_use]
pub fn has_to_clear() -> bool {
    CLEARED.get().is_some()
}

/// Counts.
pub fn clear_predictors() {
    CLEARED.set(CLEARED.get().map(|count| count + 1));
}

/// Returns how often this thread cleared predictors.
#[must_use]
pub fn cleared() -> u32 {
    CLEARED.get().unwrap_or(0)
}

/// Refuses: there is no other core.
///
/// # Errors
/// Always [`StartError::NoFirmware`].
pub fn start_core(_cores: &Cores, _core: CoreIndex, _affinity: u64) -> Result<(), StartError> {
    Err(StartError::NoFirmware)
}

/// Stops the test whose machine is powered off.
///
/// # Panics
/// Always: there is nothing to go back to.
pub fn system_off() {
    panic!("the machine was powered off");
}

/// Does nothing on a PC.
pub fn allow_power_manager(_registers: Device) {}

/// Refuses: there is no other core.
///
/// # Errors
/// Always [`StartError::NoFirmware`].
pub fn release_core(_cores: &Cores, _core: CoreIndex, _page: &Device, _offset: u16) -> Result<(), StartError> {
    Err(StartError::NoFirmware)
}

/// Does nothing on a PC.
pub fn system_reset() {}

std::thread_local! {
    static FED: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// Counts.
pub fn feed_watchdog(_seconds: u32) {
    FED.set(FED.get() + 1);
}

/// Returns how often this thread fed the watchdog.
pub fn fed() -> u32 {
    FED.get()
}

/// Returns `false`: there is none.
pub fn feed_for_the_last_time() -> bool {
    false
}
