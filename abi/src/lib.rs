//! The contract between Strato and its guests: call numbers, registers, errors, layouts and limits.
//!
//! Used unchanged by the hypervisor, the guest library and the host tool. `abi/SPEC.md` is the normative text; this crate
//! is its machine-readable half, and a test holds the two together. Reading order: [`call`] (the one table), [`regs`]
//! (how arguments travel), [`error`], then the layouts [`info_page`], [`vcpu_area`], [`event_area`], [`plan`] and [`trace`].
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
pub mod address_space;
pub mod board;
pub mod call;
mod calls;
mod checksum;
pub mod console;
pub mod core;
pub mod error;
pub mod event;
pub mod event_area;
pub mod group;
pub mod handle;
pub mod info_page;
pub mod limit;
pub mod mem;
pub mod mini_uart;
pub mod note;
pub mod plan;
mod plan_flags;
pub mod regs;
pub mod share;
pub mod time;
pub mod trace;
pub mod vcpu;
pub mod vcpu_area;
pub mod version;
pub mod watchdog;

pub use addr::Ipa;
pub use call::Call;
pub use error::{Code, Detail, Error, Reason};
pub use group::Group;
pub use handle::{
    AddressSpaceHandle, Handle, IrqHandle, Kind, MemHandle, PeerHandle, PortHandle, Rights, SchedHandle, ShareHandle,
};
pub use regs::{Argument, Regs, Reply, Request};
