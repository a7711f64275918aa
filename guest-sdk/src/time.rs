//! The virtual counter. It needs no call: CNTVCT_EL0 is readable by every guest.

/// Returns CNTVCT_EL0 in ticks, not read before what precedes it in the program.
#[must_use]
#[inline(always)]
pub fn counter() -> u64 {
    crate::arch::counter()
}

/// Returns the ticks of CNTVCT_EL0 in a second, as the info page says.
#[must_use]
pub fn counter_hz() -> u64 {
    crate::info::get().counter_hz()
}

/// Returns the counter's value `microseconds` from now, as a deadline of a wait.
#[must_use]
pub fn deadline_in(microseconds: u64) -> u64 {
    counter().saturating_add(counter_hz().saturating_mul(microseconds) / 1_000_000)
}
