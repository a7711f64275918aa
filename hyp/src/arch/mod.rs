//! Arch: the one room with assembly and unsafe code; the rooms above it call it and never touch a register.
//!
//! Metal parts exist on `target_os = "none"` only; everything else is built and tested on the host.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]
