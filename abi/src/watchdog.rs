//! The watchdog of the board in the flags of a payload's header.

use crate::plan::HEADER_WATCHDOG;

/// Returns the header flags for a watchdog of so many seconds, at most 15; 0 is none.
#[must_use]
pub const fn watchdog_flags(seconds: u32) -> u32 {
    seconds << 16 & HEADER_WATCHDOG
}

/// Returns the seconds of the watchdog that the header's `flags` ask for, 0 to 15.
#[must_use]
pub const fn watchdog_seconds(flags: u32) -> u32 {
    (flags & HEADER_WATCHDOG) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{HEADER_FLAGS, HEADER_REPORT, HEADER_TRACE};

    #[test]
    fn seconds_are_kept_beside_other_flags() {
        for seconds in 0..16 {
            let flags = watchdog_flags(seconds);
            assert_eq!(flags & !HEADER_FLAGS, 0);
            assert_eq!(watchdog_seconds(flags | HEADER_REPORT | HEADER_TRACE), seconds);
        }
    }
}
