//! What stands in for the PMU on a PC: there is one, and nobody reads it.

/// Returns whether there is one.
#[must_use]
pub const fn is_there() -> bool {
    true
}

/// Opens it.
pub const fn open() {}
