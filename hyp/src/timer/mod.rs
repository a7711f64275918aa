//! Timer: when things are due. The hardware behind it is `arch::timer`.

pub mod deadlines;

pub use deadlines::{Deadlines, NEVER};
