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

#[cfg(target_os = "none")]
mod backing;
#[cfg(not(target_os = "none"))]
#[path = "fake/backing.rs"]
pub mod backing;

#[cfg(target_os = "none")]
mod stage2_ops;
#[cfg(not(target_os = "none"))]
#[path = "fake/stage2_ops.rs"]
mod stage2_ops;

#[cfg(target_os = "none")]
mod watch;
#[cfg(not(target_os = "none"))]
#[path = "fake/watch.rs"]
pub mod watch;

pub mod page_box;
pub mod ram;
pub mod shared;
pub mod stage2;
pub mod table;

pub use cpu::{affinity, midr, relax, wait_for_event, wait_for_interrupt};
