//! A conduit that keeps, for each call, the most ticks that one took, and what it was made for.

use ::core::array;
use ::core::cell::Cell;

use strato_guest::abi::{Call, Regs};
use strato_guest::conduit::{ShortArguments, ShortResults};
use strato_guest::{Conduit, Hvc, println, time};

/// Ticks, and what was measured.
type Most = (u64, &'static str);

/// The most that each call took, by its number.
pub(crate) struct Meter {
    case: Cell<&'static str>,
    most: [Cell<Most>; 256],
    empty: u64,
}

impl Meter {
    /// Returns a meter without measurements.
    pub(crate) fn new() -> Self {
        let (start, end) = (time::counter(), time::counter());
        Self { case: Cell::new(""), most: array::from_fn(|_| Cell::new((0, ""))), empty: end - start }
    }

    /// Says what the next calls are made for.
    pub(crate) fn case(&self, case: &'static str) {
        self.case.set(case);
    }

    #[inline(always)]
    fn measured<R>(&self, id: u32, call: impl FnOnce() -> R) -> R {
        let start = time::counter();
        let result = call();
        let ticks = (time::counter() - start).saturating_sub(self.empty);
        if let Some(most) = usize::try_from(id & 0xff).ok().and_then(|number| self.most.get(number))
            && ticks > most.get().0
        {
            most.set((ticks, self.case.get()));
        }
        result
    }

    /// Prints how long `trap`, named `case`, took.
    pub(crate) fn trap(&self, case: &str, trap: impl FnOnce()) {
        let start = time::counter();
        trap();
        let ticks = (time::counter() - start).saturating_sub(self.empty);
        println!("longest {ticks} trap: {case}");
    }

    /// Prints, as of a trap named `case`, for how long the guest was kept from its next instruction at most until `end`.
    pub(crate) fn gap(&self, case: &str, end: u64) {
        let (mut most, mut last) = (0, time::counter());
        while last < end {
            let now = time::counter();
            most = most.max((now - last).saturating_sub(self.empty));
            last = now;
        }
        println!("longest {most} trap: {case}");
    }

    /// Prints the longest of each call.
    pub(crate) fn print(&self) {
        for call in Call::ALL {
            let (ticks, case) = self.most.get(*call as usize).map(Cell::get).unwrap_or_default();
            if ticks != 0 {
                println!("longest {ticks} {}: {case}", call.name());
            }
        }
    }
}

impl Conduit for Meter {
    fn call(&self, id: u32, regs: Regs) -> (i64, Regs) {
        self.measured(id, || Hvc.call(id, regs))
    }

    #[inline(always)]
    fn call_short(&self, id: u32, arguments: ShortArguments) -> (i64, ShortResults) {
        self.measured(id, || Hvc.call_short(id, arguments))
    }
}
