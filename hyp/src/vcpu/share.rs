//! Share: by which reservation of its home core a vCPU runs. Changed by that core alone, which reads it without an order.

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
}
