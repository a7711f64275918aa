//! What figures are counted in: ticks of CNTVCT_EL0, or cycles of the core.

use strato_guest::time::{self, CycleCounter};

/// A counter. What is measured is compiled for each, so that neither costs the other anything.
pub(crate) trait Clock: Copy {
    /// What the lines of its figures begin with.
    const ROW: &'static str;

    /// Most that reading it takes. What an emulator takes longer, it takes for something else.
    const READ_MAX: u64;

    /// Returns what it shows.
    fn now(self) -> u64;
}

/// CNTVCT_EL0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks;

impl Clock for Ticks {
    const ROW: &'static str = "bench";
    const READ_MAX: u64 = u64::MAX;

    #[inline(always)]
    fn now(self) -> u64 {
        time::counter()
    }
}

impl Clock for CycleCounter {
    const ROW: &'static str = "cycles";
    const READ_MAX: u64 = 200;

    #[inline(always)]
    fn now(self) -> u64 {
        self.read()
    }
}
