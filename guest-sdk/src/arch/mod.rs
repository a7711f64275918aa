//! Arch: the only assembly and unsafe code of the library. The rest calls it and never touches a register or a pointer.
//!
//! What needs a guest below it exists on `target_os = "none"` only; `host.rs` stands in for it on a PC.
#![allow(unsafe_code, reason = "this folder is the unit of proof: each block states a claim that can be checked")]

#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "a panic on a PC has a backtrace of its own"))]
mod frames;
mod hook;
mod stack;

/// A routine that turns the MMU on before there is a stack; `start.S` alone calls it.
pub type MmuStart = unsafe extern "C" fn();

pub(crate) use hook::Hook;
pub use stack::{Stack, StackMemory};

#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod hvc;
#[cfg(target_os = "none")]
mod native;
#[cfg(target_os = "none")]
mod own_stack;
#[cfg(target_os = "none")]
#[allow(clippy::cast_possible_truncation, reason = "a pointer of a guest has 64 bits")]
mod pages;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod trap;
#[cfg(target_os = "none")]
mod word;

#[cfg(target_os = "none")]
pub use hvc::Hvc;
#[cfg(target_os = "none")]
pub(crate) use {
    cpu::{
        counter, cycles, mask_interrupts, relax, restore_interrupts, set_local_timer, unmask_interrupts, vcpu_number,
        wait_for_interrupt,
    },
    native::{forget_entries, publish_code, publish_entries, run_process, translation, turn_on},
    own_stack::{frames, stack_guard, stack_room},
    pages::{event_cells, image_range, info_bytes, instruction, vcpu_cells},
    start::{run_main, vcpu_entry},
    word::{copy_words, device_load, device_store, load, peek, poke, read, store, write},
};

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::Hvc;
#[cfg(not(target_os = "none"))]
pub(crate) use host::*;

/// Registers of an interrupted program, as `vectors.S` saves them; a handler may change them before they are restored.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Frame {
    /// x0 to x18.
    pub(crate) x: [u64; 19],
    /// x30.
    pub(crate) link: u64,
    /// ELR_EL1: where the program goes on.
    pub(crate) pc: u64,
    /// SPSR_EL1.
    pub(crate) status: u64,
    /// x29.
    pub(crate) frame_pointer: u64,
    /// Zero: keeps SP a multiple of 16.
    pub(crate) padding: u64,
}

const _: () = assert!(size_of::<Frame>() == 192);
