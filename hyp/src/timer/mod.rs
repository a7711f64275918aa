//! Timer: when things are due. The hardware behind it is `arch::timer`.

mod clock;
pub mod deadlines;
mod due;
mod schedule;

pub use clock::{Wall, nanoseconds, ticks_of};
pub use deadlines::{Deadlines, NEVER};
pub use due::{Due, timer_of};
pub use schedule::Schedule;
