//! Arch: the one room with assembly and unsafe code; the rooms above it call it and never touch a register.
//!
//! Metal parts exist on `target_os = "none"` only and have a stand-in of the same name in `fake/`; everything else is
//! built and tested on the host.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

#[cfg(target_os = "none")]
pub mod maintenance;
#[cfg(not(target_os = "none"))]
#[path = "fake/maintenance.rs"]
pub mod maintenance;

#[cfg(target_os = "none")]
mod cpu;
#[cfg(not(target_os = "none"))]
#[path = "fake/cpu.rs"]
mod cpu;

pub use cpu::{affinity, midr, relax, wait_for_event, wait_for_interrupt};
