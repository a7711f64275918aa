//! Events: one pending bit per port, set by a peer, cleared by its owner.
//!
//! Owns ports and the event area's protocol. Called by `vm` and `hypercall::event`. A mechanism: it says who must be told
//! and never wakes anybody itself.

pub mod pending;
pub mod port;
mod sink;

pub use pending::{EventArea, Once, Posted};
pub use port::{Link, Port};
pub use sink::Sink;
