//! Events: one pending bit per port, set by a peer, cleared by its owner.
//!
//! Owns ports and the event area's protocol. Called by `vm` and `hypercall::event`. A mechanism: it says who must be told
//! and never wakes anybody itself.

pub mod pending;
pub mod port;

pub use pending::{EventArea, Posted, Sink};
pub use port::{Link, Port};
