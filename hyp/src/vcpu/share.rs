//! Share: by which reservation of its home core a vCPU runs. Changed by that core alone, which reads it without an order, and by who makes
//! the VM before it asks for the first start.

use super::Public;
use crate::sync::Ordering;

impl Public {
    /// Returns the place of its reservation on its home core, if it has one.
    #[inline]
    #[must_use]
    pub fn reservation(&self) -> Option<u8> {
        self.reservation.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Makes it run at `level`, by the reservation in place `reservation` of its home core or by none.
    pub fn run_by(&self, reservation: Option<u8>, level: u8) {
        self.reservation.store(reservation.map_or(0, |place| place.wrapping_add(1)), Ordering::Relaxed);
        self.level.store(level, Ordering::Relaxed);
    }

    /// Makes the reservation that it runs by one of `budget` ticks in each `period`, from when it comes to its home core on.
    pub fn supply_with(&self, budget: u64, period: u64) {
        for (word, value) in self.supply.iter().zip([budget, period]) {
            word.store(value, Ordering::Relaxed);
        }
    }
}
