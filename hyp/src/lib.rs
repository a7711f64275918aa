//! Strato's rooms, in layer order: what stands lower never imports what stands higher.
#![cfg_attr(target_os = "none", no_std)]

pub mod arch;
pub mod lock;
pub mod sync;
