//! Strato's rooms, in layer order: what stands lower never imports what stands higher.
#![cfg_attr(not(test), no_std)]

pub mod arch;
