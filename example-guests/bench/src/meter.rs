//! A conduit that keeps, for each call, the most ticks that one took, and what it was made for.

use ::core::array;
use ::core::cell::Cell;

use strato_guest::abi::{Call, Group, Regs};
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

    /// Prints the longest of each memory call.
    pub(crate) fn print(&self) {
        for call in Call::ALL.iter().filter(|call| is_of_memory(**call)) {
            let (ticks, case) = self.most.get(*call as usize).map(Cell::get).unwrap_or_default();
            if ticks != 0 {
                println!("longest {ticks} {}: {case}", call.name());
            }
        }
    }
}

fn is_of_memory(call: Call) -> bool {
    let groups = [Group::Mem, Group::AddressSpace, Group::Share];
    groups.contains(&call.group()) || matches!(call, Call::CoreHandleInfo | Call::CoreHandleDrop)
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
